"""Tables that a program gives instead of a file: held to what a TOML file could say.

Decides which Python values stand for which of TOML's. What the keys mean is not known here.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from fedsim.errors import ScenarioError
from fedsim.scenario.file.mistake import Mistake, place, refusal, shown

__all__ = ["DICT_NAME", "plain_table", "plain_value"]

#: What messages and answers call a table that no file holds.
DICT_NAME: Final = "<dict>"
_SCALARS: Final = (str, bool, int, float, datetime.date, datetime.time)


def plain_table(table: Mapping[str, Any], name: str = DICT_NAME) -> dict[str, Any]:
    """A copy of a table in plain values, so that nothing of the caller's is changed.

    Tuples become lists, paths text, and numbers of numpy plain numbers.

    Parameters
    ----------
    table : mapping
        With the same tables as a file.
    name : str
        What messages call it.

    Raises
    ------
    ScenarioError
        With a line for each key and value that TOML does not have.
    """
    try:
        mistakes = list(_mistakes(table, ()))
        if mistakes:
            raise refusal(mistake.line(name) for mistake in mistakes)
        copy: dict[str, Any] = _plain(table)
    except RecursionError as error:
        raise ScenarioError(f"{name}: nested too deeply; no scenario needs that.") from error
    return copy


def plain_value(value: Any, name: str) -> Any:
    """One value as :func:`plain_table` has it; ``name`` is its key's."""
    return plain_table({name: value}, "set")[name]


def _mistakes(value: object, where: tuple[int | str, ...]) -> Iterator[Mistake]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(key, str):
                yield from _mistakes(inner, (*where, key))
            else:
                yield Mistake(place(where), "", f"the key {shown(key)} is no text")
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _mistakes(inner, (*where, number))
    elif value is None:
        yield Mistake(place(where), "None", "a file cannot say that; leave the key out")
    elif not isinstance(value, (*_SCALARS, Path, np.generic)):
        text = f"{type(value).__name__} is nothing that a file can hold; write text or a number"
        yield Mistake(place(where), shown(value), text)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value
