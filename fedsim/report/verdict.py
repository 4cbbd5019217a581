"""Which framework wins on which metric, by how much, and why.

A framework is judged by its cheapest result, and then by all: a winner at every setting is told
from one that wins at its best setting only. Where intervals overlap nobody wins, but for results of
one framework on the same devices: what nobody knows about those is off for both alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fedsim.report.answer import Result, framework_label
from fedsim.report.driver import driver
from fedsim.units import format_bytes, format_flop, format_joules, format_seconds

__all__ = ["METRICS", "Metric", "Verdict", "verdicts"]


@dataclass(frozen=True, slots=True)
class Metric:
    """Something to be small.

    Attributes
    ----------
    key, title : str
    cost : callable
        Result to number.
    shown : callable
        Number to text with its unit.
    is_known : callable
        Whether a result has the number, and all of it.
    """

    key: str
    title: str
    cost: Callable[[Result], float]
    shown: Callable[[float], str]
    is_known: Callable[[Result], bool] = lambda result: bool(result.table)


METRICS: Final = (
    Metric(
        "bytes", "bytes up and down, a client and round", lambda r: r.exchanged_bytes, format_bytes
    ),
    Metric("flop", "client FLOP, a round", lambda r: r.client_flop, format_flop),
    Metric("memory", "client memory, peak", lambda r: r.peak_memory_bytes, format_bytes),
    Metric("time", "time of a round", lambda r: r.round_time["mean"], format_seconds),
    Metric("setup", "set-up bytes, a client, once", lambda r: r.setup_bytes, format_bytes),
    Metric(
        "energy",
        "energy, all clients and rounds",
        lambda r: r.energy_j["total_j"],
        format_joules,
        lambda r: "total_j" in r.energy_j and not r.missing_energies,
    ),
    Metric(
        "money",
        "cost of all rounds",
        lambda r: r.money["total"],
        lambda amount: f"{amount:,.2f}",
        lambda r: r.money.get("total") is not None,
    ),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome for one metric.

    Attributes
    ----------
    metric : Metric
    winner : Result or None
        None where nobody wins.
    headline : str
        Who wins, by how much.
    details : tuple of str
        Reasons and reservations.
    is_same : bool
        Whether all results cost the same, to the last unit.
    """

    metric: Metric
    winner: Result | None
    headline: str
    details: tuple[str, ...]
    is_same: bool = False


def verdicts(results: Sequence[Result]) -> list[Verdict]:
    """One verdict a metric, over the results that can run."""
    feasible = [result for result in results if result.is_feasible]
    if not feasible:
        return []
    known = [metric for metric in METRICS if all(metric.is_known(r) for r in feasible)]
    return [_verdict(metric, feasible) for metric in known]


def _verdict(metric: Metric, results: list[Result]) -> Verdict:
    best: dict[str, Result] = {}
    for result in results:
        held = best.get(result.framework)
        if held is None or metric.cost(result) < metric.cost(held):
            best[result.framework] = result
    ranked = sorted(best.values(), key=metric.cost)
    first = ranked[0]
    value = metric.shown(metric.cost(first))
    if len(ranked) == 1:
        return _only_one_framework(metric, results, first, value)
    tied = [first, *(r for r in ranked[1:] if _is_tie(metric, first, r))]
    if len(tied) > 1:
        return _tie(metric, tied, ranked)
    headline = (
        f"{framework_label(first.framework)}: {value} ({first.name}), {_ratios(metric, ranked)}"
    )
    details = [
        _sentence(first, metric, ""),
        *(_sentence(r, metric, framework_label(r.framework)) for r in ranked[1:2]),
        _equal_work(metric, results, ranked),
        _reach(metric, results, first.framework),
    ]
    return Verdict(metric, first, headline, tuple(d for d in details if d))


def _only_one_framework(
    metric: Metric, results: list[Result], first: Result, value: str
) -> Verdict:
    dearest = max(results, key=metric.cost)
    low, high = metric.cost(first), metric.cost(dearest)
    if len(results) == 1:
        return Verdict(metric, first, f"{first.name}: {value}", (_sentence(first, metric, ""),))
    if low == high:
        why = (_sentence(first, metric, ""),)
        return Verdict(metric, None, f"all results: {value}", why, is_same=True)
    if metric.key == "time" and _is_tie(metric, first, dearest):
        text = f"no clear winner: the 95 % intervals of all results overlap ({first.name}: {value})"
        return Verdict(metric, None, text, (_sentence(first, metric, ""),))
    headline = f"{first.name}: {value}, {_factor(high, low)} less than {dearest.name}"
    details = [_sentence(first, metric, "")]
    if metric.key == "time":
        details.extend(_about_time(first, dearest, results))
    return Verdict(metric, first, headline, tuple(d for d in details if d))


def _about_time(first: Result, dearest: Result, results: list[Result]) -> Iterator[str]:
    """What a reader should know about one framework's times ahead of believing their order."""
    if _overlap(first, dearest):
        ratios = [dearest.round_time[end] / first.round_time[end] for end in ("low", "high")]
        yield (
            "the 95 % intervals overlap, but the devices are the same: at one end of the interval "
            f"it is {_factor(min(ratios), 1)} less, at the other {_factor(max(ratios), 1)}"
        )
    if any(result.swept for result in results):
        yield _at_equal_values(results)
        return
    if len(results) > 2:
        second = sorted(results, key=lambda result: result.round_time["mean"])[1]
        yield f"{second.name} comes next: {format_seconds(second.round_time['mean'])}"
    used = [result.mean_of_rounds("used") for result in (first, dearest)]
    if all(result.rounds for result in (first, dearest)) and used[0] != used[1]:
        yield (
            f"its rounds are of {used[0]:,.4g} contributions in the mean, those of {dearest.name} "
            f"of {used[1]:,.4g}"
        )


