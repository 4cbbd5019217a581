"""``fedsim calibrate``: measure this machine, and look at what was measured."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from fedsim.cli.lazy_group import LazyGroup
from fedsim.cli.measuring import check_usable, folder_name, progress_bar
from fedsim.errors import ScenarioError
from fedsim.runtime.threads import set_thread_policy

__all__ = ["command"]

_COMMANDS: Final = {
    "show": ("calibrate_show", "Show what a profile's device achieves."),
    "check": ("calibrate_check", "See whether a profile still holds on this machine."),
    "fit": ("calibrate_fit", "Fit a measured folder again, without measuring."),
    "link": ("calibrate_link", "Measure a real link between two hosts."),
}


@click.group(
    "calibrate",
    cls=LazyGroup,
    lazy=_COMMANDS,
    invoke_without_command=True,
    short_help="Measure this machine and write a profile of it.",
)
@click.option(
    "--plan",
    default="quick",
    show_default=True,
    metavar="quick|full|FILE",
    help="What to measure: 'quick' takes about 3 minutes on two CPU cores, 'full' up to 40; or a "
    "TOML file with [[shape]] tables.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder for profile.toml, measurements.csv, validation.json and validation.png.",
)
@click.option("--name", default=None, help="Name of the profile (default: the folder's).")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=None,
    help="CPU threads (default: all that this process may use).",
)
@click.option("--force", is_flag=True, help="Replace a finished profile in the folder.")
@click.pass_context
def command(
    ctx: click.Context,
    plan: str,
    device: str,
    out: Path | None,
    name: str | None,
    threads: int | None,
    force: bool,
) -> None:
    """Measure the phases of the three frameworks, fit a time model and judge it.

    An interrupted run continues where it was when the command is given again. A scenario uses the
    result through: profile = "FOLDER". Exits with 2 where the machine was too noisy for its profile
    to be used; the measurements are kept.
    """
    if ctx.invoked_subcommand is not None:
        return
    if out is None:
        raise ScenarioError("--out FOLDER is missing: name a folder for the profile.")
    from fedsim.runtime.needs_runtime import check_runtime

    check_runtime()
    if (out / "profile.toml").exists() and not force:
        raise ScenarioError(
            f"--out {out}: holds a finished profile; name another folder or add --force."
        )
    set_thread_policy()
    result = _calibrated(plan, device, out, name or folder_name(out, "profile"), threads)
    from fedsim.report.figure.calibration import draw_calibration
    from fedsim.report.run.calibration import print_calibration

    draw_calibration(result, out / "validation.png")
    print_calibration(Console(), result)
    check_usable(result.profile)


def _calibrated(plan_name: str, device: str, out: Path, name: str, threads: int | None) -> Any:
    from fedsim.calibration.campaign import run_campaign
    from fedsim.calibration.machine import (
        describe_machine,
        repository_commit,
        software_versions,
    )
    from fedsim.calibration.plan import full_plan, quick_plan
    from fedsim.calibration.plan_file import read_plan
    from fedsim.calibration.run import finish, provenance_of
    from fedsim.calibration.sentinel import SENTINEL_FLOP
    from fedsim.runtime.device import set_num_threads, torch_device

    set_num_threads(threads or len(os.sched_getaffinity(0)))
    target = torch_device(device)
    kind: Any = target.type
    builtin = {"quick": quick_plan, "full": full_plan}
    plan = builtin[plan_name](kind) if plan_name in builtin else read_plan(Path(plan_name), kind)
    with progress_bar("measuring") as on_progress:
        visits, num_resumed, partial = run_campaign(plan, out, target, on_progress)
        on_progress(0, 0, "fitting")
        provenance = provenance_of(
            plan,
            command=shlex.join(["fedsim", *sys.argv[1:]]),
            commit=repository_commit(),
            versions=software_versions(),
        )
        provenance["sentinel_flop"] = SENTINEL_FLOP[kind]
        provenance["duration_s"] = round(sum(visit.duration_s for visit in visits), 1)
        result = finish(
            visits,
            out,
            name=name,
            machine=describe_machine(target),
            provenance=provenance,
            num_resumed=num_resumed,
        )
    partial.remove()
    return result
