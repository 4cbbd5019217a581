"""``[codec]`` in files: cases, classes and what does not go together."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario.file.codec_table import CodecTable
from fedsim.scenario.file.merge import merged
from fedsim.spec.quantity import FROM_FILE
from scenarios import SMALL, answered

_CLASSES = [{"name": "a", "num_clients": 2}, {"name": "b", "num_clients": 2}]
_SECAGG = {"secure_aggregation": "secagg"}
_HALF = {"adapters": "float16"}


def small(**changes: Any) -> dict[str, Any]:
    return merged(copy.deepcopy(SMALL), changes)


def sent(result: dict[str, Any], index: int = 0) -> tuple[int, int]:
    """Payload up and down of one client of a class in a round."""
    counts = result["classes"][index]["per_client_round"]
    return counts["uplink_payload_bytes"], counts["downlink_payload_bytes"]


def fedllm(tmp_path: Path, table: dict[str, Any]) -> dict[str, Any]:
    (found,) = [r for r in answered(tmp_path, table) if r["framework"] == "fedllm"]
    return found


def test_ways_have_codecs_of_their_own(tmp_path: Path) -> None:
    """Named ahead of payload_dtype, which says the rest; a plan says what was named."""
    plain = fedllm(tmp_path, small())
    table = small(codec={"adapters": {"up": "identity"}}, model={"payload_dtype": "float16"})
    found = fedllm(tmp_path, table)
    assert sent(found) == (sent(plain)[0], sent(plain)[1] // 2)
    assert found["classes"][0]["plan"]["codec"] == {"adapters": {"up": "identity"}}
    assert "codec" not in plain["classes"][0]["plan"]


def test_a_class_and_a_case_change_what_they_name(tmp_path: Path) -> None:
    """And leave the other way as it is."""
    plain = fedllm(tmp_path, small())
    classes = [_CLASSES[0], {**_CLASSES[1], "codec": {"adapters": {"down": "identity"}}}]
    table = small(codec={"adapters": "bfloat16"}, fleet={"class": classes})
    found = fedllm(tmp_path, table)
    up, down = sent(plain)
    assert [sent(found, index) for index in (0, 1)] == [(up // 2, down // 2), (up // 2, down)]
    case = {"name": "x", "framework": "fedllm", "codec": {"adapters": {"up": "identity"}}}
    table = small(codec={"adapters": "bfloat16"}) | {"case": [case]}
    assert sent(fedllm(tmp_path, table)) == (up, down // 2)


def test_a_table_over_another() -> None:
    """Way by way."""
    context = {"context": FROM_FILE}
    base = CodecTable.model_validate({"adapters": "float16", "logits": "bfloat16"}, **context)
    own = CodecTable.model_validate({"adapters": {"up": "identity"}}, **context)
    assert own.over(base).named() == {
        "adapters": {"up": "identity", "down": "float16"},
        "logits": {"up": "bfloat16", "down": "bfloat16"},
        "activations": {},
        "activation_gradients": {},
    }


def test_an_estimate_says_so(tmp_path: Path) -> None:
    """A profile without codecs is named in a note, where a codec works; a data sheet is not."""
    devices = {"profile": "cpu-2-threads", "device": "profile"}
    words = "encoding and decoding of messages are priced by an estimate on cpu-2-threads"

    def notes(**changes: Any) -> str:
        return " ".join(fedllm(tmp_path, small(**changes))["notes"])

    assert words in notes(codec={"adapters": "float16"}, **devices)
    assert words not in notes(**devices)
    assert "estimate" not in notes(codec={"adapters": "float16"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"codec": {"adapters": "float17"}}, "adapters = 'float17': allowed: identity"),
        ({"codec": {"weights": "float16"}}, "[codec] weights"),
        ({"codec": {"adapters": {"sideways": "float16"}}}, "sideways"),
        (
            {"codec": {"adapters": "toy_codecs:Largest"}, "privacy": _SECAGG},
            "do not add up value by value",
        ),
        (
            {"codec": {"activations": "toy_codecs:Delta"}, "policy": {"overlap": True}},
            "must see a whole message",
        ),
        (
            {
                "fleet": {"class": [_CLASSES[0], {**_CLASSES[1], "codec": _HALF}]},
                "privacy": _SECAGG,
            },
            "32 bits and class 'b' of 16",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    """In a line that says where."""
    with pytest.raises(ScenarioError) as caught:
        answered(tmp_path, small(**changes))
    assert words in str(caught.value)
