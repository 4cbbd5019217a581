"""A run that was stopped, in whatever way, ends with the bits of one that was not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedsim.runtime.trainer import Trainer
from training_file import TOML, lines, train, training_file, untimed

FRAMEWORKS = ("fedllm", "kd_fedllm", "split_fedllm")
#: Kills the process at the given call of a trainer's method.
KILLED = """
import os, signal, sys
from fedsim.runtime.trainer import Trainer
method, last = sys.argv[1], int(sys.argv[2])
original, calls = getattr(Trainer, method), []
def killed(self, *args, **kwargs):
    calls.append(1)
    if len(calls) == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *args, **kwargs)
setattr(Trainer, method, killed)
from fedsim.cli import main
main(sys.argv[3:])
"""


def state(out: Path, seed: int = 0) -> bytes:
    """The last checkpoint's tensors."""
    return sorted((out / "checkpoints" / f"seed-{seed}").glob("*.safetensors"))[-1].read_bytes()


def assert_equal_runs(one: Path, other: Path) -> None:
    """Same parameters and optimizer states, same metrics and ledger but for seconds."""
    assert state(one) == state(other)
    for name in ("metrics.jsonl", "ledger.jsonl"):
        assert untimed(one / name) == untimed(other / name)


def ok(result: Any) -> None:
    """The command ended well."""
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("framework", "method", "call"),
    [
        # Two clients with two batches each: all die within round 3.
        ("fedllm", "train", 11),
        ("kd_fedllm", "distill", 15),
        ("split_fedllm", "backward_from_cut", 10),
    ],
)
def test_a_run_that_is_killed_in_the_middle_of_a_round_goes_on_to_the_same_bits(
    framework: str, method: str, call: int, tmp_path: Path
) -> None:
    """SIGKILL, in a process of its own; the round that it died in is done again."""
    file = training_file(tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED,
            method,
            str(call),
            "train",
            str(file),
            "--output",
            str(tmp_path / "killed"),
            "--case",
            framework,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [r["round"] for r in lines(tmp_path / "killed" / "metrics.jsonl")] == [0, 1, 2]
    ok(train(file, tmp_path / "killed", case=framework))
    ok(train(file, tmp_path / "whole", case=framework))
    assert_equal_runs(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("optimizer_state", ["reset", "keep"])
@pytest.mark.parametrize("mode", ["sequential", "cohort"])
def test_a_run_can_be_continued_with_more_rounds(
    mode: str, framework: str, optimizer_state: str, tmp_path: Path
) -> None:
    """Two rounds and then two more are four; with LoRA dropout, and clients that drop out."""
    file = training_file(tmp_path)
    keys: dict[str, Any] = {
        "case": framework,
        "train__mode": mode,
        "fleet__dropout_probability": 0.3,
        "learning__optimizer_state": optimizer_state,
    }
    if mode == "cohort":
        keys["model__dropout"] = 0.0
    ok(train(file, tmp_path / "parts", workload__num_rounds=2, **keys))
    ok(train(file, tmp_path / "parts", **keys))
    ok(train(file, tmp_path / "whole", **keys))
    assert_equal_runs(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize(
    ("optimizer", "keys"),
    [
        ("fedprox", {"train__mu": 0.5}),
        ("fedadam", {"train__server_learning_rate": 0.05}),
    ],
)
@pytest.mark.parametrize("framework", ["fedllm", "split_fedllm"])
def test_the_servers_state_is_kept_too(
    framework: str, optimizer: str, keys: dict[str, Any], tmp_path: Path
) -> None:
    """FedAdam's moments, and the anchor of FedProx."""
    file = training_file(tmp_path)
    keys = {**keys, "case": framework, "train__server_optimizer": optimizer}
    ok(train(file, tmp_path / "parts", workload__num_rounds=2, **keys))
    ok(train(file, tmp_path / "parts", **keys))
    ok(train(file, tmp_path / "whole", **keys))
    assert_equal_runs(tmp_path / "parts", tmp_path / "whole")
    ok(train(file, tmp_path / "average", case=framework))
    assert state(tmp_path / "average") != state(tmp_path / "whole")


def test_rounds_behind_the_last_checkpoint_are_done_again(tmp_path: Path) -> None:
    """With a checkpoint every third round, a stop after the fourth forgets one."""
    file, stops = training_file(tmp_path), {"train__checkpoint_every": 3}
    interrupted(file, tmp_path / "parts", round_index=5, num_rounds=6, **stops)
    assert [r["round"] for r in lines(tmp_path / "parts" / "metrics.jsonl")] == [0, 1, 2, 3, 4]
    result = train(file, tmp_path / "parts", workload__num_rounds=6, **stops)
    ok(result)
    assert "3 rounds were done already" in result.output
    ok(train(file, tmp_path / "whole", workload__num_rounds=6, **stops))
    assert_equal_runs(tmp_path / "parts", tmp_path / "whole")


def interrupted(
    file: Path, out: Path, *, round_index: int, num_rounds: int = 4, **keys: Any
) -> None:
    """Press Ctrl-C in a round of FedLLM, whose rounds have four batches."""
    original, calls = Trainer.train, []

    def train_or_stop(self: Trainer, *args: Any, **kwargs: Any) -> None:
        calls.append(1)
        if len(calls) == 4 * (round_index - 1) + 2:
            raise KeyboardInterrupt
        original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "train", train_or_stop)
        result = train(file, out, workload__num_rounds=num_rounds, **keys)
    assert result.exit_code == 130, result.output


@pytest.mark.parametrize("round_index", [1, 3])
def test_an_interrupted_run_goes_on(round_index: int, tmp_path: Path) -> None:
    """Ctrl-C, in the first round or later: exit code 130, and the command again."""
    file = training_file(tmp_path)
    interrupted(file, tmp_path / "parts", round_index=round_index)
    ok(train(file, tmp_path / "parts"))
    ok(train(file, tmp_path / "whole"))
    assert_equal_runs(tmp_path / "parts", tmp_path / "whole")


def test_seeds_are_runs_of_their_own(tmp_path: Path) -> None:
    """A second seed leaves the first one's records, and a seed alone gives the same bits."""
    file = training_file(tmp_path)
    ok(train(file, tmp_path / "both", train__seeds=[0]))
    ok(train(file, tmp_path / "both", train__seeds=[0, 7]))
    ok(train(file, tmp_path / "one", train__seeds=[7]))
    assert state(tmp_path / "both", 7) == state(tmp_path / "one", 7)
    assert state(tmp_path / "both", 0) != state(tmp_path / "one", 7)
    records = lines(tmp_path / "both" / "metrics.jsonl")
    assert [(r["seed"], r["round"]) for r in records] == [
        (seed, number) for seed in (0, 7) for number in range(5)
    ]


def test_a_finished_run_is_reported_again_and_not_repeated(tmp_path: Path) -> None:
    """Not a byte of the records changes."""
    file, out = training_file(tmp_path), tmp_path / "run"
    ok(train(file, out))
    before = (out / "metrics.jsonl").read_bytes()
    result = train(file, out)
    ok(result)
    assert (out / "metrics.jsonl").read_bytes() == before
    assert "seed 0" in result.output


def test_fresh_starts_over(tmp_path: Path) -> None:
    """What another configuration left goes."""
    file, out = training_file(tmp_path), tmp_path / "run"
    ok(train(file, out, train__seeds=[0, 1]))
    ok(train(file, out, "--fresh", learning__learning_rate=0.1))
    ok(train(file, tmp_path / "alone", learning__learning_rate=0.1))
    assert_equal_runs(out, tmp_path / "alone")


def test_another_configuration_is_refused_with_what_differs(tmp_path: Path) -> None:
    """And the folder stays as it is."""
    file, out = training_file(tmp_path), tmp_path / "run"
    ok(train(file, out))
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    result = train(file, out, learning__learning_rate=0.1)
    assert result.exit_code == 2
    assert "learning.learning_rate = 0.01 there and 0.1 here" in " ".join(result.output.split())
    assert "--fresh" in result.output
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_fewer_rounds_than_are_done_are_refused(tmp_path: Path) -> None:
    """A checkpoint cannot be gone back from."""
    file, out = training_file(tmp_path), tmp_path / "run"
    ok(train(file, out))
    result = train(file, out, workload__num_rounds=2)
    assert result.exit_code == 2
    assert "seed 0 has 4 rounds and num_rounds is 2" in " ".join(result.output.split())


def test_missing_data_leaves_an_earlier_run_even_under_fresh(tmp_path: Path) -> None:
    """Nothing is removed before data and weights are there."""
    file, out = training_file(tmp_path), tmp_path / "run"
    ok(train(file, out))
    before = (out / "metrics.jsonl").read_bytes()
    result = train(
        file, out, "--fresh", "--data-dir", str(tmp_path / "none"), data__dataset="banking77"
    )
    assert result.exit_code == 2
    assert "none" in result.output
    assert (out / "metrics.jsonl").read_bytes() == before


def test_a_truncated_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    """Said in a line, and the run still ends with the same bits."""
    file = training_file(tmp_path)
    ok(train(file, tmp_path / "parts", workload__num_rounds=3))
    newest = tmp_path / "parts" / "checkpoints" / "seed-0" / "round-000003.safetensors"
    newest.write_bytes(newest.read_bytes()[:100])
    result = train(file, tmp_path / "parts")
    ok(result)
    assert "truncated" in result.output
    ok(train(file, tmp_path / "whole"))
    assert_equal_runs(tmp_path / "parts", tmp_path / "whole")


def test_changed_weights_are_noticed(tmp_path: Path) -> None:
    """A checkpoint names the weights that its run began with."""
    file, out = training_file(tmp_path), tmp_path / "run"
    ok(train(file, out, workload__num_rounds=2))
    for path in (out / "checkpoints" / "seed-0").glob("*.json"):
        text = path.read_text()
        start = text.index('"weights": "') + len('"weights": "')
        path.write_text(text[:start] + "0" * 64 + text[start + 64 :])
    result = train(file, out)
    assert result.exit_code == 2
    assert "weights was 0000" in " ".join(result.output.split())


@pytest.mark.parametrize("write", range(2, 9))
def test_a_full_disk_ends_with_a_message_and_the_run_goes_on_later(
    write: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever write finds no room: ledger, metrics, tensors or their JSON."""
    file, original, calls = training_file(tmp_path), os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(1)
        if len(calls) == write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        result = train(file, tmp_path / "parts", workload__num_rounds=2)
    assert result.exit_code == 2, result.output
    assert "No space left on device" in " ".join(result.output.split())
    ok(train(file, tmp_path / "parts", workload__num_rounds=2))
    ok(train(file, tmp_path / "whole", workload__num_rounds=2))
    assert_equal_runs(tmp_path / "parts", tmp_path / "whole")


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    """The second is told so."""
    file, out = training_file(tmp_path), tmp_path / "run"
    second = []

    def during(self: Trainer, *args: Any, **kwargs: Any) -> None:
        second.append(train(file, out))
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "train", during)
        train(file, out)
    assert second[0].exit_code == 2
    assert "another run is writing there" in " ".join(second[0].output.split())


def test_records_without_a_checkpoint_that_are_missing_are_named(tmp_path: Path) -> None:
    """A metrics file that somebody removed cannot be made up."""
    file, out = training_file(tmp_path), tmp_path / "run"
    ok(train(file, out, workload__num_rounds=2))
    (out / "metrics.jsonl").unlink()
    result = train(file, out)
    assert result.exit_code == 2
    assert "lacks rounds of seed 0" in " ".join(result.output.split())


@pytest.mark.parametrize("framework", ["fedllm", "split_fedllm"])
def test_diverging_training_stops_with_a_cure_and_the_last_good_state(
    framework: str, tmp_path: Path
) -> None:
    """Exit code 2, for the user can mend it; the step is named, and what was good stays."""
    text = TOML.replace("learning_rate = 1e-2", "learning_rate = 1e18").replace(
        "num_rounds = 4", 'num_rounds = 4\noptimizer = "sgd"'
    )
    file, out = training_file(tmp_path, text), tmp_path / "run"
    result = train(file, out, case=framework, lora__init_lora_weights="gaussian")
    message = " ".join(result.output.split())
    assert result.exit_code == 2, message
    assert "Traceback" not in message
    assert "training diverged. Lower learning.learning_rate (1e+18 here)" in message
    assert "init_lora_weights" in message
    assert "checkpoint" in message
    assert not list(out.rglob("round-000004*"))
    assert [record["round"] for record in lines(out / "metrics.jsonl")][:1] == [0]
