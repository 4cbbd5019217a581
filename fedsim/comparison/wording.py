"""Figures for readers: as many digits as their interval supports, both ends in one unit."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, inf, log, log10
from typing import Any

from fedsim.units import Dimension

__all__ = ["factor", "figure", "listed", "percent", "range_of", "significant"]

_MAX_NAMES = 4


def significant(value: float, digits: int) -> str:
    """A number with so many significant digits and no exponent."""
    if value == 0 or value in (inf, -inf):
        return f"{value:g}"
    place = digits - 1 - floor(log10(abs(value)))
    rounded = round(value, place)
    # 9.96 becomes 10.0 with three digits, which is one digit too many.
    if rounded != 0 and floor(log10(abs(rounded))) > floor(log10(abs(value))):
        place -= 1
    return f"{rounded:,.{max(0, place)}f}"


def digits_of(low: float | None, high: float | None) -> int:
    """Digits that an interval leaves meaning: two where it is wide, four where it is a point."""
    if high is None or low is None or low <= 0 or high == inf:
        return 2
    half_width = 0.5 * log(high / low)
    if half_width > 0.1:
        return 2
    return 3 if half_width > 0.002 else 4


def figure(dimension: Dimension, value: float, low: float | None, high: float | None) -> str:
    """A value with its unit, in the digits that its interval supports: ``62 s``."""
    unit = dimension.format(value).split()[1]
    return f"{_in_unit(dimension, value, unit, digits_of(low, high))} {unit}"


def range_of(dimension: Dimension, entry: Mapping[str, Any]) -> str:
    """A value and its interval in one unit: ``62 s (21..210)``; a point is written alone.

    Parameters
    ----------
    dimension : Dimension
    entry : mapping
        ``mean``, ``low`` and ``high``; null for an end that nothing bounds.
    """
    mean, low, high = entry["mean"], entry["low"], entry["high"]
    unit = dimension.format(mean).split()[1]
    digits = digits_of(low, high)
    value = _in_unit(dimension, mean, unit, digits)
    if digits == 4 or low is None:
        return f"{value} {unit}"
    last = "?" if high is None else _in_unit(dimension, high, unit, digits)
    return f"{value} {unit} ({_in_unit(dimension, low, unit, digits)}..{last})"


def factor(ratio: float, low: float | None = None, high: float | None = None) -> str:
    """How many times: ``1.50x``, or ``1.50x (1.47..1.55)`` where it is not exact."""
    if low is None or low == high == ratio:
        return f"{significant(ratio, 3)}x"
    digits = 3 if high is not None and high < inf and log(high / max(low, 1e-300)) < 0.2 else 2
    last = "?" if high is None or high == inf else significant(high, digits)
    return f"{significant(ratio, digits)}x ({significant(low, digits)}..{last})"


def percent(share: float) -> str:
    """A share as per cent, with no more digits than anyone needs."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def listed(names: list[str], most: int = _MAX_NAMES) -> str:
    """Names in a row, the rest counted."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _in_unit(dimension: Dimension, value: float, unit: str, digits: int) -> str:
    return significant(value / float(dimension.factors[unit]), digits)
