"""Laws of scenarios, and nonsense that must end in a message."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import example, given
from hypothesis import strategies as st

from fedsim.errors import ScenarioError
from fedsim.scenario import answer_json, run_scenario
from fedsim.scenario.file.merge import merged
from scenarios import SMALL, answered, changed, written

CLASSES = [
    {"name": "a", "share": 0.5, "link": "3g", "r": 2},
    {"name": "b", "share": 0.25, "device": "rpi5-16g", "samples_per_client": 3},
    {"name": "c", "share": 0.25},
]
COUNTED = (
    "uplink_payload_bytes",
    "downlink_payload_bytes",
    "uplink_message_bytes",
    "downlink_message_bytes",
    "client_flop",
    "server_flop",
    "peak_memory_bytes",
)


def answered_here(table: dict[str, Any]) -> list[dict[str, Any]]:
    """Results, in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        return answered(Path(folder), table)


def answer_or_message(path: Path, *overrides: str) -> str:
    """JSON or an error's text; any other exception is a defect."""
    try:
        return answer_json([run_scenario(path, overrides)])
    except ScenarioError as error:
        return str(error)


def counts(results: list[dict[str, Any]]) -> list[Any]:
    """All that is counted."""
    return [
        [table["per_client_round"][name] for table in result["classes"] for name in COUNTED]
        for result in results
    ]


@given(st.permutations(CLASSES))
def test_the_order_of_classes_changes_nothing(classes: list[dict[str, Any]]) -> None:
    """Draws and ties go by name, not by place."""
    table = changed(fleet={"num_clients": 9, "class": classes})
    reference = changed(fleet={"num_clients": 9, "class": CLASSES})

    assert answered_here(table) == answered_here(reference)


@given(
    st.integers(1, 10**9),
    st.integers(1, 10**9),
    st.integers(1, 10**5),
    st.integers(0, 4),
)
def test_a_link_twice_as_good_halves_every_transfer(
    uplink: int, downlink: int, round_trip_us: int, handshakes: int
) -> None:
    """Rates times 2 and round trips by 2: transfers take half the time."""
    base = {**SMALL, "server": {"device": "rpi5-16g", "num_accelerators": 4}}

    def transfer(factor: int) -> list[float]:
        link = {
            "uplink": f"{uplink * factor} B/s",
            "downlink": f"{downlink * factor} B/s",
            "round_trip": f"{round_trip_us * 2 // factor} us",
            "handshake_round_trips": handshakes,
        }
        results = answered_here({**base, "link": link})
        return [r["round_time_s"]["transfer"] + r["setup"]["transfer_s"] for r in results]

    assert transfer(2) == pytest.approx([seconds / 2 for seconds in transfer(1)])


@given(
    st.sampled_from(["3g", "gbe", "dc-25g", "lte-uk"]),
    st.sampled_from(["rpi5-8g", "rtx4090", "h100-sxm"]),
    st.floats(0.01, 100),
)
def test_hardware_moves_no_count(link: str, device: str, slowdown: float) -> None:
    """Bytes, FLOP and memory are the plan's; devices and links only take time."""
    table = changed(link=link, device={"like": device, "slowdown": slowdown})

    assert counts(answered_here(table)) == counts(answered_here(SMALL))


def test_the_same_scenario_gives_the_same_bytes(tmp_path: Path) -> None:
    """Rerun, and written with its tables in another order."""
    path = written(tmp_path, SMALL)
    first = answer_json([run_scenario(path)])
    path = written(tmp_path, dict(reversed(list(copy.deepcopy(SMALL).items()))))

    assert answer_json([run_scenario(path)]) == first


KEYS = st.sampled_from(
    ["question", "seed", "model", "name", "lora", "r", "workload", "lengths", "padding", "fleet",
     "class", "num_clients", "share", "device", "like", "link", "uplink", "case", "framework",
     "sweep", "lora.r", "server", "split", "cut_layer", "extends", "profile", "engine", "x"]
)  # fmt: skip
VALUES = st.recursive(
    st.none().map(lambda _: "text")
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["10 Mbit/s", "gpt2-tiny", "fedllm", "banking77", "none", "rpi5-8g", "3g"])
    | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
@example({"case": ["text"]})
@example({"case": [{"name": "x", "framework": "fedllm", "lora": {"r": 2**70}}]})
def test_nonsense_ends_in_a_message(table: dict[str, Any]) -> None:
    """Alone, and over a scenario that is right: an answer or a ScenarioError, nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        for content in (table, merged(copy.deepcopy(SMALL), table)):
            path = Path(folder) / "x.toml"
            path.write_text(tomli_w.dumps(content), encoding="utf-8")
            assert answer_or_message(path)


@given(st.binary(max_size=200))
def test_noise_ends_in_a_message(content: bytes) -> None:
    """Bytes that are no scenario are refused as such."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        path.write_bytes(content)
        with pytest.raises(ScenarioError):
            run_scenario(path)


@given(st.text(max_size=30))
def test_any_override_is_read_or_refused(text: str) -> None:
    """Whatever stands behind ``--set``."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), SMALL)
        assert answer_or_message(path, text)
