"""Where a command may write: found out before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fedsim.errors import ScenarioError

__all__ = ["check_output"]


def check_output(option: str, path: Path, suffixes: Iterable[str] = ()) -> None:
    """Refuse an output that could not be written.

    Parameters
    ----------
    option : str
        As the user typed it, for the message.
    path : Path
    suffixes : iterable of str
        The allowed ones, with their dots; any when empty.

    Raises
    ------
    ScenarioError
        If the suffix, the folder or the file is of no use.
    """
    allowed = tuple(suffixes)
    if allowed and path.suffix.lower() not in allowed:
        raise ScenarioError(
            f"{option} {path}: the suffix says the format; allowed: {', '.join(allowed)}."
        )
    if path.is_dir():
        raise ScenarioError(f"{option} {path}: is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise ScenarioError(f"{option} {path}: there is no folder {path.parent}; make it first.")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ScenarioError(f"{option} {path}: may not be written; choose another place.")
