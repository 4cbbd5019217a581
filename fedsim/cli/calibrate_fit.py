"""``fedsim calibrate fit``: fit a measured folder again."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from fedsim.calibration.run import refit
from fedsim.cli.measuring import check_usable
from fedsim.report.figure.calibration import draw_calibration
from fedsim.report.run.calibration import print_calibration

__all__ = ["command"]


@click.command("fit", short_help="Fit a measured folder again, without measuring.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def command(folder: Path) -> None:
    """Fit FOLDER's measurements again: after an update of fedsim, or on another machine.

    The profile keeps its machine, date and command; nothing is measured.
    """
    result = refit(folder)
    draw_calibration(result, folder / "validation.png")
    print_calibration(Console(), result)
    check_usable(result.profile)
