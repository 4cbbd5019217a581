"""When a client can work: always, on and off at random, at night, or as a trace says."""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.errors import ScenarioError

__all__ = ["AlwaysOn", "Availability", "Diurnal", "OnOff", "Trace"]

_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class AlwaysOn:
    """A client that never leaves."""


@dataclass(frozen=True, slots=True)
class OnOff:
    """Two states with exponential stays, in their stationary mixture at the start.

    Attributes
    ----------
    mean_on_s, mean_off_s : float
        Mean stays [s].
    """

    mean_on_s: float
    mean_off_s: float

    def __post_init__(self) -> None:
        for name in ("mean_on_s", "mean_off_s"):
            if not 1e-3 <= getattr(self, name) < float("inf"):
                raise ScenarioError(
                    f"availability {name.removesuffix('_s')}: at least 1 ms is needed."
                )


@dataclass(frozen=True, slots=True)
class Diurnal:
    """Once a day, from a time of day that spreads over clients and days.

    Attributes
    ----------
    start_s : float
        Mean time of day at which it comes [s after midnight].
    duration_s : float
        How long it stays; less than a day [s].
    spread_s : float
        Standard deviation of a client's usual start over clients [s].
    daily_spread_s : float
        Standard deviation of the start over the days of one client [s].
    probability : float
        That it comes on a given day.
    """

    start_s: float
    duration_s: float
    spread_s: float = 0.0
    daily_spread_s: float = 0.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < _DAY_S:
            raise ScenarioError("availability start: a time of day is needed, 0 s to below 24 h.")
        if not 1e-3 <= self.duration_s < _DAY_S:
            raise ScenarioError("availability duration: allowed: 1 ms to below 24 h.")
        for name in ("spread_s", "daily_spread_s"):
            if not 0 <= getattr(self, name) <= _DAY_S / 4:
                raise ScenarioError(f"availability {name.removesuffix('_s')}: allowed: 0 s to 6 h.")
        if not 0 < self.probability <= 1:
            raise ScenarioError(
                f"availability probability = {self.probability}; allowed: above 0, up to 1."
            )


@dataclass(frozen=True, slots=True)
class Trace:
    """Intervals from a file, over and over again with a period.

    Attributes
    ----------
    rows : tuple of tuple of (float, float)
        Intervals [s] of each traced client, sorted, disjoint, within the period; a client goes by
        the row that it drew.
    period_s : float
        After which the trace starts over [s].
    """

    rows: tuple[tuple[tuple[float, float], ...], ...]
    period_s: float

    def __post_init__(self) -> None:
        if not self.rows:
            raise ScenarioError("an availability trace needs at least one client.")
        if not 1e-3 <= self.period_s < float("inf"):
            raise ScenarioError("an availability trace needs a period of at least 1 ms.")
        for number, row in enumerate(self.rows, start=1):
            last = 0.0
            for start, end in row:
                if not last <= start < end <= self.period_s:
                    raise ScenarioError(
                        f"availability trace, client {number}: interval {start:g} s to {end:g} s; "
                        "intervals must be sorted, apart from each other and within the period of "
                        f"{self.period_s:g} s."
                    )
                last = end


Availability = AlwaysOn | OnOff | Diurnal | Trace
