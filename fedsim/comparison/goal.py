"""The answer to what ``[goal]`` asks, in sentences: the first says what, the second why.

Everything in a sentence is in the results and verdicts already; here it is only put into words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fedsim.comparison.answer import Answer
from fedsim.comparison.first_value import first_value
from fedsim.comparison.metric import Metric, metric_named
from fedsim.comparison.reason import reason
from fedsim.comparison.result import Result
from fedsim.comparison.verdict import LEAST_RATIO, Rank, Verdict, label
from fedsim.comparison.wording import factor, listed, percent, range_of, significant
from fedsim.units import SECONDS, format_bytes, format_seconds

__all__ = ["answer"]

#: What a case does to be compared, and how the others compare.
_VERBS: Final[Mapping[str, tuple[str, str, str]]] = {
    "time": ("takes least time", "takes", "as long"),
    "bytes": ("sends and receives least", "sends and receives", "as much"),
    "energy": ("needs least energy", "needs", "as much"),
    "money": ("costs least", "costs", "as much"),
    "memory": ("needs least of a client's memory", "needs", "as much"),
    "flop": ("asks a client to compute least", "asks a client to compute", "as much"),
}
_ONCE: Final = ("memory", "setup")


def answer(
    goal: Mapping[str, Any],
    results: Sequence[Result],
    verdicts: Sequence[Verdict],
    worlds: Mapping[str, Result] | None = None,
) -> Answer:
    """Answer a goal.

    Parameters
    ----------
    goal : mapping
        The keys of ``[goal]``.
    results : sequence of Result
    verdicts : sequence of Verdict
    worlds : mapping, optional
        By a result's name, the same in the world that ``instead_of`` describes.
    """
    runs = [result for result in results if result.is_comparable]
    if not runs:
        return Answer(_kind(goal), (_nobody(results),), is_decided=True)
    if worlds is not None:
        return _change(goal, results, worlds)
    if goal["first"] is not None:
        return first_value(goal, results)
    if goal["within"] is not None:
        return _within(goal, results)
    return _least(goal, results, verdicts)


def _kind(goal: Mapping[str, Any]) -> str:
    asked = (name for name in ("instead_of", "first", "within") if goal[name] is not None)
    return next(asked, "least")


def _nobody(results: Sequence[Result]) -> str:
    result = results[0]
    others = f", and {len(results) - 1} more" if len(results) > 1 else ""
    verb = "can run" if not result.is_feasible else "succeeds"
    return f"Nothing {verb}: {result.name}{others}: {result.table['reason']}."


def _only(results: Sequence[Result]) -> str:
    """Who runs, where somebody cannot."""
    out = [result for result in results if not result.is_comparable]
    if not out:
        return ""
    runs = list(dict.fromkeys(r.case for r in results if r.is_comparable))
    unable = [r.case for r in out if r.case not in runs]
    if not unable:
        return ""
    return f"Only {listed(runs)} {'runs' if len(runs) == 1 else 'run'}. "


def _per(metric: Metric, goal: Mapping[str, Any], result: Result) -> tuple[float, str]:
    """How many rounds are meant, and how they are called."""
    if metric.key in _ONCE:
        return 1.0, ""
    num = result.table["num_rounds"]
    if goal["of"] == "all" and num > 1:
        return float(num), f" for {num:,} rounds"
    return 1.0, " a round"


def _shown(metric: Metric, goal: Mapping[str, Any], result: Result, verdict: Verdict) -> str:
    if verdict.target is not None:
        return metric.shown(result, to_target=True)
    times, words = _per(metric, goal, result)
    entry = {
        name: None if value is None else times * value
        for name, value in metric.entry(result).items()
        if name in ("mean", "low", "high")
    }
    if metric.dimension is None:
        currency = result.money.get("currency", "")
        return f"{significant(entry['mean'] or 0.0, 3)} {currency}".rstrip() + words
    once = ""
    if metric.key == "bytes" and goal["of"] == "all":
        once = f" and {format_bytes(result.setup_bytes)} once"
    return f"{range_of(metric.dimension, entry)}{words}{once}"


def _least(
    goal: Mapping[str, Any], results: Sequence[Result], verdicts: Sequence[Verdict]
) -> Answer:
    sentences: list[str] = []
    values: list[dict[str, Any]] = []
    decided = True
    budget = _for_budget(results)
    if budget is not None:
        # What a budget buys is what was asked; costs of a round stand beside it.
        sentences.append(budget[0])
        values.append(budget[1])
    size: dict[str, Any] = {}
    for number, key in enumerate(goal["least"]):
        verdict = next((v for v in verdicts if v.metric.key == key), None)
        if verdict is None:
            sentences.append(f"Nothing says which needs least {key}.")
            decided = False
            continue
        # What is the same for all sentences is said in the first of them.
        text = _ranked(goal, verdict, results, at=verdict.at if verdict.at != size else {})
        size = verdict.at
        sentences.append(f"{_only(results) if number == 0 else ''}{text}")
        if number == 0 and budget is not None:
            decided = budget[1]["winner"] is not None
        elif number == 0:
            decided = verdict.is_decided or len(verdict.ranking) == 1
            why = verdict.reasons[:1] if verdict.metric.key != "setup" else ()
            sentences.extend(f"{line}." for line in why)
        values.append(verdict.table())
    return Answer("least", tuple(sentences), decided, tuple(values))


def _for_budget(results: Sequence[Result]) -> tuple[str, dict[str, Any]] | None:
    """Who reaches most for the budget, where one is given and its accuracy is known."""
    known = [
        (result, entry)
        for result in results
        if result.is_comparable
        and (entry := result.table.get("under_budget"))
        and entry["mean"] is not None
        and entry["low"] is not None
    ]
    if not known:
        return None
    ranked = sorted(known, key=lambda pair: -pair[1]["mean"])
    (first, most), others = ranked[0], ranked[1:]
    decided = all(most["low"] > entry["high"] for _, entry in others)
    written = [
        f"{label(result, results)} {percent(entry['mean'])} "
        f"({percent(entry['low'])}..{percent(entry['high'])})"
        for result, entry in ranked
    ]
    limit = most["limited_by"].removeprefix("budget_")
    if decided or not others:
        text = f"For the {limit} budget {label(first, results)} learns most: {', '.join(written)}."
    else:
        text = f"Not decided what the {limit} budget buys most with: {', '.join(written)}."
    ranking = [{"name": result.name, **entry} for result, entry in ranked]
    winner = first.name if decided else None
    return text, {"metric": "accuracy_for_budget", "winner": winner, "ranking": ranking}


def _ranked(
    goal: Mapping[str, Any], verdict: Verdict, results: Sequence[Result], at: Mapping[str, Any]
) -> str:
    metric = verdict.metric
    first, others = verdict.ranking[0].result, verdict.ranking[1:]
    least, verb, as_much = _VERBS[metric.key]
    name, value = label(first, results), _shown(metric, goal, first, verdict)
    bound = "at least " if metric.quantity and first.is_lower_bound else ""
    target = "" if verdict.target is None else f" to {percent(verdict.target)} accuracy"
    where = f"With {_size(at)}: " if at else ""
    if not others:
        return f"{where}{name} {verb} {bound}{value}{target}."
    if verdict.is_same:
        return f"{where}All take the same: {value}."
    rest = f"{_other(others[0], results, f' {verb}')} {as_much}"
    rest = ", ".join([rest, *(_other(rank, results) for rank in others[1:])])
    if verdict.is_decided:
        return f"{where}{name} {least}{target}, {bound}{value}; {rest}."
    close = [rank for rank in others if rank.ratio.low <= 1 or rank.ratio.middle < LEAST_RATIO]
    tied = listed([name, *(label(rank.result, results) for rank in close)])
    fate = "Not decided between" if close else "Only a lower bound is known of"
    return f"{where}{fate} {tied}: {name} {verb} {bound}{value}{target}, {rest}."


def _other(rank: Rank, results: Sequence[Result], verb: str = "") -> str:
    ratio = rank.ratio
    return f"{label(rank.result, results)}{verb} {factor(ratio.middle, ratio.low, ratio.high)}"


def _size(at: Mapping[str, Any]) -> str:
    clients, samples = at["num_clients"], at["samples_per_client"]
    return f"{clients:,} clients of {samples:,.6g} samples"


def _within(goal: Mapping[str, Any], results: Sequence[Result]) -> Answer:
    limit_s = goal["within"]
    values: list[dict[str, Any]] = []
    words: dict[str, list[str]] = {"yes": [], "perhaps": [], "no": []}
    for result in results:
        # Sizes tell these apart: nothing is compared here.
        name = result.name
        if not result.is_comparable:
            words["no"].append(f"{name} (it {'fails' if result.is_feasible else 'does not fit'})")
            continue
        entry = _total(result)
        fate = "yes" if entry["high"] is not None and entry["high"] <= limit_s else "perhaps"
        if entry["low"] > limit_s or result.status == "partly":
            fate = "no"
        if result.is_lower_bound and fate == "yes":
            fate = "perhaps"
        words[fate].append(f"{name} ({range_of(SECONDS, entry)})")
        values.append({"name": result.name, "total_s": entry, "fits": fate})
    parts = [f"{fate} with {listed(names)}" for fate, names in words.items() if names]
    first = "; ".join(parts)
    rounds = f"{results[0].table['num_rounds']:,} rounds and the set-up"
    text = f"{first[:1].upper()}{first[1:]}: {rounds} against {format_seconds(limit_s)}."
    slowest = [r for r in results if r.is_comparable]
    why = reason(slowest[0], "time")
    reasons = (f"{label(slowest[0], results)}: {why}.",) if why else ()
    return Answer("within", (text, *reasons), not words["perhaps"], tuple(values))


def _total(result: Result) -> dict[str, Any]:
    """All rounds with the set-up, which is in the makespan where it was simulated."""
    makespan = result.table["makespan_s"]
    has_setup = bool(result.plan["policy"].get("simulates_setup")) and result.is_simulated
    setup_s = 0.0 if has_setup else result.table["setup"]["transfer_s"]
    return {
        name: None if makespan[name] is None else makespan[name] + setup_s
        for name in ("mean", "low", "high")
    }


def _change(
    goal: Mapping[str, Any], results: Sequence[Result], worlds: Mapping[str, Result]
) -> Answer:
    metric = metric_named(goal["least"][0])
    sentences: list[str] = []
    values: list[dict[str, Any]] = []
    decided = True
    changed = list(_changed(metric, results, worlds))
    for result, other, ratio in changed:
        verb, as_much = _VERBS[metric.key][1:]
        words = factor(ratio.middle, ratio.low, ratio.high)
        now, then = (metric.shown(r) for r in (result, other))
        name = label(result, results)
        if 1 / LEAST_RATIO < ratio.middle < LEAST_RATIO:
            sentences.append(f"{name} {verb} about as much as before: {now}.")
        else:
            sentences.append(f"{name} {verb} {words} {as_much}: {now} instead of {then}.")
        decided = decided and (ratio.low > 1 or ratio.high < 1 or ratio.low == ratio.high)
        values.append(
            {
                "name": result.name,
                "metric": metric.key,
                "ratio": ratio.middle,
                "ratio_low": ratio.low,
                "ratio_high": None if ratio.high == float("inf") else ratio.high,
                "instead_of": metric.value(other),
            }
        )
    if changed:
        result = changed[0][0]
        why = reason(result, metric.key)
        if why:
            sentences.insert(1, f"{label(result, results)}: {why}.")
    else:
        sentences.append("Nothing can be compared: none of the cases runs in both worlds.")
    return Answer("instead_of", tuple(sentences), decided, tuple(values))


def _changed(
    metric: Metric, results: Sequence[Result], worlds: Mapping[str, Result]
) -> Iterator[tuple[Result, Result, Any]]:
    for result in results:
        other = worlds.get(result.name)
        if other is None or not result.is_comparable or not other.is_comparable:
            continue
        if metric.value(result) is not None and metric.value(other) is not None:
            yield result, other, metric.ratio(result, other)
