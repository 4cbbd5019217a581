"""What a user wrote, by ``module:NAME``: modules beside the scenario are found.

It is their code: whatever goes wrong in it is reported as theirs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from fedsim.errors import ScenarioError

__all__ = ["imported", "is_own", "own_names", "reason"]


def imported(name: str, folder: Path) -> ModuleType:
    """The module of a ``module:NAME``, imported.

    Parameters
    ----------
    name : str
        Of identifiers alone.
    folder : Path
        The scenario's: a module beside it is found.

    Raises
    ------
    ScenarioError
        If the module cannot be imported.
    """
    module_name = name.partition(":")[0]
    with _importable(folder):
        _forget_another(module_name)
        # A user's module may raise anything.
        try:
            return importlib.import_module(module_name)
        except Exception as error:
            raise ScenarioError(
                f"module '{module_name}' cannot be imported ({reason(error)}); put "
                f"{module_name.partition('.')[0]}.py beside the scenario, or install it."
            ) from error


def is_own(name: str) -> bool:
    """Whether it is written as ``module:NAME``."""
    module_name, _, attribute = name.partition(":")
    return all(part.isidentifier() for part in (*module_name.split("."), attribute))


def own_names(module: ModuleType) -> list[str]:
    """What a module has that a user may have meant."""
    return [name for name in vars(module) if not name.startswith("_")]


def reason(error: Exception) -> str:
    """What was raised, in one line."""
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
