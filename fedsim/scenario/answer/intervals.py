"""Where an answer gets its intervals: from the draws that all results of a scenario share."""

from __future__ import annotations

from math import isinf
from typing import Any

from fedsim.comparison.interval import Interval, interval_95

__all__ = ["with_intervals"]


def with_intervals(
    tables: dict[str, Any],
    num_rounds: int,
    num_succeeded: int,
    draws: dict[str, Any],
    spent_s: float | None,
) -> dict[str, Any]:
    """The tables with the intervals that the common draws give, and a successful round's cost.

    Parameters
    ----------
    tables : dict
        Times, energy and money of a result.
    num_rounds, num_succeeded : int
        Rounds in all, and those to which somebody contributed.
    draws : dict
        ``common_draws`` of the result.
    spent_s : float or None
        All simulated rounds without the set-up; None where nothing was simulated [s].
    """
    time, makespan = tables["round_time_s"], tables["makespan_s"]
    num, spread = num_succeeded, makespan["mean"] if spent_s is None else spent_s
    successful: dict[str, Any] | None = None
    if num:
        money = tables["money"]
        successful = {
            "num_rounds": num,
            "time_s": _interval(draws, "round_s", float(spread) / num, num_rounds),
            "energy_j": _interval(draws, "energy_j", _per(tables["energy"]["rounds_j"], num), num),
            "money": _interval(draws, "money", _per(money and money["rounds"], num), num),
        }
    for entry in (time, makespan):
        entry.update(_scaled(successful and successful["time_s"], entry["mean"]))
    energy = tables["energy"]
    if energy["total_j"] is not None:
        ends = _scaled(successful and successful["energy_j"], energy["total_j"])
        energy["interval_95_j"] = list(ends.values())
    holds = [*draws["ends"], *(["draws"] if len(draws["seeds"]) > 1 else [])]
    return {
        **tables,
        "successful_round": successful,
        "interval": {"level": 0.95, "holds": holds, "num_seeds": len(draws["seeds"])},
        "common_draws": draws,
    }


def _per(total: float | None, num: int) -> float | None:
    return None if total is None else total / num


def _interval(
    draws: dict[str, Any], quantity: str, mean: float | None, num_rounds: int
) -> dict[str, float | None] | None:
    """A quantity of one round with its interval; None where it is not known."""
    if mean is None:
        return None
    found = interval_95(draws, quantity, mean, num_rounds) or Interval(mean, mean, mean)
    return {
        "mean": mean,
        "middle": found.middle,
        # The run itself is one of the draws, and may be an unusual one.
        "low": min(mean, found.low),
        "high": None if isinf(found.high) else max(mean, found.high),
    }


def _scaled(interval: dict[str, float | None] | None, mean: float) -> dict[str, float | None]:
    """The interval of something else that is so much larger throughout."""
    if interval is None:
        # Where no round succeeded, nothing says what another draw would give.
        return {"low": None, "high": None}
    if not interval["mean"]:
        return {"low": mean, "high": mean}
    low, high = interval["low"], interval["high"]
    factor = mean / interval["mean"]
    assert low is not None
    # An exact figure stays what it is, to the last bit.
    return {
        "low": mean if low == interval["mean"] else low * factor,
        "high": high if high is None else mean if high == interval["mean"] else high * factor,
    }
