"""Fitted laws by name: shipped with a machine's folder, or a file of the user's own."""

from __future__ import annotations

from pathlib import Path

from fedsim.errors import ScenarioError, nearest
from fedsim.learning.store import Laws, read_laws
from fedsim.resources import resource_dir

__all__ = ["find_laws"]

_FILE = Path("learning") / "laws.json"


def find_laws(name_or_path: str, base_dir: Path) -> Laws:
    """Laws of a shipped folder of ``calibrate``, or of a file or folder.

    Raises
    ------
    ScenarioError
        If there are none, with the names that exist.
    """
    for candidate in (base_dir / name_or_path, Path(name_or_path)):
        for path in (candidate, candidate / "laws.json"):
            try:
                is_there = path.is_file()
            except (OSError, ValueError):
                is_there = False
            if is_there:
                return read_laws(path)
    shipped = resource_dir("calibrate")
    names = sorted(path.name for path in shipped.iterdir() if (path / _FILE).is_file())
    if name_or_path in names:
        return read_laws(shipped / name_or_path / _FILE)
    raise ScenarioError(
        f"'{name_or_path[:200]}' is neither a file of fitted learning curves nor shipped; shipped: "
        f"{', '.join(names) or 'none'}.{nearest(name_or_path, names)} Fit your own with "
        "'fedsim learn fit CURVES'."
    )
