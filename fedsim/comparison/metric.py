"""What results are compared by: each with its number, its unit and how surely two differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Any, Final

from fedsim.comparison.interval import Interval, ratio_95
from fedsim.comparison.result import Result
from fedsim.comparison.wording import range_of, significant
from fedsim.units import BYTES, FLOP, JOULES, SECONDS, Dimension

__all__ = ["METRICS", "Metric", "metric_named"]


@dataclass(frozen=True, slots=True)
class Metric:
    """Something to be small.

    Attributes
    ----------
    key, title : str
    of_round : callable
        Result to its number for one successful round (or once), None where that is not known.
    dimension : Dimension or None
        None for money.
    quantity : str
        Its name in the common draws; empty where it is exact or has no draws.
    to_target : str
        Its name in ``to_target``; empty where a target does not change it.
    """

    key: str
    title: str
    of_round: Callable[[Result], float | None]
    dimension: Dimension | None
    quantity: str = ""
    to_target: str = ""

    def value(self, result: Result, *, to_target: bool = False) -> float | None:
        """The number to compare; None where it is not known, or the target is never reached."""
        if not to_target:
            return self.of_round(result)
        if self.key == "energy" and result.missing_energies:
            return None
        target = result.table.get("to_target") or {}
        # What was measured under other conditions says nothing of this scenario.
        entry = None if target.get("transferred") else target.get(self.to_target)
        return None if not entry else entry["mean"]

    def shown(self, result: Result, *, to_target: bool = False) -> str:
        """The number with its unit and, where it has one, its interval."""
        entry = self.entry(result, to_target=to_target)
        if self.dimension is None:
            currency = result.money.get("currency", "")
            return f"{significant(entry['mean'], 3)} {currency}".rstrip()
        return range_of(self.dimension, entry)

    def entry(self, result: Result, *, to_target: bool = False) -> dict[str, Any]:
        """``mean``, ``low`` and ``high``."""
        if to_target:
            return dict((result.table.get("to_target") or {})[self.to_target])
        mean = self.of_round(result)
        if self.key == "memory":
            margin = 1 + result.memory_margin
            return {"mean": mean, "low": mean and mean / margin, "high": mean and mean * margin}
        found = result.successful_round.get(_ROUND_KEYS.get(self.key, ""))
        return dict(found) if found else {"mean": mean, "low": mean, "high": mean}

    def ratio(self, more: Result, less: Result, *, to_target: bool = False) -> Interval:
        """How many times more one result takes than another, on common draws.

        Raises
        ------
        ValueError
            If either number is unknown.
        """
        above = self.value(more, to_target=to_target)
        below = self.value(less, to_target=to_target)
        if above is None or below is None:
            raise ValueError(f"{self.key}: nothing to compare")
        if not below > 0:
            return Interval(float("inf") if above > 0 else 1.0, 1.0, float("inf"))
        ratio = above / below
        found: Interval | None = None
        if self.quantity and more.draws and less.draws:
            found = ratio_95(more.draws, less.draws, self.quantity, ratio)
        if self.key == "memory":
            off = sqrt(log(1 + more.memory_margin) ** 2 + log(1 + less.memory_margin) ** 2)
            found = Interval(ratio, ratio / exp(off), ratio * exp(off))
        found = found or Interval(ratio, ratio, ratio)
        return _with_rounds(found, more, less) if to_target else found


#: Names in ``successful_round``.
_ROUND_KEYS: Final = {"time": "time_s", "energy": "energy_j", "money": "money"}


def _mean(name: str) -> Callable[[Result], float | None]:
    def of(result: Result) -> float | None:
        entry = result.successful_round.get(name)
        return None if entry is None else float(entry["mean"])

    return of


def _energy(result: Result) -> float | None:
    # A sum that lacks a part is no number to win by.
    return None if result.missing_energies else _mean("energy_j")(result)


METRICS: Final = (
    Metric(
        "bytes",
        "bytes up and down, a client and round",
        lambda r: r.exchanged_bytes,
        BYTES,
        to_target="payload_bytes",
    ),
    Metric("flop", "client FLOP, a round", lambda r: r.client_flop, FLOP),
    Metric("memory", "client memory, peak", lambda r: r.peak_memory_bytes, BYTES),
    Metric("time", "time of a round", _mean("time_s"), SECONDS, "round_s", "time_s"),
    Metric("setup", "set-up bytes, a client, once", lambda r: r.setup_bytes, BYTES),
    Metric("energy", "energy of a round, all clients", _energy, JOULES, "energy_j", "energy_j"),
    Metric("money", "cost of a round", _mean("money"), None, "money", "money"),
)


def metric_named(key: str) -> Metric:
    """The metric of a key: ``bytes``, ``flop``, ``memory``, ``time``, ``setup``, ..."""
    return next(metric for metric in METRICS if metric.key == key)


def _with_rounds(ratio: Interval, more: Result, less: Result) -> Interval:
    """Wider by how surely the numbers of rounds to the target are known, each on its own."""
    down, up = log(ratio.middle / ratio.low) ** 2, log(ratio.high / ratio.middle) ** 2
    for result, is_above in ((more, True), (less, False)):
        rounds = result.table["to_target"]["rounds"]
        mean, low, high = rounds["mean"], rounds["low"], rounds["high"]
        fewer = log(mean / low) if low else float("inf")
        further = log(high / mean) if high else float("inf")
        down += (fewer if is_above else further) ** 2
        up += (further if is_above else fewer) ** 2
    return Interval(ratio.middle, ratio.middle * exp(-sqrt(down)), _times(ratio.middle, sqrt(up)))


def _times(value: float, exponent: float) -> float:
    return float("inf") if exponent == float("inf") else value * exp(exponent)
