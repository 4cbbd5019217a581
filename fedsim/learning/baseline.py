"""What the simplest classifier reaches on a data set: the line that an accuracy is read beside.

``calibrate/baselines/NAME.toml`` is written by the script in that folder and names its command.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

from fedsim.resources import resource_dir

__all__ = ["baseline", "read_baseline"]

_FOLDER: Final = "baselines"
_KEYS: Final = ("accuracy", "num_test", "command", "date")


@cache
def baseline(dataset: str) -> dict[str, Any] | None:
    """The shipped baseline of a data set; None where there is none.

    Parameters
    ----------
    dataset : str
        As ``[workload] dataset`` names it.
    """
    if not dataset.isidentifier():
        return None
    return read_baseline(resource_dir("calibrate") / _FOLDER / f"{dataset}.toml")


def read_baseline(path: Path) -> dict[str, Any] | None:
    """Accuracy, test rows, command and date of a file; None where it is missing or says less."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = {name: table.get(name) for name in _KEYS}
    accuracy = found["accuracy"]
    is_share = isinstance(accuracy, float) and 0.0 < accuracy <= 1.0
    return {name: _text(value) for name, value in found.items()} if is_share else None


def _text(value: object) -> object:
    """Dates as text: what goes into an answer is JSON."""
    return value if value is None or isinstance(value, (int, float, str)) else str(value)
