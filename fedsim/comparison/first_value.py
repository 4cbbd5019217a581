"""The first value of a swept key from which on a round waits, or takes longer than another case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedsim.comparison.answer import Answer
from fedsim.comparison.interval import Interval
from fedsim.comparison.metric import metric_named
from fedsim.comparison.reason import reason
from fedsim.comparison.result import Result
from fedsim.comparison.verdict import label
from fedsim.comparison.wording import factor, listed, percent

__all__ = ["first_value"]

#: What a condition looks at, as it is written, and its interval where it has one.
_Measured = tuple[float, str, Interval | None]


def first_value(goal: Mapping[str, Any], results: Sequence[Result]) -> Answer:
    """The answer to ``goal.first``, case by case.

    Parameters
    ----------
    goal : mapping
        The keys of ``[goal]``.
    results : sequence of Result
    """
    axis = goal["first"]
    sentences: list[str] = []
    values: list[dict[str, Any]] = []
    decided = True
    for case in dict.fromkeys(r.case for r in results if axis in r.axes and r.case != goal["than"]):
        own = sorted((r for r in results if r.case == case and axis in r.axes),
                     key=lambda r: _order(r.axes[axis]))  # fmt: skip
        points = [(r, _measure(goal, r, results)) for r in own]
        sentences.append(_from_where(goal, axis, own[0], points, results))
        decided = decided and all(m is None or _is_sure(goal, m) for _, m in points)
        values.extend(
            {"name": r.name, "value": r.axes[axis], "measure": None if m is None else m[0]}
            for r, m in points
        )
    return Answer("first", tuple(sentences), decided, tuple(values))


def _order(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, (int, float)) else (1, str(value))


def _is_sure(goal: Mapping[str, Any], measure: _Measured) -> bool:
    """Whether the whole interval is on one side of what was asked; a share waiting has none."""
    threshold, interval = goal["slower"], measure[2]
    return interval is not None and not interval.low < threshold <= interval.high


def _measure(
    goal: Mapping[str, Any], result: Result, results: Sequence[Result]
) -> _Measured | None:
    """What the condition looks at, how it is written, its interval; None where nothing runs."""
    if not result.is_comparable:
        return None
    if goal["than"] is None:
        time = result.round_time
        share = time["wait"] / time["mean"] if time["mean"] > 0 else 0.0
        return share, f"{percent(share)} waiting", None
    axis = goal["first"]
    other = next(
        (r for r in results if r.case == goal["than"] and r.axes.get(axis) == result.axes[axis]),
        None,
    )
    if other is None or not other.is_comparable:
        return None
    ratio = metric_named("time").ratio(result, other)
    return ratio.middle, factor(ratio.middle, ratio.low, ratio.high), ratio


def _from_where(
    goal: Mapping[str, Any],
    axis: str,
    one: Result,
    points: list[tuple[Result, _Measured | None]],
    results: Sequence[Result],
) -> str:
    threshold = goal["slower"] if goal["than"] is not None else goal["waiting"]
    known = [(r, m) for r, m in points if m is not None]
    unfit = [_written(r.axes[axis]) for r, m in points if m is None]
    who = label(one, results, without=(axis,))
    name = axis.rpartition(".")[2]
    tail = f" ({name} = {listed(unfit)} cannot run)" if unfit else ""
    index = len(known)
    while index > 0 and known[index - 1][1][0] >= threshold:
        index -= 1
    what = f"waits for {percent(threshold)} of a round"
    if goal["than"] is not None:
        what = f"takes {threshold:g}x as long as {goal['than']}"
    if not known:
        return f"{who}: nothing of it can run."
    if index == len(known):
        last, measure = known[-1]
        at = f"{_written(last.axes[axis])} ({measure[1]})"
        return f"{who} {what} at no value up to {name} = {at}{tail}."
    result, measure = known[index]
    at = f"{_written(result.axes[axis])} ({measure[1]})"
    why = f" There {why}." if (why := reason(result, "time")) else ""
    if index == 0:
        return f"{who} {what} from the first value on, {name} = {at}{tail}.{why}"
    before, lower = known[index - 1]
    between = f"{name} = {_written(before.axes[axis])} ({lower[1]}) and {at}"
    return f"{who} {what} from somewhere between {between} on{tail}.{why}"


def _written(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
