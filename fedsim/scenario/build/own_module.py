"""What a user's own file holds: ``module:NAME``, found beside a scenario or where it is installed.

It is their code: whatever goes wrong in it is reported as theirs, with its name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from fedsim.errors import ScenarioError, nearest

__all__ = ["own_attribute", "reason"]


def own_attribute(name: str, folder: Path, example: str) -> Any:
    """What ``module:NAME`` names.

    Parameters
    ----------
    name : str
    folder : Path
        The scenario's: a module beside it is found.
    example : str
        A name as it could be, for whoever wrote none.

    Raises
    ------
    ScenarioError
        If there is none; the message names no table.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise ScenarioError(f"write {example}.")
    with _importable(folder):
        _forget_another(module_name)
        # A user's module may raise anything.
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            raise ScenarioError(
                f"module '{module_name}' cannot be imported ({reason(error)}); put "
                f"{module_name.partition('.')[0]}.py beside the scenario, or install it."
            ) from error
    if not hasattr(module, attribute):
        raise ScenarioError(
            f"module '{module_name}' has no '{attribute}'."
            f"{nearest(attribute, [n for n in vars(module) if not n.startswith('_')])}"
        )
    return getattr(module, attribute)


def reason(error: Exception) -> str:
    """What a user's code raised, in one line."""
    return f"{type(error).__name__}: {error}".replace("\n", " ")


def _forget_another(module_name: str) -> None:
    """Of two folders' modules of one name, the second is not the one that was imported first."""
    top = module_name.partition(".")[0]
    known = getattr(sys.modules.get(top), "__file__", None)
    try:
        spec = PathFinder.find_spec(top)
    except (ImportError, ValueError):
        return
    if known is None or spec is None or spec.origin is None or Path(spec.origin) == Path(known):
        return
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        del sys.modules[name]


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    saved = list(sys.path)
    sys.path[:0] = [str(folder.resolve()), str(Path.cwd())]
    try:
        yield
    finally:
        sys.path[:] = saved
