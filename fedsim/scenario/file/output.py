"""Files that commands write: checked before anything is computed, and never seen half-written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fedsim.errors import ScenarioError
from fedsim.files import overwritten, write_file

__all__ = ["check_not_inputs", "check_writable", "write_text"]


def check_writable(path: Path, suffixes: Iterable[str] = ()) -> None:
    """Refuse an output that could not be written.

    Parameters
    ----------
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
            f"{path}: the suffix says the format of the output; allowed: {', '.join(allowed)}."
        )
    if path.is_dir():
        raise ScenarioError(f"{path}: is a folder; name a file in it for the output.")
    if str(path) == "-" or (path.exists() and not path.is_file()):
        # A rename would put a file in the place of a device or pipe.
        raise ScenarioError(f"{path}: is no regular file; name one for the output.")
    if not path.parent.is_dir():
        raise ScenarioError(f"{path}: there is no folder {path.parent}; make it first.")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ScenarioError(f"{path}: may not be written; choose another place for the output.")


def check_not_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over what the same command reads.

    Raises
    ------
    ScenarioError
        If an output is one of the inputs, by whatever spelling, symbolic link or hard link.
    """
    found = overwritten(outputs, inputs)
    if found is not None:
        output, source = found
        same = "" if str(output) == str(source) else f" (it is {source})"
        raise ScenarioError(
            f"{output}: is read by this command{same} and would be overwritten; name another file "
            "for the output."
        )


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name and rename, so that no half of a file is ever seen.

    Raises
    ------
    ScenarioError
        If it cannot be written; what was there stays.
    """
    try:
        write_file(path, text)
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be written ({error.strerror}).") from error
