"""Public models by name: their shapes, read from a table that ships with fedsim.

Decides which names there are. Weights, and where they may be loaded from, are the runtime's
business.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from fedsim.errors import ScenarioError, nearest
from fedsim.spec.model import ModelSpec

__all__ = ["model", "model_names"]


def model_names() -> tuple[str, ...]:
    """Names of the catalogue, the public models ahead of the tiny ones for tests."""
    return tuple(_entries())


def model(name: str) -> ModelSpec:
    """Shape of a model of the catalogue.

    Parameters
    ----------
    name : str
        As in :func:`model_names`.

    Returns
    -------
    ModelSpec

    Raises
    ------
    ScenarioError
        If the catalogue has no such name.

    Examples
    --------
    >>> model("gpt2").hidden_size
    768
    """
    entry = _entries().get(name)
    if entry is None:
        # A hub's names carry their owner ('Qwen/Qwen2.5-0.5B'), ours do not.
        raise ScenarioError(
            f"model '{name}' is not in the catalogue; allowed: {', '.join(model_names())}, "
            "or a folder / path of a config.json."
            f"{nearest(name.rpartition('/')[2], model_names())}"
        )
    shape = {key: value for key, value in entry.items() if key != "source"}
    return ModelSpec(name=name, **shape)


@cache
def _entries() -> dict[str, dict[str, Any]]:
    table = files("fedsim.spec").joinpath("data", "models.toml")
    return tomllib.loads(table.read_text(encoding="utf-8"))
