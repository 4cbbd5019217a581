"""What the commands that measure have in common: a progress bar, a name, a verdict on noise."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedsim.calibration.profile import Profile
from fedsim.errors import CalibrationError

__all__ = ["check_usable", "folder_name", "progress_bar"]


@contextmanager
def progress_bar(first: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr with the time left; gives ``(done, total, what)``, total 0 for unknown."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(first, total=None)

        def on_progress(done: int, total: int, what: str) -> None:
            progress.update(task, completed=done, total=total or None, description=what)

        yield on_progress


def check_usable(profile: Profile) -> None:
    """Raise ``CalibrationError`` where the machine was too noisy for what was just written."""
    for precision in profile.file.fit:
        if reason := profile.unusable(precision):
            raise CalibrationError(f"{reason}. {profile.path.parent} keeps what was measured.")


def folder_name(out: Path, otherwise: str) -> str:
    """The folder's own name in plain characters, for a profile that was given none."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", out.resolve().name) or otherwise
