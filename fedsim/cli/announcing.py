"""Say what real runs will take before they start, and ask where that is long."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from fedsim.errors import ScenarioError
from fedsim.units import format_bytes, format_flop, format_seconds

if TYPE_CHECKING:
    from fedsim.runtime.free_memory import FreeMemory
    from fedsim.training.expected import Expected
    from fedsim.training.setup import TrainingSetup

__all__ = ["announce"]

#: Longer runs are asked about.
_LONG_S: Final = 3600.0


def announce(
    setups: Sequence[tuple[TrainingSetup, Path]], *, is_fresh: bool, is_sure: bool
) -> None:
    """Print a line a run: samples, FLOP, about how long, memory.

    Parameters
    ----------
    setups : sequence of (TrainingSetup, Path)
        With the folders that may hold a part of them.
    is_fresh : bool
        Whether that part is replaced.
    is_sure : bool
        The user said ``--yes``.

    Raises
    ------
    ScenarioError
        If a run cannot have the memory that it needs; or if all together take above an hour, the
        user did not say ``--yes``, and nobody can be asked or the answer is no.
    """
    from fedsim.runtime.free_memory import free_memory
    from fedsim.training.expected import check_memory, expected_run, speed_now
    from fedsim.training.folder import RunFolder

    seconds, speed = 0.0, None
    for setup, out in setups:
        left = RunFolder(out, setup.document).num_rounds_left(is_fresh=is_fresh)
        if not left:
            continue
        speed = speed or speed_now(setup)
        expected = expected_run(setup, speed, left)
        free = free_memory(setup.device)
        name = setup.document.name
        check_memory(name, expected.memory, free)
        click.echo(_line(name, left, expected, speed.source, free), err=True)
        seconds += expected.seconds
    if seconds > _LONG_S and not is_sure:
        _ask(seconds)


def _line(
    name: str, rounds_left: int, expected: Expected, source: str, free: FreeMemory | None
) -> str:
    memory = f"about {format_bytes(expected.memory.peak_bytes)} of memory beside the process's own"
    if free is not None:
        memory += f", of {format_bytes(free.num_bytes)} left ({free.limit})"
    return (
        f"{name}: {rounds_left:,} round{'s' if rounds_left != 1 else ''}, "
        f"{expected.num_samples:,} samples, {format_flop(expected.num_flop)}, roughly "
        f"{format_seconds(expected.seconds)} ({source}); {memory}."
    )


def _ask(seconds: float) -> None:
    text = f"this takes roughly {format_seconds(seconds)}, which is above an hour"
    if sys.stdin.isatty() and sys.stderr.isatty():
        if click.confirm(f"{text[0].upper()}{text[1:]}. Go on?", err=True):
            return
        raise ScenarioError(f"{text}: not started.")
    raise ScenarioError(
        f"{text}: add --yes to start it. It can be interrupted, and goes on where it was when the "
        "command is given again."
    )
