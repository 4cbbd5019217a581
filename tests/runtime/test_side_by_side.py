"""What a file predicted of a run stands beside what was measured, or the reason why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedsim.cost.flop import operation_flop
from fedsim.learning.find import find_laws
from fedsim.training import record as record_module
from fedsim.training.file import read_training
from fedsim.training.side_by_side import side_by_side
from training_file import TOML, train, training_file

BYTES = (
    *("uplink_payload_bytes", "downlink_payload_bytes"),
    *("uplink_message_bytes", "downlink_message_bytes"),
)
DEVICES = '[device]\nlike = "rpi5-8g"\n[server]\ndevice = { like = "laptop-7840u" }\n'


def sides(out: Path) -> dict[str, Any]:
    """Of the only seed."""
    (run,) = json.loads((out / "summary.json").read_text(encoding="utf-8"))["runs"]
    found: dict[str, Any] = run["predicted_and_measured"]
    return found


@pytest.mark.parametrize("case", ["fedllm", "kd_fedllm", "split_fedllm"])
def test_bytes_and_flop_are_equal_to_the_last_unit(case: str, tmp_path: Path) -> None:
    """Torch counted the FLOP; dropped-out clients are in neither column."""
    keys = {"train__count_flop": True, "fleet__dropout_probability": 0.4}
    result = train(training_file(tmp_path), tmp_path / "run", case=case, **keys)
    assert result.exit_code == 0, result.output
    found = sides(tmp_path / "run")
    for name in (*BYTES, "client_flop", "server_flop"):
        assert found[name]["predicted"] == found[name]["measured"]
    assert found["downlink_payload_bytes"]["measured"] > 0
    said = " ".join(result.output.split())
    assert f"payload up {found['uplink_payload_bytes']['measured']:,} B" in said
    assert "DIFFERENT" not in said


def test_what_nothing_predicts_says_why(tmp_path: Path) -> None:
    """No device, no curves; and FLOP that torch was not asked for."""
    result = train(training_file(tmp_path), tmp_path / "run")
    found = sides(tmp_path / "run")
    assert found["client_flop"]["measured"] is None
    assert found["compute_s"]["predicted"] is None
    assert found["compute_s"]["measured"] > 0
    assert "names no device" in found["compute_s"]["reason"]
    assert "no measured learning curves" in found["accuracy"]["reason"]
    assert "([learning] curves)" in " ".join(result.output.split())


def test_seconds_are_those_of_the_files_devices(tmp_path: Path) -> None:
    """Twice as slow a device takes twice the seconds, whatever this machine does."""
    found = []
    for slowdown in (1, 2):
        out = tmp_path / str(slowdown)
        keys = {"device__slowdown": slowdown, "server__device.slowdown": slowdown}
        text = (TOML + DEVICES).replace("num_rounds = 4", "num_rounds = 2")
        result = train(training_file(tmp_path, text), out, **keys)
        assert result.exit_code == 0, result.output
        found.append(sides(out)["compute_s"])
    assert found[0]["predicted"] * 2 == pytest.approx(found[1]["predicted"])
    assert found[0]["low"] < found[0]["predicted"] < found[0]["high"]
    assert found[0]["devices"] == ["rpi5-8g", "laptop-7840u"]
    assert found[1]["devices"] == ["rpi5-8g (times x 2)", "laptop-7840u (times x 2)"]


def test_a_run_that_differs_from_its_prediction_ends_with_exit_code_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One FLOP too many in the formula, and the columns are never shown."""

    def wrong(operation: Any, training: Any) -> int:
        return operation_flop(operation, training) + 1

    monkeypatch.setattr("fedsim.cost.step_row.operation_flop", wrong)
    result = train(training_file(tmp_path), tmp_path / "run", train__count_flop=True)
    assert result.exit_code == 3
    assert "predicted and measured" not in result.output


def test_every_key_of_a_summary_is_documented(tmp_path: Path) -> None:
    """On the page of the JSON contracts: of the summary, of a seed's run and of both columns."""
    assert train(training_file(tmp_path), tmp_path / "run", train__seeds=[1]).exit_code == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
    section = page[page.index("## `summary.json`") : page.index("## Other files")]
    sides = summary["runs"][0]["predicted_and_measured"]
    keys = [*summary, *summary["runs"][0], *sides, *sides["compute_s"], *sides["accuracy"]]
    assert [key for key in keys if f"`{key}`" not in section and f".{key}`" not in section] == []


STUDY = ["lora.r=8", "data.dataset=banking77"]


def accuracy(*overrides: str) -> dict[str, Any]:
    """What the small study's file says of the accuracy of its run after 15 rounds."""
    document = read_training("small_study", [*STUDY, *overrides], "fedllm")
    counts = dict.fromkeys(record_module.PREDICTED, 1)
    record = {
        **counts,
        "round": 15,
        "compute_s": 1.0,
        "flop_is_metered": False,
        "global": {"accuracy": 0.6, "loss": 1.0},
        "predicted": {**counts, "compute_s": [1.0, 1.0, 1.0]},
    }
    found: dict[str, Any] = side_by_side(document, [record])["accuracy"]
    return found


def test_accuracy_is_that_of_the_laws_where_all_their_conditions_hold() -> None:
    """As the scenario's own answer has it."""
    law = next(
        law
        for law in find_laws("cpu-2-threads", Path()).laws
        if law.framework == "fedllm"
        and not law.covariates
        and law.fixed["r"] == 8
        and law.fixed["participation"] == 1
        and law.conditions["lora.init_lora_weights"] == "gaussian"
    )
    found = accuracy()
    assert found["predicted"] == pytest.approx(law.accuracy(15.0, **law.fixed).mean)
    assert found["measured"] == 0.6
    assert found["reason"] is None


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("learning.learning_rate=1e-2", "learning.learning_rate: measured 0.001, here 0.01"),
        ("data.tokenizer=word", "data.tokenizer: measured none, here word"),
        ("learning.weights=pretrained", "learning.weights: measured random, here pretrained"),
    ],
)
def test_accuracy_of_other_conditions_is_not_quoted(override: str, words: str) -> None:
    """The reason names the condition."""
    found = accuracy(override)
    assert found["predicted"] is None
    assert words in found["reason"]
