"""Numbers that no answer may hold: not finite, negative where nothing is, or out of order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isfinite
from typing import Any, Final

__all__ = ["impossible_numbers"]

#: Ends of the names of what is counted or measured, and never below zero.
_UNITS: Final = ("_bytes", "_s", "_j", "_flop", "_w", "_per_s", "_tokens", "_samples")
_NEVER_NEGATIVE: Final = ("messages", "num_", "share", "probability", "peak_", "total")
#: Signed on purpose, and named so.
_SIGNED: Final = ("change", "difference", "saved", "delta", "log", "slope", "intercept")
_ORDERED: Final = (("low", "mean", "high"), ("p05", "p50", "p95"), ("low", "high"))
#: The last bits of sums that are added up in another order.
_ROUNDING: Final = 1e-9


def impossible_numbers(value: Any, place: str = "", sign: str = "any") -> Iterator[str]:
    """A line for each number of an answer that cannot be.

    Parameters
    ----------
    value
        JSON.
    place : str
        Where it stands.
    sign : {"any", "positive", "signed"}
        What a name above says: nothing here is negative, or anything may be.
    """
    if isinstance(value, dict):
        yield from _disorder(value, place)
        for name, inner in value.items():
            # What was written in the file comes back as it was.
            if name != "plan":
                yield from impossible_numbers(inner, f"{place}.{name}", _sign(str(name), sign))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from impossible_numbers(inner, f"{place}[{number}]", sign)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if not isfinite(value):
            yield f"{place} = {value}"
        elif sign == "positive" and value < 0:
            yield f"{place} = {value}: negative"


def _sign(name: str, above: str) -> str:
    if above == "signed" or any(word in name for word in _SIGNED):
        return "signed"
    is_positive = name.endswith(_UNITS) or name.startswith(_NEVER_NEGATIVE)
    return "positive" if is_positive else above


def _disorder(table: dict[str, Any], place: str) -> Iterator[str]:
    for names in _ORDERED:
        found = [table.get(name) for name in names]
        if not all(isinstance(v, (int, float)) and isfinite(v) for v in found):
            continue
        numbers = [float(v) for v in found if v is not None]
        for one, other in pairwise(numbers):
            if one > other + _ROUNDING * max(abs(one), abs(other)):
                yield f"{place}: {' <= '.join(names)} is not so of {numbers}"
                break
