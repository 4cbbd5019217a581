"""What a run will take is said before it starts; what cannot run, or is long, does not start."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fedsim.calibration.profile import find_profile, load_profile
from fedsim.cli import announcing
from fedsim.errors import ScenarioError
from fedsim.runtime.free_memory import FreeMemory, free_memory
from fedsim.training import expected
from fedsim.training.expected import Speed, check_memory
from fedsim.training.memory_need import MemoryNeed
from training_file import TOML, lines, train, training_file


@pytest.fixture(autouse=True)
def _a_machine_like_the_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expected times are the shipped profile's, whatever else this machine does now."""
    device = load_profile(find_profile("cpu-2-threads")).device
    monkeypatch.setattr(expected, "speed_now", lambda _: Speed(device, 1.0, "a profile"))


@pytest.mark.parametrize("framework", ["fedllm", "kd_fedllm", "split_fedllm"])
def test_samples_and_flop_are_said_before_a_run_and_are_those_that_it_has(
    framework: str, tmp_path: Path
) -> None:
    """Padded, so that nothing depends on the sample of texts."""
    text = TOML.replace('padding = "none"', 'padding = "max_tokens"')
    file, out = training_file(tmp_path, text), tmp_path / "run"
    result = train(file, out, case=framework, train__evaluate=[])
    records = lines(out / "metrics.jsonl")
    flop = sum(record["client_flop"] + record["server_flop"] for record in records)
    said = result.output.splitlines()[0]
    # Two clients with six samples each; the public set of five is distilled by all three parties.
    samples = 4 * (12 + (15 if framework == "kd_fedllm" else 0))
    assert f"4 rounds, {samples:,} samples, {flop / 1e6:.4g} MFLOP, roughly" in said
    assert "of memory beside the process's own" in said


def test_what_is_done_is_not_announced_again(tmp_path: Path) -> None:
    """Only the rounds that are left count, and a finished run says nothing."""
    file, out = training_file(tmp_path), tmp_path / "run"
    train(file, out, workload__num_rounds=1)
    assert ": 3 rounds, " in train(file, out).output
    assert "roughly" not in train(file, out).output
    assert ": 4 rounds, " in train(file, out, "--fresh").output


def test_a_run_of_days_does_not_start_without_a_yes(tmp_path: Path) -> None:
    """Two million samples: refused in words that say how long, with nothing written."""
    file, out = training_file(tmp_path), tmp_path / "run"
    result = train(file, out, workload__samples_per_client=1_000_000)
    assert result.exit_code == 2
    message = " ".join(result.output.split())
    assert "8,000,000 samples" in message
    assert "above an hour: add --yes" in message
    assert not out.exists()


def test_a_yes_starts_a_long_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is long is decided by the expected time alone."""
    monkeypatch.setattr(announcing, "_LONG_S", 0.0)
    file, out = training_file(tmp_path), tmp_path / "run"
    assert train(file, out).exit_code == 2
    assert train(file, out, "--yes").exit_code == 0


@pytest.mark.parametrize("rate", [1e300, 1.1e30])
def test_a_learning_rate_beyond_all_numbers_is_a_mistake_of_the_file(
    rate: float, tmp_path: Path
) -> None:
    """And no traceback out of the optimizer."""
    text = TOML.replace("learning_rate = 1e-2", f"learning_rate = {rate}")
    result = train(training_file(tmp_path, text), tmp_path / "run")
    assert result.exit_code == 2
    assert "[learning] learning_rate" in result.output
    assert "at most 1e+30" in result.output


def test_a_run_that_its_memory_cannot_hold_does_not_start(tmp_path: Path) -> None:
    """A model of a billion trained values under ulimit -v: figures, no traceback, no folder."""
    text = TOML.replace('name = "gpt2-tiny"', 'name = "llama-3.2-1b"\ntuning = "full"')
    file = training_file(tmp_path, text.replace("dropout = 0.1\ntarget", "target"))
    limit = 8 * 1024**3
    command = [sys.executable, "-m", "fedsim", "train", str(file), "--case", "fedllm"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "run")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "ulimit -v" in done.stderr
    assert "GB of trained parameters" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_figure_is_the_larger_of_set_up_and_round() -> None:
    """What is held all the time, and the peak beside it; equal to what is free still starts."""
    need = MemoryNeed(100, 40, 20, 10, 30, setup=200, data=5)
    assert need.peak_bytes == 345
    assert MemoryNeed(100, 40, 20, 10, 30, setup=0, data=5).peak_bytes == 205
    check_memory("file", need, FreeMemory(345, "a limit"))
    check_memory("file", need, None)
    with pytest.raises(ScenarioError, match="file: needs about 345 B of memory"):
        check_memory("file", need, FreeMemory(344, "a limit"))


def test_the_tightest_limit_counts(tmp_path: Path) -> None:
    """A container's limit below the machine's memory, with what the kernel would give back."""
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    own = groups / "jobs" / "mine"
    for folder in (proc / "self", own):
        folder.mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert free_memory(torch.device("cpu"), proc, groups) == FreeMemory(
        8000 * 1024, "memory that the machine has free"
    )
    (proc / "self" / "cgroup").write_text("0::/jobs/mine\n")
    (own / "memory.max").write_text("max\n")
    (own / "memory.current").write_text("100\n")
    (own.parent / "memory.max").write_text("5000\n")
    (own.parent / "memory.current").write_text("3000\n")
    (own.parent / "memory.stat").write_text("anon 1\ninactive_file 500\n")
    found = free_memory(torch.device("cpu"), proc, groups)
    assert found == FreeMemory(2500, "memory of the control group")
    (own.parent / "memory.current").write_text("9000\n")
    found = free_memory(torch.device("cpu"), proc, groups)
    assert found == FreeMemory(0, "memory of the control group")
