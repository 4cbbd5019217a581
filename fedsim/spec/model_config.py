"""A model's shape from its Hugging Face ``config.json``, read without transformers.

Decides which keys a supported family needs and what transformers takes where one is left out. It
refuses to guess a size: transformers itself fills a missing ``hidden_size`` with that of some
published model, which would make a wrong answer out of a spelling mistake.

What does not change a shape is not looked at: positions' rotation, dropout, a sliding window (whose
masked products are computed like any other). What does, and is not counted, is refused by name:
:mod:`fedsim.spec.config_keys`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fedsim.errors import ScenarioError
from fedsim.spec.config_keys import refused_keys
from fedsim.spec.family import FAMILIES, FamilyName
from fedsim.spec.model import ModelSpec
from fedsim.spec.model_catalogue import model, model_names, nearest_model
from fedsim.text_file import read_text

__all__ = ["read_model_config", "resolve_model"]

#: Width of a head where ``head_dim`` is left out; elsewhere it is ``hidden_size / heads``.
_DEFAULT_HEAD_SIZE: Final = {"qwen3": 128, "gemma": 256}
_DEFAULT_ACTIVATION: Final = {"gpt2": "gelu_new", "gemma": "gelu_pytorch_tanh"}
_TIED_BY_DEFAULT: Final = frozenset({"gpt2", "gemma"})
#: The other families' classes have no such switch and build without biases whatever the file says.
_WITH_ATTENTION_BIAS: Final = frozenset({"llama", "qwen3", "gemma"})
_WITH_MLP_BIAS: Final = frozenset({"llama"})


def resolve_model(name_or_path: str, base_dir: Path | None = None) -> ModelSpec:
    """A model by its catalogue name, or by the path of its ``config.json``.

    Parameters
    ----------
    name_or_path : str
        A name of the catalogue comes first; ``./gpt2`` means a folder of that name.
    base_dir : Path, optional
        Where a relative path starts, such as the scenario file's folder; the current folder by
        default.

    Returns
    -------
    ModelSpec

    Raises
    ------
    ScenarioError
        If it is neither a name nor an existing path, or the file is no usable configuration.
    """
    if name_or_path in model_names():
        return model(name_or_path)
    path = (base_dir or Path()) / name_or_path
    if _exists(path):
        return read_model_config(path)
    if "/" in name_or_path or "\\" in name_or_path or name_or_path.endswith(".json"):
        raise ScenarioError(
            f"model '{name_or_path}': there is no file or folder {path}; give a config.json, a "
            f"folder that holds one, or a name of the catalogue: {', '.join(model_names())}."
            f"{nearest_model(name_or_path)}"
        )
    return model(name_or_path)


def read_model_config(path: Path) -> ModelSpec:
    """Shape of the model that a Hugging Face ``config.json`` describes.

    Of a model of several parts, the one under ``text_config``, and its name says so.

    Parameters
    ----------
    path : Path
        The file, or a folder that holds a ``config.json``.

    Returns
    -------
    ModelSpec
        Named after the folder, or after the file if it is not called ``config.json``.

    Raises
    ------
    ScenarioError
        With all mistakes of the file, one a line, if it is missing, is not a JSON object, has a
        ``model_type`` that is not supported, lacks a size or holds one that is none, or has parts
        that are not counted.

    References
    ----------
    Keys and defaults: ``configuration_*.py`` of the families in transformers 5.23 (read 2026-11).
    """
    file = path / "config.json" if path.is_dir() else path
    table = _table(file)
    is_nested = table.get("text_config") is not None
    reader = _nested_reader(table) if is_nested else _Reader(table)
    shape = {} if reader.mistakes else _shape(reader)
    if reader.mistakes:
        raise ScenarioError("\n".join(f"{file}: {mistake}" for mistake in reader.mistakes))
    name = file.resolve().parent.name if file.name == "config.json" else file.stem
    return ModelSpec(name=f"{name} (text_config)" if is_nested else name, **shape)


@dataclass
class _Reader:
    """Typed look-ups that note every mistake; a value that is wrong reads as 0."""

    table: Mapping[str, object]
    mistakes: list[str] = field(default_factory=list)

    def has(self, *keys: str) -> bool:
        return any(self.table.get(key) is not None for key in keys)

    def count(self, *keys: str) -> int:
        """Whole number from 1, under the first of some synonymous keys."""
        key = next((key for key in keys if key in self.table), None)
        if key is None:
            model_type = self.table["model_type"]
            self.mistakes.append(
                f"key '{keys[0]}' is missing; a model of type '{model_type}' needs it."
            )
            return 0
        value = self.table[key]
        # Python's booleans are integers; JSON's are not.
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
        self.mistakes.append(f"{key} = {_shown(value)}; allowed: a whole number, 1 or more.")
        return 0

    def count_or(self, default: int, *keys: str) -> int:
        """As `count`, where a missing key and null are allowed to mean ``default``."""
        return self.count(*keys) if self.has(*keys) else default

    def flag(self, key: str, default: bool) -> bool:
        value = self.table.get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.mistakes.append(f"{key} = {_shown(value)}; allowed: true or false.")
        return default

    def text(self, default: str, *keys: str) -> str:
        key = next((key for key in keys if self.table.get(key) is not None), None)
        value = default if key is None else self.table[key]
        if isinstance(value, str) and value:
            return value
        self.mistakes.append(f'{key} = {_shown(value)}; allowed: a name such as "{default}".')
        return default


def _shape(reader: _Reader) -> dict[str, Any]:
    family = _family(reader)
    if family is None:
        return {}
    shape = _gpt2_shape(reader) if family == "gpt2" else _llama_like_shape(reader, family)
    reader.mistakes.extend(refused_keys(reader.table, family))
    is_tied = reader.flag("tie_word_embeddings", family in _TIED_BY_DEFAULT)
    return {"family": family, "is_tied": is_tied, **shape}


def _nested_reader(table: Mapping[str, object]) -> _Reader:
    """Look-ups in the language model of a model of several parts."""
    inner = table["text_config"]
    if not isinstance(inner, Mapping):
        return _Reader(
            table, [f"text_config = {_shown(inner)}; allowed: an object with a 'model_type'."]
        )
    key = "tie_word_embeddings"
    outer, own = table.get(key), inner.get(key)
    if outer is None or own == outer:
        reader = _Reader(inner)
    elif own is None:
        reader = _Reader({**inner, key: outer})
    else:
        text = f"{key} = {_shown(outer)}, and {_shown(own)} in text_config; make them one."
        reader = _Reader(inner, [text])
    quantized = {name: value for name, value in table.items() if "quanti" in name}
    reader.mistakes.extend(refused_keys(quantized, "llama"))
    return reader


def _family(reader: _Reader) -> FamilyName | None:
    """The supported ``model_type``, without which no other key means anything."""
    supported = f"supported: {', '.join(FAMILIES)}."
    family = reader.table.get("model_type")
    if family is None:
        reader.mistakes.append(f"key 'model_type' is missing; {supported}")
        return None
    known = next((each.name for each in FAMILIES.values() if each.name == family), None)
    if known is None:
        reader.mistakes.append(
            f"model_type = {_shown(family)} is not supported; {supported}{_family_hint(family)}"
        )
    return known


def _family_hint(family: object) -> str:
    """The family that is only spelled otherwise, or what to do; never one that is built otherwise.

    'mixtral' is one letter from 'mistral', and another model.
    """
    letters = re.sub("[^a-z0-9]", "", str(family).casefold())
    if letters in FAMILIES:
        return f" Did you mean {letters!r}?"
    return (
        " Another model_type would price another model: take a supported model of about this size."
    )


def _gpt2_shape(reader: _Reader) -> dict[str, Any]:
    # The second spelling of each is transformers' own alias.
    hidden = reader.count("n_embd", "hidden_size")
    heads = reader.count("n_head", "num_attention_heads")
    if reader.flag("add_cross_attention", False):
        reader.mistakes.append(
            "add_cross_attention = true: decoders of an encoder are not supported."
        )
    return {
        "num_layers": reader.count("n_layer", "num_hidden_layers"),
        "hidden_size": hidden,
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_size": _head_size(reader, hidden, heads),
        "intermediate_size": reader.count_or(4 * hidden, "n_inner"),
        "vocab_size": reader.count("vocab_size"),
        "max_positions": reader.count("n_positions", "max_position_embeddings"),
        "activation": reader.text(_DEFAULT_ACTIVATION["gpt2"], "activation_function"),
    }


def _llama_like_shape(reader: _Reader, family: str) -> dict[str, Any]:
    hidden = reader.count("hidden_size")
    heads = reader.count("num_attention_heads")
    kv_heads = _num_kv_heads(reader, family, heads)
    return {
        "num_layers": reader.count("num_hidden_layers"),
        "hidden_size": hidden,
        "num_heads": heads,
        "num_kv_heads": kv_heads,
        "head_size": _llama_like_head_size(reader, family, hidden, heads),
        "intermediate_size": reader.count("intermediate_size"),
        "vocab_size": reader.count("vocab_size"),
        "max_positions": reader.count("max_position_embeddings"),
        "activation": _llama_like_activation(reader, family),
        "has_attention_bias": family in _WITH_ATTENTION_BIAS
        and reader.flag("attention_bias", False),
        "has_mlp_bias": family in _WITH_MLP_BIAS and reader.flag("mlp_bias", False),
    }


def _num_kv_heads(reader: _Reader, family: str, heads: int) -> int:
    key = "num_key_value_heads"
    # The first Llama had no such key. The later families' classes fill it with a number of their
    # own, so there a missing key is an unknown size; null means one per query head.
    is_optional = family == "llama" or (family != "gemma" and key in reader.table)
    kv_heads = reader.count_or(heads, key) if is_optional else reader.count(key)
    if kv_heads and heads % kv_heads:
        reader.mistakes.append(
            f"num_attention_heads = {heads} cannot share {key} = {kv_heads}; the second must "
            "divide the first."
        )
    return kv_heads


def _llama_like_head_size(reader: _Reader, family: str, hidden: int, heads: int) -> int:
    if reader.has("head_dim"):
        return reader.count("head_dim")
    if family in _DEFAULT_HEAD_SIZE:
        return _DEFAULT_HEAD_SIZE[family]
    return _head_size(reader, hidden, heads)


def _head_size(reader: _Reader, hidden: int, heads: int) -> int:
    if heads and hidden % heads:
        reader.mistakes.append(
            f"the width {hidden} cannot be shared by {heads} heads; the second must divide the "
            "first."
        )
    return hidden // heads if heads else 0


def _llama_like_activation(reader: _Reader, family: str) -> str:
    default = _DEFAULT_ACTIVATION.get(family, "silu")
    activation = reader.text(default, "hidden_activation", "hidden_act")
    # The first Gemma files say 'gelu' and mean the approximation; transformers corrects them too.
    return default if family == "gemma" and activation == "gelu" else activation


def _table(file: Path) -> Mapping[str, object]:
    """The file's JSON object."""
    try:
        content = json.loads(
            read_text(
                file,
                missing=f"{file}: no such file; give a model's config.json or a folder that holds "
                "one.",
            )
        )
    except json.JSONDecodeError as error:
        raise ScenarioError(
            f"{file}: line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"{file}: not a readable JSON text: {error}.") from error
    if not isinstance(content, dict):
        raise ScenarioError(
            f"{file}: a JSON object is needed ({{...}} with a 'model_type'), found "
            f"{_shown(content)}."
        )
    return content


def _shown(value: object) -> str:
    """A value as the file's author wrote it, cut short."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # A name too long for the file system is no path; the catalogue will refuse it by name.
        return False
