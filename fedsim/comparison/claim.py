"""The article's claims, held against the results at hand.

Each claim of its Table I and Section V is tested on every pair of results that it speaks about, and
break-even points are solved from the results' own numbers.

References
----------
N. Yan, Y. Su, Y. Deng, R. Schober, "Federated Fine-Tuning of LLMs: Framework Comparison and
Research Directions", IEEE Communications Magazine 63(10):52-58, 2025, Table I and Section V.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from fedsim.comparison.result import Result, framework_label

__all__ = [
    "COMPUTES_LEAST",
    "COMPUTES_MOST",
    "FLAT_IN_RANK",
    "PROPORTIONAL_TO_RANK",
    "SENDS_LEAST",
    "SENDS_MOST",
    "Claim",
    "break_even_ranks",
    "claims",
    "flat",
    "proportional",
]

#: The claims in our words: one wording for a scenario and for a study of real runs.
SENDS_LEAST: Final = "KD-FedLLM sends least"
SENDS_MOST: Final = "Split-FedLLM sends most"
COMPUTES_MOST: Final = "KD-FedLLM's clients compute most"
COMPUTES_LEAST: Final = "Split-FedLLM's clients compute least"
PROPORTIONAL_TO_RANK: Final = "FedLLM's communication is proportional to the rank"
FLAT_IN_RANK: Final = "FedLLM's computation is nearly flat in the rank"
#: And one threshold: what grows by less over a whole sweep is called flat, and proportional within
#: as much.
_FLAT: Final = 0.05


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim and its fate.

    Attributes
    ----------
    text : str
        The claim, in our words.
    holds : bool or None
        None where it holds for some pairs of results and fails for others.
    evidence : str
    """

    text: str
    holds: bool | None
    evidence: str

    def table(self) -> dict[str, Any]:
        """As in the JSON."""
        return {"claim": self.text, "holds": self.holds, "evidence": self.evidence}


def proportional(
    low: float, high: float, low_cost: float, high_cost: float
) -> tuple[bool | None, str]:
    """Whether a cost is proportional to a quantity; None: on a line that does not begin at zero.

    Parameters
    ----------
    low, high : float
        Smallest and largest value of the quantity.
    low_cost, high_cost : float
        The cost at these.

    Returns
    -------
    tuple of bool or None and str
        The fate and the evidence.
    """
    grown, expected = high_cost / low_cost, high / low
    fixed = low_cost - (high_cost - low_cost) / (high - low) * low
    evidence = (
        f"from {low:,} to {high:,} (x {expected:.3g}): x {grown:.3g}; what does not depend on it "
        f"is {fixed / low_cost:.0%} at {low:,} and {fixed / high_cost:.0%} at {high:,}"
    )
    if abs(grown / expected - 1) <= _FLAT:
        return True, evidence
    if grown - 1 > _FLAT:
        return None, f"grows on a line, not through 0: {evidence}"
    return False, evidence


def flat(low: float, high: float, low_cost: float, high_cost: float) -> tuple[bool, str]:
    """Whether a cost is nearly the same at both ends of a sweep, and the evidence."""
    grown = high_cost / low_cost - 1
    return abs(grown) <= _FLAT, f"from {low:,} to {high:,}: {grown:+.1%}"


def claims(results: Sequence[Result]) -> list[Claim]:
    """The claims that these results can speak about: none of them is about hidden ones."""
    by_framework = {
        name: [r for r in results if r.framework == name and not r.privacy]
        for name in ("fedllm", "kd_fedllm", "split_fedllm")
    }
    found: list[Claim] = []
    fedllm, kd, split = by_framework.values()
    found.extend(_order(SENDS_LEAST, kd, [*fedllm, *split], _bytes, is_less=True))
    found.extend(_order(SENDS_MOST, split, [*fedllm, *kd], _bytes, is_less=False))
    found.extend(_order(COMPUTES_MOST, kd, [*fedllm, *split], _flop, is_less=False))
    found.extend(_order(COMPUTES_LEAST, split, [*fedllm, *kd], _flop, is_less=True))
    found.extend(_rank_claims(fedllm))
    return found


