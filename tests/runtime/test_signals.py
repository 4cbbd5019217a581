"""A batch system's SIGTERM and a closed terminal's SIGHUP end a command as Ctrl-C does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedsim.cli import main
from fedsim.cli.termination import ends_as_interrupted
from training_file import lines, train, training_file, untimed

#: Says that it computes, and does so until somebody ends it.
WAITING = """
import time
from fedsim.cli import main
from fedsim.scenario.run import Question

def answer(*_, **__):
    print("computing", flush=True)
    time.sleep(600)

Question.answer = answer
main()
"""
CODES = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}


def ended(command: list[str], number: signal.Signals, is_at_work: Callable[[], bool]) -> str:
    """Start a command, signal it once it is at work, and give what it said last."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None and not is_at_work():
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it was asked to"
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == CODES[number], said.decode()
    assert b"Traceback" not in said
    return said.decode().splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_a_batch_system_ends_goes_on_to_the_same_bits(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Its folder is left as behind Ctrl-C: whole rounds, and nothing half-written."""
    file, out = training_file(tmp_path), tmp_path / "run"
    long = [
        "--case",
        "fedllm",
        "--set",
        "workload.num_rounds=100000",
        "--set",
        "train.evaluate=[]",
        "--yes",
    ]
    command = [sys.executable, "-m", "fedsim", "train", str(file), "--output", str(out), *long]
    metrics = out / "metrics.jsonl"
    text = ended(
        command, number, lambda: metrics.exists() and metrics.read_bytes().count(b"\n") > 2
    )
    assert text == f"Ended by {number.name}."
    done = lines(metrics)[-1]["round"]
    assert (
        train(file, out, "--yes", workload__num_rounds=done + 2, train__evaluate=[]).exit_code == 0
    )
    straight = tmp_path / "straight"
    train(file, straight, "--yes", workload__num_rounds=done + 2, train__evaluate=[])
    assert untimed(metrics) == untimed(straight / "metrics.jsonl")
    assert not list(out.rglob("*.part"))


@pytest.mark.parametrize("number", list(CODES))
def test_a_scenario_that_is_ended_says_by_what(number: signal.Signals, tmp_path: Path) -> None:
    """And the exit code is the convention's; no half-written output is left."""
    said = tmp_path / "said"
    with said.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", WAITING, "scenario", "case_study", "--json", "out.json"],
            cwd=tmp_path,
            stdout=stream,
            stderr=subprocess.PIPE,
        )
        while process.poll() is None and b"computing" not in said.read_bytes():
            time.sleep(0.02)
        process.send_signal(number)
        _, message = process.communicate()
    assert process.returncode == CODES[number], message.decode()
    assert b"Traceback" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["said"]


def test_handlers_of_others_stay() -> None:
    """Whoever ignores SIGHUP, as nohup does, goes on ignoring it; and all is as before, after."""
    before = signal.getsignal(signal.SIGTERM)
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ends_as_interrupted():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not before
    finally:
        signal.signal(signal.SIGHUP, ignored)
    assert signal.getsignal(signal.SIGTERM) is before
    assert CliRunner().invoke(main, ["scenario", "--schema"]).exit_code == 0
    assert signal.getsignal(signal.SIGTERM) is before
