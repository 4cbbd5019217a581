"""A framework of one's own, one file outside the package, which every command takes like ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from commands import EXAMPLES, beside, ran
from fedsim.cli import main

NAME = "adapters_up_logits_down:adapters_up_logits_down"


@pytest.fixture(autouse=True)
def beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nothing but the framework's file, in which commands are given."""
    beside("adapters_up_logits_down.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("engine", ["analytic", "des", "scale"])
def test_a_scenario_prices_it(engine: str, beside_it: Path) -> None:
    """By all interpreters, with the same bytes."""
    scenario = (EXAMPLES / "own_framework.toml").read_text(encoding="utf-8")
    (beside_it / "own.toml").write_text(scenario.replace("../../scenarios/case_study.toml", "case"))
    shutil.copy(EXAMPLES.parents[1] / "scenarios" / "case_study.toml", beside_it / "case")
    sets = ("--set", "workload.num_rounds=2", "--set", "fleet.num_clients=3")
    ran("scenario", "own.toml", "--engine", engine, *sets, "--json", "out.json")
    results = json.loads((beside_it / "out.json").read_text())["scenarios"][0]["results"]
    own = [result for result in results if result["framework"] == NAME]
    assert len(own) == 3
    up = {result["classes"][0]["per_client_round"]["uplink_payload_bytes"] for result in own}
    down = {result["classes"][0]["per_client_round"]["downlink_payload_bytes"] for result in own}
    fedllm = results[0]["classes"][0]["per_client_round"]["uplink_payload_bytes"]
    assert up == {fedllm}
    assert down == {4 * 77 * public for public in (500, 1000, 2000)}


def test_what_it_needs_and_lacks_is_said_in_its_own_words(beside_it: Path) -> None:
    """The sentence stands in the framework's file; scenario and training say it."""
    shutil.copy(EXAMPLES.parents[1] / "scenarios" / "case_study.toml", beside_it / "base.toml")
    (beside_it / "own.toml").write_text(
        f'extends = "base.toml"\n[[case]]\nname = "x"\nframework = "{NAME}"\n'
    )
    said = "[workload] public_samples is missing; logits are those of a public set"
    result = CliRunner().invoke(main, ["scenario", "own.toml"])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_its_steps_are_shown() -> None:
    """Every label of its protocol."""
    output = ran("protocol", NAME).output
    assert all(f"h{number}" in output for number in range(1, 7))


def test_a_real_round_of_it_agrees() -> None:
    """Every step's bytes and FLOP are as predicted."""
    output = ran("verify", "--framework", NAME, "--timed-rounds", "0").output
    assert "equal to the last unit" in " ".join(output.split())


@pytest.mark.parametrize("mode", ["sequential", "cohort"])
def test_it_trains(mode: str, beside_it: Path) -> None:
    """Both ways of running a round; what was exchanged was checked against the prediction."""
    shutil.copy(EXAMPLES / "training" / "tiny.toml", beside_it)
    text = (beside_it / "tiny.toml").read_text(encoding="utf-8")
    lora = '[lora]\nr = 2\ntarget_modules = ["attn.c_attn"]\n'
    own = f'[[case]]\nname = "own"\nframework = "{NAME}"\n'
    text = text.replace('tuning = "full"', 'tuning = "lora"') + lora + own
    (beside_it / "tiny.toml").write_text(text)
    sizes = ("samples_per_client=8", "public_samples=6", "num_rounds=2")
    keys = (f"train.mode={mode}", *(f"workload.{s}" for s in sizes))
    sets = [word for key in keys for word in ("--set", key)]
    ran("train", "tiny.toml", "--case", "own", *sets, "--output", "run")
    rounds = (beside_it / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in rounds] == [0, 1, 2]
    assert json.loads(rounds[-1])["downlink_payload_bytes"] == 3 * 6 * 8 * 4
