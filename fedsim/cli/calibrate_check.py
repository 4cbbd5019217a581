"""``fedsim calibrate check``: whether a profile still holds on this machine."""

from __future__ import annotations

import os

import click
from rich.console import Console

from fedsim.calibration.profile import find_profile, load_profile
from fedsim.errors import CalibrationError
from fedsim.runtime.needs_runtime import check_runtime
from fedsim.runtime.threads import set_thread_policy

__all__ = ["command"]


@click.command("check", short_help="See whether a profile still holds on this machine.")
@click.argument("profile")
@click.option("--force", is_flag=True, help="Report a drifted device, and accept it.")
def command(profile: str, force: bool) -> None:
    """Time the sentinels again, in seconds, and compare them with PROFILE's.

    Warns beyond max(5 %, 2 x noise), refuses (exit code 2) beyond twice that, or where another
    device was measured. Other software warns.
    """
    file = load_profile(find_profile(profile)).file
    check_runtime()
    set_thread_policy()
    from fedsim.calibration.check import Check, judge_sentinels, other_machine
    from fedsim.calibration.machine import describe_machine, software_versions
    from fedsim.calibration.sentinel import sentinels_now
    from fedsim.report.run.calibration import print_check
    from fedsim.runtime.device import set_num_threads, torch_device

    set_num_threads(min(file.machine.num_threads, len(os.sched_getaffinity(0))))
    device = torch_device(file.machine.device)
    now = sentinels_now(device)
    differences, is_other = other_machine(file, describe_machine(device), software_versions())
    check = Check(judge_sentinels(file, now), differences, is_other)
    print_check(Console(), file, check)
    if check.verdict == "refuses" and not force:
        raise CalibrationError(
            f"profile '{file.name}' does not hold on this machine any more: measure again with "
            "'fedsim calibrate --out FOLDER', or accept it with --force."
        )
