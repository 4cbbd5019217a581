"""The command line: exit codes, lazy imports, and no traceback for what the user can mend."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner, Result

from fedsim import cli
from fedsim.errors import (
    AgreementError,
    CalibrationError,
    FedsimError,
    ProtocolError,
    ScenarioError,
    UnitError,
)

RUNTIME = ("torch", "transformers", "peft", "simpy", "numba")
HEAVY = (*RUNTIME, "matplotlib", "numpy", "pydantic", "rich")


def invoked(*arguments: str) -> Result:
    """Run the program in this process."""
    return CliRunner().invoke(cli.main, arguments)


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Result:
    """Run a command that raises."""

    @click.command("scenario")
    def command() -> None:
        raise error

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: command)
    return invoked("scenario")


@pytest.mark.parametrize(("word", "meant"), [("scenarios", "scenario"), ("tran", "train")])
def test_a_mistyped_command_is_answered_with_the_nearest(word: str, meant: str) -> None:
    """As a mistyped key is."""
    result = invoked(word)

    assert result.exit_code == 2
    assert f"Did you mean {meant!r}?" in result.output


def test_help_lists_every_command() -> None:
    """And says what the exit codes mean."""
    result = invoked("--help")

    assert result.exit_code == 0
    for name in ("scenario", "protocol", "verify", "calibrate", "Exit codes"):
        assert name in result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """Help is there at once, whatever is installed."""
    code = (
        "import sys\nfrom fedsim.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_a_scenario_needs_no_torch() -> None:
    """A user without a GPU explores with a shipped profile."""
    code = (
        "import sys\nfrom fedsim.cli import main\n"
        "try:\n    main(['scenario', 'split_point'])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {RUNTIME!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ScenarioError("mend it"), 2),
        (UnitError("10 mbps", "mend it"), 2),
        (CalibrationError("mend it"), 2),
        (AgreementError("mend it"), 3),
        (ProtocolError("mend it"), 1),
        (FedsimError("mend it"), 1),
    ],
)
def test_an_error_of_ours_is_a_message_and_a_code(
    monkeypatch: pytest.MonkeyPatch, error: FedsimError, expected: int
) -> None:
    """By who must act."""
    result = raising(monkeypatch, error)

    assert result.exit_code == expected
    assert "mend it" in result.stderr
    assert "Traceback" not in result.output


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """As shells have it."""
    assert raising(monkeypatch, KeyboardInterrupt()).exit_code == 130


@pytest.mark.parametrize("arguments", [["nothing"], ["scenario", "--nothing"], ["scenario"]])
def test_a_usage_error_is_2(arguments: list[str]) -> None:
    """With a message on standard error."""
    result = invoked(*arguments)

    assert result.exit_code == 2
    assert result.stderr
