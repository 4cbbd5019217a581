"""``availability``: when clients are there; which keys belong to which law, and how they become it.

Where a trace's file is and what it holds is for :mod:`fedsim.scenario.file.client_files` to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator

from fedsim.errors import ScenarioError
from fedsim.scenario.file.key import Table, key
from fedsim.spec.availability import AlwaysOn, Availability, Diurnal, OnOff, Trace
from fedsim.spec.quantity import Seconds

__all__ = ["AvailabilityTable", "availability"]

_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "always": (),
    "on_off": ("mean_on", "mean_off"),
    "diurnal": ("start", "duration"),
    "trace": ("file", "period"),
}
_CLOCK: Final = re.compile(r"(?P<hours>\d{1,2}):(?P<minutes>\d{2})")
_OPTIONAL: Final[dict[str, tuple[str, ...]]] = {
    "diurnal": ("spread", "daily_spread", "probability")
}


def _time_of_day(value: object) -> object:
    """``22:30`` as ``1350 min``; anything else as it is."""
    match = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or int(match["hours"]) > 23 or int(match["minutes"]) > 59:
        return value
    return f"{60 * int(match['hours']) + int(match['minutes'])} min"


class AvailabilityTable(Table):
    """When clients are there."""

    kind: Literal["always", "on_off", "diurnal", "trace"] = key(
        "cost",
        "time",
        "learning",
        default="always",
        description="Always; on and off at random; once a day; a file",
    )
    mean_on: Seconds | None = key(
        "cost",
        "time",
        "learning",
        when="clients are away at times",
        default=None,
        description="Mean stay (on_off)",
    )
    mean_off: Seconds | None = key(
        "cost",
        "time",
        "learning",
        when="clients are away at times",
        default=None,
        description="Mean absence (on_off)",
    )
    start: Annotated[Seconds | None, BeforeValidator(_time_of_day)] = key(
        "cost",
        "time",
        "learning",
        when="clients are away at times",
        default=None,
        description="Time of day: '22:30' or '22.5 h' (diurnal)",
    )
    duration: Seconds | None = key(
        "cost",
        "time",
        "learning",
        when="clients are away at times",
        default=None,
        description="Of the stay (diurnal)",
    )
    spread: Seconds | None = key(
        "cost",
        "time",
        "learning",
        when="clients are away at times",
        default=None,
        description="Of the usual start over clients (diurnal)",
    )
    daily_spread: Seconds | None = key(
        "cost",
        "time",
        "learning",
        when="clients are away at times",
        default=None,
        description="Of the start over a client's days (diurnal)",
    )
    probability: float | None = key(
        "cost",
        "time",
        "learning",
        when="clients are away at times",
        default=None,
        gt=0,
        le=1,
        description="That it comes on a given day (diurnal)",
    )
    file: str | None = key(
        "cost",
        "time",
        "learning",
        when="clients are away at times",
        default=None,
        min_length=1,
        description="CSV: client, start_s, end_s (trace)",
    )
    period: Seconds | None = key(
        "cost",
        "time",
        "learning",
        when="clients are away at times",
        default=None,
        gt=0,
        description="After which the file starts over (trace)",
    )


def availability(
    table: AvailabilityTable, read_trace: Callable[[str, float], Trace]
) -> Availability:
    """The law of a table.

    Parameters
    ----------
    table : AvailabilityTable
    read_trace : callable
        File and period to the trace.

    Raises
    ------
    ScenarioError
        If a key is missing, or one of another kind is there.
    """
    needed, optional = _KEYS[table.kind], _OPTIONAL.get(table.kind, ())
    missing = [name for name in needed if getattr(table, name) is None]
    if missing:
        raise ScenarioError(f"kind = '{table.kind}' needs {' and '.join(missing)}.")
    foreign = sorted(table.model_fields_set - {"kind", *needed, *optional})
    foreign = [name for name in foreign if getattr(table, name) is not None]
    if foreign:
        allowed = ", ".join((*needed, *optional)) or "nothing else"
        raise ScenarioError(
            f"{', '.join(foreign)}: no meaning with kind = '{table.kind}', which takes {allowed}."
        )
    match table.kind:
        case "always":
            return AlwaysOn()
        case "on_off":
            return OnOff(table.mean_on or 0.0, table.mean_off or 0.0)
        case "diurnal":
            return Diurnal(
                start_s=table.start or 0.0,
                duration_s=table.duration or 0.0,
                spread_s=table.spread or 0.0,
                daily_spread_s=table.daily_spread or 0.0,
                probability=1.0 if table.probability is None else table.probability,
            )
        case "trace":
            return read_trace(table.file or "", table.period or 0.0)
