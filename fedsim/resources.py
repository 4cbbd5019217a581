"""Where the data folders are that ship with fedsim: measured profiles and example scenarios.

This file decides which of two places is right: ``fedsim/_data`` in a wheel, the folder beside the
package in a checkout or an editable install. It does not know what is in the folders.
"""

import importlib.resources
from pathlib import Path
from typing import Literal

from fedsim.errors import FedsimError

__all__ = ["ResourceKind", "find_resource_dir", "resource_dir"]

ResourceKind = Literal["calibrate", "scenarios"]


def resource_dir(kind: ResourceKind) -> Path:
    """Return the shipped data folder of the installed package.

    Parameters
    ----------
    kind
        ``"calibrate"`` (plans, raw measurements, profiles) or ``"scenarios"`` (TOML files).

    Returns
    -------
    pathlib.Path
        An existing folder; treat it as read-only, it may belong to the system's administrator.

    Raises
    ------
    FedsimError
        If neither a wheel's nor a checkout's folder exists.
    """
    return find_resource_dir(Path(str(importlib.resources.files("fedsim"))), kind)


def find_resource_dir(package_dir: Path, kind: ResourceKind) -> Path:
    """Return the data folder that belongs to the package at `package_dir`.

    Parameters
    ----------
    package_dir
        The folder with fedsim's ``__init__.py``.
    kind
        Which data folder.

    Returns
    -------
    pathlib.Path
        An existing folder.

    Raises
    ------
    FedsimError
        If neither place holds the folder.
    """
    in_wheel = package_dir / "_data" / kind
    if in_wheel.is_dir():
        return in_wheel
    in_checkout = package_dir.parent / kind
    # Beside an installed package lies all of site-packages, where a stranger's package may well be
    # called `scenarios`; only our own project file makes the neighbor ours.
    if in_checkout.is_dir() and (package_dir.parent / "pyproject.toml").is_file():
        return in_checkout
    raise FedsimError(
        f"fedsim's data folder {kind!r} is missing: looked for {in_wheel} (installed wheel) and "
        f"{in_checkout} (checkout); reinstall fedsim-llm, or run from a complete checkout."
    )
