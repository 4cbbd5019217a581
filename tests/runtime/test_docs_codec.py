"""A codec of one's own, one file outside the package, which every command takes like ours."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from commands import EXAMPLES, beside, ran
from fedsim.cli import main
from fedsim.scenario.file.codec_table import CODED

DOCS = EXAMPLES.parent
NAME = "eight_bits:EightBits"


@pytest.fixture(autouse=True)
def beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nothing but the codec's file, in which commands are given."""
    beside("eight_bits.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("engine", ["analytic", "des", "scale"])
def test_a_scenario_prices_it(engine: str, beside_it: Path) -> None:
    """By all interpreters, with the same bytes: a quarter, and eight for the ends of a tensor."""
    scenario = (EXAMPLES / "own_codec.toml").read_text(encoding="utf-8")
    (beside_it / "own.toml").write_text(scenario.replace("../../scenarios/case_study.toml", "case"))
    shutil.copy(EXAMPLES.parents[1] / "scenarios" / "case_study.toml", beside_it / "case")
    sets = ("--set", "workload.num_rounds=2", "--set", "fleet.num_clients=3")
    ran("scenario", "own.toml", "--engine", engine, *sets, "--json", "out.json")
    plain, half, own = json.loads((beside_it / "out.json").read_text())["scenarios"][0]["results"]

    def sent(result: dict[str, object], way: str) -> int:
        counts = result["classes"][0]["per_client_round"]  # type: ignore[index]
        return int(counts[f"{way}link_payload_bytes"])

    num_batches, values = 105, 1667 * 80 * 768
    assert sent(plain, "up") - sent(own, "up") == 3 * values - 8 * num_batches
    assert sent(plain, "up") - sent(half, "up") == 2 * values
    assert sent(own, "down") == sent(half, "down") < sent(plain, "down")


def test_its_bytes_are_shown() -> None:
    """By name, on what it is asked for."""
    output = " ".join(ran("protocol", "fedllm", "--codec", f"adapters.up={NAME}").output.split())
    assert f"codec adapters.up={NAME}" in output
    assert "a3 client -> server sends adapters 1 354.2 kB" in output


def test_a_real_round_of_it_agrees() -> None:
    """Every step's bytes and FLOP are as predicted, on all contents and both ways."""
    frameworks = [word for name in ("kd_fedllm", "split_fedllm") for word in ("--framework", name)]
    sets = [word for content in CODED for word in ("--set", f"codec.{content}={NAME}")]
    output = ran("verify", *frameworks, *sets, "--timed-rounds", "0").output
    assert "equal to the last unit" in " ".join(output.split())


@pytest.mark.parametrize("mode", ["sequential", "cohort"])
def test_it_trains(mode: str, beside_it: Path) -> None:
    """What was exchanged is 8 bits a value, and was checked against the prediction."""
    text = (EXAMPLES / "training" / "tiny.toml").read_text(encoding="utf-8")
    lora = f'[lora]\nr = 2\ntarget_modules = ["attn.c_attn"]\n[codec]\nadapters = "{NAME}"\n'
    (beside_it / "tiny.toml").write_text(text.replace('tuning = "full"', 'tuning = "lora"') + lora)
    keys = ("workload.samples_per_client=8", "workload.num_rounds=1", f"train.mode={mode}")
    sets = [word for key in keys for word in ("--set", key)]
    sets = ["--case", "fedllm", *sets]
    ran("train", "tiny.toml", *sets, "--output", "run")
    (last,) = [
        found
        for line in (beside_it / "run" / "metrics.jsonl").read_text().splitlines()
        if (found := json.loads(line))["round"] == 1
    ]
    plain = 'adapters = "identity"'
    (beside_it / "tiny.toml").write_text(
        (beside_it / "tiny.toml").read_text().replace(f'adapters = "{NAME}"', plain)
    )
    ran("train", "tiny.toml", *sets, "--output", "plain")
    before = json.loads((beside_it / "plain" / "metrics.jsonl").read_text().splitlines()[-1])
    # Three clients send the factors of three blocks and a head: two ends of each of 7 tensors.
    assert last["uplink_payload_bytes"] == before["uplink_payload_bytes"] // 4 + 3 * 7 * 8


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("eight_bits:Nothing", "module 'eight_bits' has no 'Nothing'"),
        ("eight_bits:dataclass", "has no on_wire"),
        ("float8", "allowed: identity, float32, float16, bfloat16, or module:NAME"),
        ("no_such_file:X", "cannot be imported"),
    ],
)
def test_a_mistake_says_what_to_type(name: str, words: str) -> None:
    """With exit code 2 and the key."""
    sets = ("--set", f"codec.adapters={name}", "--set", "fleet.num_clients=2")
    result = CliRunner().invoke(main, ["scenario", "case_study", *sets])
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert words in said
    assert "codec" in said


def test_the_manual_counts_its_lines() -> None:
    """The page says how long the file is."""
    page = (DOCS / "add_a_codec.md").read_text(encoding="utf-8")
    found = re.search(r"(\d+) lines", page)
    assert found is not None
    lines = (EXAMPLES / "eight_bits.py").read_text(encoding="utf-8").splitlines()
    assert int(found[1]) == len(lines)
