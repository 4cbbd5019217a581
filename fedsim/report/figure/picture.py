"""Write a picture: the format by its suffix, and never half a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fedsim.errors import ScenarioError
from fedsim.files import replaced

__all__ = ["SUFFIXES", "write_picture"]

SUFFIXES: Final = (".png", ".svg")


def write_picture(canvas: Any, path: Path) -> None:
    """Write a matplotlib figure under a temporary name and rename it.

    Raises
    ------
    ScenarioError
        If the suffix is none of :data:`SUFFIXES`, or the file cannot be written.
    """
    import matplotlib as mpl

    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ScenarioError(
            f"{path}: the suffix says the picture's format; allowed: {', '.join(SUFFIXES)}."
        )
    # No date and no random ids, so that the same answer gives the same file.
    options: dict[str, Any] = {"metadata": {"Date": None}} if suffix == ".svg" else {"dpi": 160}
    try:
        with mpl.rc_context({"svg.hashsalt": "fedsim"}), replaced(path) as (temporary,):
            canvas.savefig(temporary, format=suffix[1:], **options)
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be written ({error.strerror}).") from error
