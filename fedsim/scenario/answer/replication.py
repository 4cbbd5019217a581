"""A result again and again: with other seeds, and at both ends of what nobody knows exactly.

Decides how many replications a run is worth, and over how many rounds. All results of a scenario
use the same seeds and the same ends, so any two of them can be compared draw by draw (common random
numbers; Law, "Simulation Modeling and Analysis", 5th edition, section 11.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Any, Final

import numpy as np

from fedsim.analytic import AnalyticResult, evaluate, timed
from fedsim.draws import replication_seeds
from fedsim.fleet import Simulation, SimulationResult, prepare
from fedsim.ledger import SETUP_ROUND, LedgerRow
from fedsim.protocol.step import Each, Protocol, has_exclusive_steps
from fedsim.scenario.answer.economy import (
    Stretch,
    economy_tables,
    spent_in_closed_form,
    spent_in_simulation,
    stretches,
)
from fedsim.scenario.answer.engine_choice import Choice
from fedsim.scenario.answer.simulated import run_engine
from fedsim.scenario.answer.uncertainty import factor_ends
from fedsim.scenario.file.price_table import PriceTable
from fedsim.spec.availability import AlwaysOn
from fedsim.spec.federation import ClientClass, FederationSpec
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySpec

__all__ = ["MAX_REPEATED_WORK", "Case", "common_draws", "is_drawn", "undrawn"]

#: Seeds of a run that draws anything and is not too long to be run again.
_NUM_SEEDS: Final = 10
#: Seeds where draws decide how wide the interval is and the work allows: a deviation of ten draws
#: is often wrong by a half, one of thirty seldom.
_MANY_SEEDS: Final = 30
#: Different steps of all plans above which further seeds are not worth what planning them costs:
#: each seed plans anew where it draws how many samples clients have.
_MANY_STEPS: Final = 10_000
#: A run of more work than this, as a share of the largest run, is not replicated.
MAX_REPEATED_WORK: Final = 0.2
#: Work of all replications of a run together, as a share of the largest run: a few seconds.
_REPLICATION_WORK: Final = 0.01

_Sample = dict[str, float | None]
_QUANTITIES: Final = ("round_s", "energy_j", "money")


@dataclass(frozen=True, eq=False)
class Case:
    """What is run again.

    Attributes
    ----------
    federation : FederationSpec
    framework : callable
        Plan to protocol.
    policy : PolicySpec
    price : PriceTable
    seed : int
    answer : AnalyticResult
        Of the federation in closed form.
    choice : Choice
    federation_at : callable
        Seed to federation, where numbers of samples are drawn with it.
    """

    federation: FederationSpec
    framework: Callable[[ClientPlan], Protocol]
    policy: PolicySpec
    price: PriceTable
    seed: int
    answer: AnalyticResult
    choice: Choice
    federation_at: Callable[[int], FederationSpec]


def is_drawn(
    federation: FederationSpec, policy: PolicySpec, framework: Callable[[ClientPlan], Protocol]
) -> bool:
    """Whether another seed may give other times."""
    asks_some = policy.clients_per_round is not None or bool(policy.schedules)
    is_chosen = asks_some and (len(federation.classes) > 1 or bool(federation.schedules))
    in_turns = len(federation.classes) > 1 and has_exclusive_steps(
        framework(federation.server_plan).round
    )
    return is_chosen or in_turns or any(_is_drawn(c) for c in federation.classes)


def _is_drawn(client_class: ClientClass) -> bool:
    spread = client_class.spread
    laws = (spread.slowdown, spread.uplink, spread.downlink, spread.round_trip)
    return (
        any(law is not None for law in laws)
        or bool(spread.round_sigma or spread.dropout_probability)
        or client_class.availability != AlwaysOn()
        or client_class.client_samples is not None
    )


def common_draws(
    case: Case, found: SimulationResult | None, num_seeds: int | None = None
) -> dict[str, Any]:
    """What one successful round takes in other draws and at other ends.

    Parameters
    ----------
    case : Case
    found : SimulationResult or None
        The run itself, where it was simulated.
    num_seeds : int, optional
        Instead of the number that its work allows.

    Returns
    -------
    dict
        ``seeds``; ``num_rounds`` of each replication; ``round_variance``, the relative variance of
        a round within a run; ``round_s``, ``energy_j`` and ``money`` of a successful round by seed,
        None where no round succeeded or nothing is known; and ``ends``, the same at both ends of
        each factor with the first seed.
    """
    if found is None:
        own = _closed_form(case, case.federation)
        table = {"seeds": [case.seed], "num_rounds": case.federation.num_rounds}
        samples = [own]
        variance = 0.0
        ends = {
            name: [_closed_form(case, end) for end in moved]
            for name, moved in factor_ends(case.federation)
        }
    else:
        seeds, num_rounds = _extent(case, num_seeds)
        is_whole = num_rounds == case.federation.num_rounds
        runs = [
            found if is_whole and seed == case.seed else _simulated(case, seed, num_rounds)
            for seed in seeds
        ]
        samples = [_sample(case, case.federation, run) for run in runs]
        ends = {
            name: [_sample(case, end, _run(case, end, case.seed, num_rounds)) for end in moved]
            for name, moved in factor_ends(case.federation)
        }
        more = _more_seeds(case, samples, ends) if num_seeds is None and is_whole else ()
        runs += [_simulated(case, seed, num_rounds) for seed in more]
        samples += [_sample(case, case.federation, run) for run in runs[len(seeds) :]]
        table = {"seeds": [*seeds, *more], "num_rounds": num_rounds}
        starts = _starts(case)
        variance = float(np.mean([_relative_variance(run, starts) for run in runs]))
    return {
        **table,
        "round_variance": variance,
        **_columns(samples),
        "ends": {name: _columns(pair) for name, pair in ends.items()},
    }


def _columns(samples: list[_Sample]) -> dict[str, list[float | None]]:
    return {name: [sample[name] for sample in samples] for name in _QUANTITIES}


def _extent(case: Case, num_seeds: int | None) -> tuple[tuple[int, ...], int]:
    """Seeds, and rounds of each replication."""
    num_rounds = case.federation.num_rounds
    wanted = num_seeds or _NUM_SEEDS
    if not is_drawn(case.federation, case.policy, case.framework) or (
        num_seeds is None and case.choice.work > MAX_REPEATED_WORK
    ):
        wanted = 1
    seeds = replication_seeds(case.seed, wanted)
    if num_seeds is not None:
        return seeds, num_rounds
    num_runs = wanted - 1 + 2 * sum(1 for _ in factor_ends(case.federation))
    each = num_runs * case.choice.work / num_rounds
    affordable = num_rounds if each == 0 else int(_REPLICATION_WORK / each)
    return seeds, min(num_rounds, max(1, affordable))


def undrawn(seed: int) -> dict[str, Any]:
    """The draws of a run that was not run again: nothing is known of others."""
    return {
        "seeds": [seed],
        "num_rounds": 1,
        "round_variance": 0.0,
        **_columns([dict.fromkeys(_QUANTITIES)]),
        "ends": {},
    }


def _more_seeds(
    case: Case, samples: list[_Sample], ends: dict[str, list[_Sample]]
) -> tuple[int, ...]:
    """Further seeds, where the spread of the first ones is most of the interval.

    Whether and how many follows from what they gave and from the work alone, so that the same
    scenario gives the same answer everywhere.
    """
    if len(samples) == 1 or not _are_draws_most(samples, ends):
        return ()
    if _num_planned_steps(case) > _MANY_STEPS:
        return ()
    affordable = _MANY_SEEDS
    if case.choice.work > 0:
        affordable = int(_REPLICATION_WORK / case.choice.work) - 2 * len(ends)
    wanted = max(len(samples), min(_MANY_SEEDS, affordable))
    return replication_seeds(case.seed, wanted)[len(samples) :]


def _num_planned_steps(case: Case) -> int:
    """Steps of a round in the protocols of all different plans, equal neighbors counted once."""
    plans = {
        plan
        for client_class in case.federation.classes
        for plan in (client_class.plans.values() or (client_class.plan,))
    }
    return sum(
        len(segment.steps)
        for plan in plans
        for segment in case.framework(plan).round
        if isinstance(segment, Each)
    )


def _are_draws_most(samples: list[_Sample], ends: dict[str, list[_Sample]]) -> bool:
    """Whether twice the deviation of the draws moves a round further than all ends do."""
    logs = _logarithms(samples)
    if len(logs) < len(samples):
        # Some draws never come to an end: how many do is known by many alone.
        return True
    moved = [_logarithms(pair) for pair in ends.values()]
    squares = sum((0.5 * (pair[-1] - pair[0])) ** 2 for pair in moved if pair)
    return 4 * float(np.var(logs, ddof=1)) > squares


def _logarithms(samples: list[_Sample]) -> list[float]:
    """Of the time of a round, where one succeeded."""
    return [log(s["round_s"]) for s in samples if s["round_s"] is not None and s["round_s"] > 0]


def _simulated(case: Case, seed: int, num_rounds: int) -> SimulationResult:
    federation = case.federation if seed == case.seed else case.federation_at(seed)
    return _run(case, federation, seed, num_rounds)


def _run(case: Case, federation: FederationSpec, seed: int, num_rounds: int) -> SimulationResult:
    from dataclasses import replace

    shorter = replace(federation, num_rounds=num_rounds)
    simulation: Simulation = prepare(shorter, case.framework, case.policy, seed)
    return run_engine(case.choice, simulation)


def _sample(case: Case, federation: FederationSpec, run: SimulationResult) -> _Sample:
    """Time, energy and money of a successful round; the set-up is no part of it."""
    succeeded = int((run.rounds.num_used > 0).sum())
    if not succeeded:
        return dict.fromkeys(_QUANTITIES)
    total = run.ledger.total(
        (k, r) for k, r in run.ledger.rows.items() if k.round_index != SETUP_ROUND
    )
    tables = economy_tables(
        case.price, federation, spent_in_simulation(federation, run, total, setup=False)
    )
    spent_s = float(run.rounds.end_s[-1]) - run.setup_s
    return _each(spent_s, tables, succeeded)


def _closed_form(case: Case, federation: FederationSpec) -> _Sample:
    rounds, total = _stretches(case, federation), LedgerRow()
    for name in ("uplink_message_bytes", "downlink_message_bytes"):
        for stretch in rounds:
            num_bytes = sum(
                c.num_clients * getattr(row, name)
                for c, row in zip(federation.classes, stretch.rows, strict=True)
            )
            setattr(total, name, getattr(total, name) + stretch.num_rounds * num_bytes)
    spent = spent_in_closed_form(federation, rounds, total)
    tables = economy_tables(case.price, federation, spent)
    return _each(spent.makespan_s, tables, federation.num_rounds)


def _stretches(case: Case, federation: FederationSpec) -> list[Stretch]:
    if federation.schedules:
        # A schedule may look at the rates that were moved: who has which plan is asked again.
        return stretches(evaluate(federation, case.framework))
    ((num_rounds, found),) = timed(federation, case.framework)
    rows = [cost.round for cost in case.answer.classes]
    return [Stretch(num_rounds, found.classes, rows, found.round_time.mean_s, found.server_busy_s)]


def _each(spent_s: float, tables: dict[str, Any], num_rounds: int) -> _Sample:
    energy_j = tables["energy"]["total_j"]
    money = None if tables["money"] is None else tables["money"]["total"]
    return {
        "round_s": spent_s / num_rounds,
        "energy_j": None if energy_j is None else energy_j / num_rounds,
        "money": None if money is None else money / num_rounds,
    }


def _starts(case: Case) -> list[int]:
    """Rounds ahead of which the plans change; in other rounds draws alone make a difference."""
    return [part.period.first - 1 for part in case.answer.periods[1:]]


def _relative_variance(run: SimulationResult, starts: list[int]) -> float:
    """Of a round's time within stretches of equal plans."""
    round_s = np.diff(np.concatenate(([run.setup_s], run.rounds.end_s)))
    if len(round_s) < 2 or not round_s.mean() > 0:
        return 0.0
    if not starts:
        return float(round_s.var(ddof=1) / round_s.mean() ** 2)
    alike = np.split(round_s, [n for n in starts if n < len(round_s)])
    squares = sum(float(((part - part.mean()) ** 2).sum()) for part in alike)
    return squares / max(1, len(round_s) - len(alike)) / float(round_s.mean()) ** 2
