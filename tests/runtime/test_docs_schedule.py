"""The manual's schedule of one's own, one file outside of fedsim, in every command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from click.testing import CliRunner

from commands import beside, ran
from fedsim.cli import main
from fedsim.errors import ScenarioError
from fedsim.training.collect import collect_curves

NAME = "gentle_start:gentle_start"
#: A class behind an uplink that the schedule calls slow, and one that it does not.
FILE = f"""
question = "What does a gentle start cost?"
[model]
name = "gpt2-tiny"
[lora]
r = 2
target_modules = ["attn.c_attn"]
[workload]
max_tokens = 16
samples_per_client = 8
batch_size = 2
num_rounds = 6
[learning]
weights = "random"
[[fleet.class]]
name = "slow"
num_clients = 1
device = "h100-sxm"
link = {{ uplink = "1 Mbit/s", downlink = "8 Mbit/s", round_trip = "10 ms" }}
[[fleet.class]]
name = "fast"
num_clients = 2
device = "h100-sxm"
link = {{ uplink = "80 Mbit/s", downlink = "80 Mbit/s", round_trip = "10 ms" }}
[server]
device = "h100-sxm"
[data]
dataset = "generated"
[train]
evaluate_every = 6
[[schedule]]
use = "{NAME}"
[[case]]
name = "fedllm"
framework = "fedllm"
"""


@pytest.fixture
def beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of somebody who has the schedule and a file."""
    beside("gentle_start.py", tmp_path)
    (tmp_path / "mine.toml").write_text(FILE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def samples_by_round(folder: Path, party: str) -> list[int]:
    """Samples that a client of a real run trained on, by round."""
    rows = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    own = [r for r in rows if (r["party"], r["step"]) == (party, "a2")]
    return [sum(r["samples"] for r in own if r["round"] == index) for index in range(1, 7)]


@pytest.mark.parametrize("engine", ["analytic", "des", "scale"])
def test_it_is_answered(engine: str, beside_it: Path) -> None:
    """By the closed form and both engines: five rounds of fewer samples, then one of all."""
    ran("scenario", "mine.toml", "--engine", engine, "--json", "answer.json")
    answer = json.loads((beside_it / "answer.json").read_text(encoding="utf-8"))
    (result,) = answer["scenarios"][0]["results"]
    assert [(p["first"], p["last"]) for p in result["periods"]] == [(1, 5), (6, 6)]


def test_its_plans_are_shown(beside_it: Path) -> None:
    """The protocol of an early round of the slow ones has half of the batches."""
    assert "1,667 samples" in ran("protocol", "fedllm").output
    early = ran("protocol", "fedllm", "--schedule", NAME, "--round", "2", "--group", "1").output
    assert "833 samples" in early
    late = ran("protocol", "fedllm", "--schedule", NAME, "--round", "6").output
    assert "1,667 samples" in late
    result = CliRunner().invoke(main, ["protocol", "fedllm", "--round", "2"])
    assert result.exit_code == 2
    assert "--schedule" in result.output


def test_its_runs_agree_with_the_formulas(beside_it: Path) -> None:
    """Two rounds that are counted by torch, of clients with unequal plans."""
    text = ran("verify", "mine.toml", "--rounds", "2", "--timed-rounds", "0").output
    assert "equal to" in text


@pytest.mark.parametrize("mode", ["sequential", "cohort"])
def test_it_trains(mode: str, beside_it: Path) -> None:
    """The slow client's rounds are gentle until the sixth, in both modes."""
    sets = ("--set", f"train.mode={mode}", "--set", "workload.padding=none")
    ran("train", "mine.toml", *sets, "--output", "run")
    assert samples_by_round(beside_it / "run", "slow") == [4, 4, 4, 4, 4, 8]
    assert samples_by_round(beside_it / "run", "fast/0") == [8] * 6


def test_no_law_is_made_of_rounds_that_are_not_alike(beside_it: Path) -> None:
    """A run whose plans change is refused where curves are collected; one without is not."""
    start, end = FILE.index("[[fleet.class]]"), FILE.index("[server]")
    alike = """
[fleet]
num_clients = 2
[device]
like = "h100-sxm"
[link]
like = "lte-uk"
"""
    text = (FILE[:start] + alike + FILE[end:]).replace("evaluate_every = 6", "evaluate_every = 1")
    (beside_it / "mine.toml").write_text(text, encoding="utf-8")
    ran("train", "mine.toml", "--output", "run")
    with pytest.raises(ScenarioError, match=r"\[\[schedule\]\].*planned alike"):
        collect_curves([beside_it / "run"])
    plain = text.replace(f'[[schedule]]\nuse = "{NAME}"\n', "")
    (beside_it / "mine.toml").write_text(plain, encoding="utf-8")
    ran("train", "mine.toml", "--output", "plain")
    assert len(collect_curves([beside_it / "plain"]).groups) == 1
