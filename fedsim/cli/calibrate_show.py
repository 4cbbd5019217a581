"""``fedsim calibrate show``: what a profile's device achieves."""

from __future__ import annotations

import click
from rich.console import Console

from fedsim.calibration.profile import find_profile, load_profile
from fedsim.report.run.calibration import print_profile

__all__ = ["command"]


@click.command("show", short_help="Show what a profile's device achieves.")
@click.argument("profile")
def command(profile: str) -> None:
    """Show machine, rates by phase, where steps are launch-bound, errors and noise.

    PROFILE is a shipped name, a folder or a file. Nothing is measured.
    """
    print_profile(Console(), load_profile(find_profile(profile)))
