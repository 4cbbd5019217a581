"""Public models by name: their shapes, read from a table that ships with fedsim.

Decides which names there are. Weights, and where they may be loaded from, are the runtime's
business.
"""

from __future__ import annotations

import re
import tomllib
from difflib import SequenceMatcher
from functools import cache
from importlib.resources import files
from typing import Any, Final

from fedsim.errors import ScenarioError, nearest
from fedsim.spec.model import ModelSpec

__all__ = ["model", "model_names", "nearest_model"]

#: Names near to the catalogue's that stand for models built or stored otherwise.
_OTHERWISE_BUILT: Final = re.compile(
    r"mixtral|ministral|moe|-a\d+(\.\d+)?b|mamba|bitnet|vision|(^|[^a-z])(vl|omni|audio|asr|next)"
    r"|gemma[-_]?[2-9](n|[-_]|$)|llama[-_]?[4-9]($|[^0-9b.])|mistral[-_]?[2-9]($|[^0-9b.])"
    r"|qwen[-_]?[4-9]|qwen3[-_.]5|mllama|t5gemma|vaultgemma|gpt[-_]?([013-9]|j|neo|oss|big)"
    r"|[48][-_]?bit|int[48]|nf4|fp[48]|gptq|awq|gguf"
)


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
        raise ScenarioError(
            f"model '{name}' is not in the catalogue; allowed: {', '.join(model_names())}, "
            "or a folder / path of a config.json."
            f"{nearest_model(name)}"
        )
    shape = {key: value for key, value in entry.items() if key != "source"}
    return ModelSpec(name=name, **shape)


def nearest_model(name: str) -> str:
    """Suggest the model that a mistyped name means, and none that is built otherwise.

    Returns
    -------
    str
        As :func:`fedsim.errors.nearest`.

    Examples
    --------
    >>> nearest_model("Qwen/Qwen2.5-0.5B")
    " Did you mean 'qwen2.5-0.5b'?"
    >>> nearest_model("mixtral-7b-v0.1")
    ''
    """
    # A hub's names carry their owner, ours do not.
    word = name.rpartition("/")[2].casefold()
    if _OTHERWISE_BUILT.search(word):
        return ""
    return nearest(word, [name for name in model_names() if _is_alike(_stem(word), _stem(name))])


def _stem(name: str) -> str:
    """The family's part of a name, ahead of sizes and versions."""
    match = re.match("[a-z]*", name)
    return match.group() if match is not None else ""


def _is_alike(stem: str, known: str) -> bool:
    """Whether one is the other mistyped: 'biogpt' is not, and has 'gpt' in it."""
    is_swapped = sorted(stem) == sorted(known)
    return is_swapped or SequenceMatcher(None, stem, known).ratio() >= 0.8


@cache
def _entries() -> dict[str, dict[str, Any]]:
    table = files("fedsim.spec").joinpath("data", "models.toml")
    return tomllib.loads(table.read_text(encoding="utf-8"))