def break_even_ranks(results: Sequence[Result]) -> list[tuple[Result, Fraction]]:
    """For each KD-FedLLM result, the rank at which FedLLM sends as many bytes.

    Notes
    -----
    FedLLM's payload is ``slope * r + head``: the adapters' values are proportional to the rank and
    what else is sent is not, so the rank is ``(logits - head) / slope``. Below 0 or 1 there is
    no such rank and FedLLM always sends more.
    """
    plain = [r for r in results if not r.privacy]
    fedllm = [
        r
        for r in plain
        if r.framework == "fedllm" and r.plan["lora"] is not None and len(r.classes) == 1
    ]
    if not fedllm:
        return []
    plan = fedllm[0].plan
    payload = Fraction(fedllm[0].exchanged_bytes)
    values = plan["num_trainable"] if plan["lora"]["shares_head"] else plan["num_adapter_values"]
    slope = payload * Fraction(plan["num_adapter_values"], values) / plan["lora"]["r"]
    head = payload - slope * plan["lora"]["r"]
    return [
        (result, (Fraction(result.exchanged_bytes) - head) / slope)
        for result in plain
        if result.framework == "kd_fedllm"
    ]


def _bytes(result: Result) -> float:
    return result.exchanged_bytes


def _flop(result: Result) -> float:
    return result.client_flop


def _order(
    text: str,
    own: list[Result],
    others: list[Result],
    cost: Callable[[Result], float],
    *,
    is_less: bool,
) -> Iterator[Claim]:
    if not own or not others:
        return
    own, others = sorted(own, key=cost), sorted(others, key=cost)
    costs = [cost(other) for other in others]
    num_pairs = len(own) * len(others)
    # Counted by bisection: two sweeps of thousands have millions of pairs.
    if is_less:
        num_wrong = sum(bisect_right(costs, cost(mine)) for mine in own)
        tightest, widest = (own[-1], others[0]), (own[0], others[-1])
    else:
        num_wrong = sum(len(costs) - bisect_left(costs, cost(mine)) for mine in own)
        tightest, widest = (own[0], others[-1]), (own[-1], others[0])
    if not num_wrong:
        smallest, largest = _ratio(cost, *tightest), _ratio(cost, *widest)
        evidence = f"in all {num_pairs:,} pairs, by {_times(smallest)} to {_times(largest)}"
        yield Claim(text, True, f"by {_times(smallest)}" if num_pairs == 1 else evidence)
        return
    mine, other = tightest
    evidence = (
        f"not in {num_wrong:,} of {num_pairs:,} pairs; farthest off: {mine.name} against "
        f"{framework_label(other.framework)} {other.name}, {_times(_ratio(cost, mine, other))}"
    )
    yield Claim(text, False if num_wrong == num_pairs else None, evidence)


def _ratio(cost: Callable[[Result], float], first: Result, second: Result) -> float:
    low, high = sorted((cost(first), cost(second)))
    return high / max(low, 1)


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 100 else f"{ratio:.3g}x"


def _rank_claims(fedllm: list[Result]) -> Iterator[Claim]:
    """FedLLM's bytes and FLOP against the rank, all else equal."""
    ranked = sorted(
        (r for r in fedllm if r.plan["lora"] is not None), key=lambda r: r.plan["lora"]["r"]
    )
    if len({r.plan["lora"]["r"] for r in ranked}) < 2:
        return
    low, high = ranked[0], ranked[-1]
    if low.plan["workload"] != high.plan["workload"]:
        return
    ranks = low.plan["lora"]["r"], high.plan["lora"]["r"]
    fate, evidence = proportional(*ranks, low.exchanged_bytes, high.exchanged_bytes)
    yield Claim(PROPORTIONAL_TO_RANK, fate, evidence)
    yield Claim(FLAT_IN_RANK, *flat(*ranks, low.client_flop, high.client_flop))
