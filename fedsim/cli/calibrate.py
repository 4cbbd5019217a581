"""``fedsim calibrate``: measure this machine and write a profile of it."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedsim.cli.threads import set_thread_policy
from fedsim.errors import ScenarioError

__all__ = ["command"]


@click.command("calibrate", short_help="Measure this machine and write a profile of it.")
@click.option(
    "--plan",
    type=click.Choice(["quick"]),
    default="quick",
    show_default=True,
    help="What to measure; 'quick' takes under 3 minutes on two CPU cores.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for profile.toml and measurements.csv.",
)
@click.option("--name", default=None, help="Name of the profile (default: the folder's).")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=None,
    help="CPU threads (default: all that this process may use).",
)
@click.option("--force", is_flag=True, help="Replace a finished profile in the folder.")
def command(
    plan: str, device: str, out: Path, name: str | None, threads: int | None, force: bool
) -> None:
    """Measure the compute phases of the three frameworks and fit a time model to them.

    An interrupted run continues where it was when the command is given again. A scenario uses the
    result through: profile = "FOLDER".
    """
    from fedsim.cli.needs_runtime import check_runtime

    check_runtime()
    if (out / "profile.toml").exists() and not force:
        raise ScenarioError(
            f"--out {out}: holds a finished profile; name another folder or add --force."
        )
    set_thread_policy()
    from fedsim.calibration.plan import quick_plan
    from fedsim.calibration.run import calibrate, set_num_threads
    from fedsim.report.calibration import print_calibration
    from fedsim.runtime.device import torch_device

    set_num_threads(threads or len(os.sched_getaffinity(0)))
    target = torch_device(device)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=None)

        def on_progress(done: int, total: int, what: str) -> None:
            progress.update(task, completed=done, total=total, description=what)

        result = calibrate(
            quick_plan(),
            out,
            name=name or _folder_name(out),
            plan_name=plan,
            command=shlex.join(["fedsim", *sys.argv[1:]]),
            device=target,
            on_progress=on_progress,
        )
    print_calibration(Console(), result)


def _folder_name(out: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", out.resolve().name) or "profile"