def _at_equal_values(results: list[Result]) -> str:
    """Where cases that sweep the same values differ most; empty if none do."""
    groups: dict[tuple[tuple[str, str], ...], list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(result.swept.items()), []).append(result)
    pairs = []
    for values, group in groups.items():
        ranked = sorted(group, key=lambda result: result.round_time["mean"])
        low, high = ranked[0].round_time["mean"], ranked[-1].round_time["mean"]
        if high > low > 0:
            pairs.append((high / low, values, ranked[0], ranked[-1]))
    if not pairs:
        return ""
    ratio, values, first, last = max(pairs, key=lambda pair: pair[0])
    where = ", ".join(f"{key} = {value}" for key, value in values)
    times = " against ".join(format_seconds(r.round_time["mean"]) for r in (first, last))
    return (
        f"at equal values the cases differ most with {where}: {first.case} takes "
        f"{_factor(ratio, 1)} less than {last.case} ({times})"
    )


def _tie(metric: Metric, tied: list[Result], ranked: list[Result]) -> Verdict:
    values = ", ".join(
        f"{framework_label(r.framework)} {metric.shown(metric.cost(r))} ({r.name})" for r in tied
    )
    if metric.key == "time":
        why = "the least is a lower bound" if tied[0].is_lower_bound else "95 % intervals overlap"
        headline = f"no clear winner, {why}: {values}"
    else:
        headline = f"a tie: {values}"
    others = [r for r in ranked if r not in tied]
    details = [
        _sentence(r, metric, framework_label(r.framework))
        for r in (tied if not others else tied[:1])
    ]
    details.extend(
        f"{framework_label(r.framework)} needs {_factor(metric.cost(r), metric.cost(tied[0]))} more"
        for r in others
    )
    return Verdict(metric, None, headline, tuple(d for d in details if d))


def _is_tie(metric: Metric, first: Result, other: Result) -> bool:
    if metric.key != "time":
        return metric.cost(other) == metric.cost(first)
    # A lower bound may be beaten by anybody who is slower than it.
    if first.is_lower_bound:
        return True
    return _overlap(first, other) and not _is_less_at_both_ends(first, other)


def _overlap(first: Result, other: Result) -> bool:
    return bool(other.round_time["low"] <= first.round_time["high"])


def _is_less_at_both_ends(first: Result, other: Result) -> bool:
    """Whether one framework on the same devices takes less, however fast those are in truth."""
    if first.framework != other.framework or _devices(first) != _devices(other):
        return False
    return all(first.round_time[end] < other.round_time[end] for end in ("low", "mean", "high"))


def _devices(result: Result) -> dict[str, Any]:
    """Devices of clients and server by their names, with what is known about them."""
    devices = [table["plan"]["device"] for table in result.classes]
    return {device["name"]: device for device in (*devices, result.table["server"]["device"])}


def _ratios(metric: Metric, ranked: list[Result]) -> str:
    low = metric.cost(ranked[0])
    return ", ".join(
        f"{_factor(metric.cost(other), low)} less than {framework_label(other.framework)} "
        f"({other.name}: {metric.shown(metric.cost(other))})"
        for other in ranked[1:]
    )


def _factor(high: float, low: float) -> str:
    if low <= 0:
        return "infinitely"
    ratio = high / low
    return f"{ratio:,.0f}x" if ratio >= 100 else f"{ratio:.3g}x"


def _sentence(result: Result, metric: Metric, subject: str) -> str:
    text = driver(result, metric.key)
    if not text:
        return ""
    return f"{subject}: {text}" if subject else f"because {text}"


def _reach(metric: Metric, results: list[Result], winner: str) -> str:
    """Whether the winning framework wins at every setting, or only at its best."""
    own = [metric.cost(r) for r in results if r.framework == winner]
    others = [r for r in results if r.framework != winner]
    if len(own) == 1 or max(own) < min(metric.cost(r) for r in others):
        return ""
    worst = max((r for r in results if r.framework == winner), key=metric.cost)
    cheaper = [r for r in others if metric.cost(r) < metric.cost(worst)]
    return (
        f"not at every setting: {worst.name} ({metric.shown(metric.cost(worst))}) loses to "
        f"{len(cheaper)} of the others' {len(others)} results"
    )


def _equal_work(metric: Metric, results: list[Result], ranked: list[Result]) -> str:
    """The comparison at one number of private samples, where the best results differ in it."""
    if metric.key in ("memory", "setup") or len({_samples(r) for r in ranked}) == 1:
        return ""
    frameworks = {r.framework for r in results}
    common = set.intersection(
        *({_samples(r) for r in results if r.framework == f} for f in frameworks)
    )
    if not common:
        return "the results train on different numbers of samples a round"
    samples = max(common)
    best = {
        f: min((r for r in results if r.framework == f and _samples(r) == samples), key=metric.cost)
        for f in frameworks
    }
    first, second = sorted(best.values(), key=metric.cost)[:2]
    found = f"with equal work ({samples:,} private samples a round)"
    if _is_tie(metric, first, second):
        both = _both(metric, first, second)
        return f"{found} there is no clear winner, for the 95 % intervals overlap: {both}"
    ratio = _factor(metric.cost(second), metric.cost(first))
    winner = framework_label(first.framework)
    return f"{found} {winner} wins by {ratio}: {_both(metric, first, second)}"


def _both(metric: Metric, first: Result, second: Result) -> str:
    return " against ".join(f"{metric.shown(metric.cost(r))} ({r.name})" for r in (first, second))


def _samples(result: Result) -> int:
    return int(result.plan["workload"]["samples_per_client"])
