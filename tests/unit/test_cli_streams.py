"""Output that is full, closed or narrow ends in a report or one line, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios import SMALL, written

FULL = Path("/dev/full")
COMMANDS = [
    ("--version",),
    ("scenario", "{scenario}"),
    ("scenario", "--schema"),
    ("learn", "show", "{curves}"),
]


def commands(args: tuple[str, ...], folder: Path) -> list[str]:
    """A command line; both files are there."""
    scenario = written(folder, SMALL)
    curves = Path(__file__).parents[2] / "calibrate" / "cpu-2-threads" / "learning" / "curves.json"
    filled = [arg.format(scenario=scenario, curves=curves) for arg in args]
    return [sys.executable, "-m", "fedsim", *filled]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("args", COMMANDS)
def test_a_full_output_is_one_line_and_code_2(args: tuple[str, ...], tmp_path: Path) -> None:
    """As exit_codes.md says, for every command that prints."""
    with FULL.open("w") as full:
        done = subprocess.run(
            commands(args, tmp_path), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 2
    assert done.stderr == ("Error: standard output cannot be written (No space left on device).\n")


@pytest.mark.parametrize("args", COMMANDS)
def test_a_reader_that_went_away_is_no_fault(args: tuple[str, ...], tmp_path: Path) -> None:
    """``fedsim ... | head`` says nothing, and has the code that a shell gives for SIGPIPE."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            commands(args, tmp_path), stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("args", COMMANDS[1:3])
def test_a_closed_output_is_said(args: tuple[str, ...], tmp_path: Path) -> None:
    """A file that the command opens must not become its standard output."""
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *commands(args, tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr == (
        "Error: standard output is closed; give the command one, such as a file.\n"
    )


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("args", COMMANDS)
def test_a_narrow_encoding_loses_characters_and_not_the_report(
    args: tuple[str, ...], encoding: str, tmp_path: Path
) -> None:
    """What the encoding lacks is a question mark."""
    done = subprocess.run(
        commands(args, tmp_path),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.strip()


def test_a_message_with_unknown_characters_is_still_one(tmp_path: Path) -> None:
    """A file's name need not be in the terminal's encoding."""
    done = subprocess.run(
        [sys.executable, "-m", "fedsim", "scenario", str(tmp_path / "größe→.toml")],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )

    assert done.returncode == 2
    assert done.stderr.startswith(b"Error: ")
    assert b"there is no such file" in done.stderr
