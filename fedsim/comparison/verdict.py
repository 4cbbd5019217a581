"""Which case is least on which metric, by how much, how surely, and why.

Only what trains on equally much private data with an equal fleet is compared; of several settings
of one case the least stands for it. Two numbers are compared by their ratio, draw by draw. Where a
target accuracy is given and known, what it takes to reach it decides, and what never reaches it
cannot win.

The thresholds of this module are the only ones: below :data:`LEAST_RATIO` two numbers are about
equal, and a winner wins where the whole 95 % interval of the ratio is on its side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from fedsim.comparison.interval import Interval
from fedsim.comparison.metric import METRICS, Metric
from fedsim.comparison.reason import reason
from fedsim.comparison.result import Result, framework_label
from fedsim.comparison.wording import factor, listed, percent

__all__ = ["LEAST_RATIO", "Rank", "Verdict", "groups", "label", "verdicts"]

#: Less than this is no difference that anybody should decide by.
LEAST_RATIO: Final = 1.02
#: Keys that are equal for all that is compared.
_SIZES: Final = ("fleet.num_clients", "workload.samples_per_client", "workload.local_epochs")


@dataclass(frozen=True, slots=True)
class Rank:
    """One case in a verdict.

    Attributes
    ----------
    result : Result
        The setting of the case that takes least.
    value : float
    ratio : Interval
        To the first of the ranking.
    """

    result: Result
    value: float
    ratio: Interval


@dataclass(frozen=True)
class Verdict:
    """Outcome for one metric, among results of equal work.

    Attributes
    ----------
    metric : Metric
    ranking : tuple of Rank
        The least first.
    is_decided : bool
        Whether the first wins for sure against the second.
    text : str
        One line: who takes least, and how many times more the others.
    reasons : tuple of str
        Why, and reservations.
    at : mapping
        What is equal, where the results are of several sizes: ``clients``, ``samples``.
    target : float or None
        The accuracy to reach, where that decides.
    out : tuple of str
        Names of what cannot win: it never reaches the target, or its numbers are not known.
    """

    metric: Metric
    ranking: tuple[Rank, ...]
    is_decided: bool
    text: str
    reasons: tuple[str, ...]
    at: dict[str, Any] = field(default_factory=dict)
    target: float | None = None
    out: tuple[str, ...] = ()

    @property
    def winner(self) -> Result | None:
        """Who wins for sure; None where nobody does."""
        return self.ranking[0].result if self.is_decided else None

    @property
    def is_same(self) -> bool:
        """Whether all take the same, to the last unit."""
        return len({rank.value for rank in self.ranking}) == 1 and len(self.ranking) > 1

    @property
    def title(self) -> str:
        """What was compared."""
        if self.target is None:
            return self.metric.title
        return f"{self.metric.key} to {percent(self.target)} accuracy"

    def table(self) -> dict[str, Any]:
        """As in the JSON."""
        return {
            "metric": self.metric.key,
            "title": self.title,
            "at": self.at,
            "target": self.target,
            "winner": None if self.winner is None else self.winner.name,
            "ranking": [
                {
                    "name": rank.result.name,
                    "framework": rank.result.framework,
                    "value": rank.value,
                    "ratio": _finite(rank.ratio.middle),
                    "ratio_low": rank.ratio.low,
                    "ratio_high": _finite(rank.ratio.high),
                }
                for rank in self.ranking
            ],
            "out": list(self.out),
            "text": self.text,
            "reasons": list(self.reasons),
        }


def verdicts(results: Sequence[Result]) -> list[Verdict]:
    """For each metric one verdict a group of equal work, the group with most cases first."""
    found = []
    by_group = groups([result for result in results if result.is_comparable])
    # A group of one case compares nothing, unless there is no other.
    by_group = [g for g in by_group if len({r.case for r in g[1]}) > 1] or by_group[:1]
    is_one = len(by_group) == 1 and len(groups(results)) == 1
    for metric in METRICS:
        for at, group in by_group:
            verdict = _verdict(metric, group, {} if is_one else at)
            if verdict is not None:
                found.append(verdict)
    return found


def groups(results: Sequence[Result]) -> list[tuple[dict[str, Any], list[Result]]]:
    """Results by what they train: as many clients, samples and passes of one model.

    The group with most cases comes first; among equals the one of most clients and data.
    """
    found: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        found.setdefault(_work(result), []).append(result)
    ordered = sorted(
        found.items(), key=lambda item: (-len({r.case for r in item[1]}), _reversed(item[0]))
    )
    return [
        ({"num_clients": work[0], "samples_per_client": work[1]}, group) for work, group in ordered
    ]


def _work(result: Result) -> tuple[Any, ...]:
    plan = result.plan
    workload, model = plan["workload"], plan["model"]
    left_out = sum(each["num_clients"] for each in result.excluded)
    return (
        result.num_clients + left_out,
        result.samples_per_client,
        workload["local_epochs"],
        workload["max_tokens"],
        workload["dataset"],
        model["name"],
        model["head"],
        model["num_classes"],
    )


def _reversed(work: tuple[Any, ...]) -> tuple[float, ...]:
    return tuple(-value if isinstance(value, (int, float)) else 0.0 for value in work[:4])


def label(result: Result, group: Sequence[Result], without: tuple[str, ...] = ()) -> str:
    """What to call a result: by its framework, or by its case where several are of one.

    Parameters
    ----------
    result : Result
    group : sequence of Result
        What it is told apart from.
    without : tuple of str
        Swept keys to leave out beside the sizes, which are equal in a comparison.
    """
    cases = Counter(framework for _, framework in {(r.case, r.framework) for r in group})
    is_alone = cases[result.framework] <= 1
    name = framework_label(result.framework) if is_alone else result.case
    return f"{name} {result.values_without((*_SIZES, *without))}".strip()


def _verdict(metric: Metric, group: list[Result], at: dict[str, Any]) -> Verdict | None:
    target = _target(metric, group)
    reaches = target is not None
    known = [r for r in group if metric.value(r, to_target=reaches) is not None]
    if not known or (not reaches and len(known) < len(group)):
        return None
    best: dict[str, Result] = {}
    for result in known:
        held = best.get(result.case)
        if held is None or _value(metric, result, reaches) < _value(metric, held, reaches):
            best[result.case] = result
    ranking = _ranking(metric, list(best.values()), reaches)
    first = ranking[0].result
    out = tuple(r.name for r in group if r not in known)
    is_decided = len(ranking) > 1 and all(_is_more(rank, first) for rank in ranking[1:])
    return Verdict(
        metric=metric,
        ranking=ranking,
        is_decided=is_decided,
        text=_text(metric, ranking, group, reaches=reaches),
        reasons=tuple(_reasons(metric, ranking, group, out, target)),
        at=at,
        target=target,
        out=out,
    )


def _ranking(metric: Metric, best: list[Result], reaches: bool) -> tuple[Rank, ...]:
    """The least first, by ratios: the runs at hand are one draw, and ratios are of all draws."""
    least = min(best, key=lambda r: _value(metric, r, reaches))
    first = min(best, key=lambda r: metric.ratio(r, least, to_target=reaches).middle)
    ranks = [
        Rank(r, _value(metric, r, reaches), metric.ratio(r, first, to_target=reaches)) for r in best
    ]
    return tuple(sorted(ranks, key=lambda rank: (rank.result is not first, rank.ratio.middle)))


def _target(metric: Metric, group: list[Result]) -> float | None:
    """The accuracy that decides: given for all, and known of at least one."""
    if not metric.to_target:
        return None
    for result in group:
        if metric.value(result, to_target=True) is not None:
            return float(result.table["to_target"]["target"])
    return None


def _value(metric: Metric, result: Result, to_target: bool) -> float:
    value = metric.value(result, to_target=to_target)
    assert value is not None
    return value


def _is_more(rank: Rank, first: Result) -> bool:
    """Whether one takes more than the first for sure, and enough more to matter."""
    # What is only bounded from below may take any time.
    if first.is_lower_bound and rank.ratio.low != rank.ratio.high:
        return False
    return rank.ratio.low > 1 and rank.ratio.middle >= LEAST_RATIO


def _text(metric: Metric, ranking: tuple[Rank, ...], group: list[Result], *, reaches: bool) -> str:
    first = ranking[0]
    bound = "at least " if metric.quantity and first.result.is_lower_bound else ""
    own = f"{label(first.result, group)}: {bound}{metric.shown(first.result, to_target=reaches)}"
    others = [_other(rank, group) for rank in ranking[1:]]
    return "; ".join([own, *others])


def _other(rank: Rank, group: list[Result]) -> str:
    ratio, name = rank.ratio, label(rank.result, group)
    if ratio.middle == 1 and ratio.low == ratio.high:
        return f"{name}: the same"
    words = factor(ratio.middle, ratio.low, ratio.high)
    is_about_equal = ratio.low == ratio.high and ratio.middle < LEAST_RATIO
    return f"{name}: {words}{', about equal' if is_about_equal else ''}"


def _reasons(
    metric: Metric,
    ranking: tuple[Rank, ...],
    group: list[Result],
    out: tuple[str, ...],
    target: float | None,
) -> Iterator[str]:
    first = ranking[0].result
    if why := reason(first, metric.key):
        yield f"{label(first, group)}: {why}"
    if len(ranking) > 1 and (why := reason(ranking[1].result, metric.key)):
        yield f"{label(ranking[1].result, group)}: {why}"
    undecided = [rank for rank in ranking[1:] if not _is_more(rank, first)]
    if undecided and not all(rank.ratio.middle == 1 for rank in undecided):
        names = listed([label(rank.result, group) for rank in undecided])
        if metric.quantity and first.is_lower_bound:
            yield f"not decided against {names}: the least is a lower bound"
        elif all(rank.ratio.middle < LEAST_RATIO for rank in undecided):
            yield f"about equal to {names}: less than {100 * (LEAST_RATIO - 1):.0f} % apart"
        else:
            yield f"not decided against {names}: the 95 % interval of the ratio holds 1"
    if out and target is not None:
        yield f"cannot win, for nothing says that it reaches {percent(target)}: {listed(list(out))}"
    yield from _caveats(metric, ranking, group)


def _caveats(metric: Metric, ranking: tuple[Rank, ...], group: list[Result]) -> Iterator[str]:
    """What is unequal all the same: rounds that fail, clients left out, contributions."""
    for rank in ranking:
        result = rank.result
        failed = result.rounds.get("num_failed", 0)
        if failed:
            share = percent(failed / result.table["num_rounds"])
            whose = label(result, group)
            yield f"{whose}: {share} of its rounds fail; compared by a successful one"
        if result.excluded:
            left_out = sum(each["num_clients"] for each in result.excluded)
            share = percent(left_out / (left_out + result.num_clients))
            yield f"{label(result, group)}: without {share} of the clients, who cannot take part"
    used = [rank.result.mean_of_rounds("used") for rank in ranking if rank.result.rounds]
    if not metric.quantity:
        return
    if len(used) > 1 and max(used) > LEAST_RATIO * min(used) > 0:
        each = ", ".join(
            f"{label(rank.result, group)} {rank.result.mean_of_rounds('used'):,.4g}"
            for rank in ranking
            if rank.result.rounds
        )
        yield f"contributions to a round in the mean: {each}"


def _finite(value: float) -> float | None:
    return None if value == inf else value
