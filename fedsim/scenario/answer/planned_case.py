"""One result of a scenario with its engine: run, drawn again, and made a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from fedsim.analytic import AnalyticResult, evaluate, scheduled_needs
from fedsim.cost.duration import transfer_seconds
from fedsim.fleet.progress import ProgressCallback
from fedsim.protocol.step import Each, Transfer, leaf_steps
from fedsim.scenario.answer.engine_choice import Choice
from fedsim.scenario.answer.outcome import Excluded, Outcome
from fedsim.scenario.answer.replication import Case, common_draws
from fedsim.scenario.answer.result import result_table
from fedsim.scenario.answer.simulated import Simulated, simulate_result
from fedsim.scenario.build.checked_case import CheckedCase

__all__ = ["PlannedCase", "closed_form", "draws_of", "result_of", "run_of"]


@dataclass(frozen=True, eq=False)
class PlannedCase:
    """One result's input, its closed form, and which engine answers it.

    Attributes
    ----------
    checked : CheckedCase
        Without the classes that were left out.
    closed_form : AnalyticResult
    choice : Choice
    excluded : tuple of Excluded
        Classes whose clients cannot hold the plan, where the policy leaves them out.
    """

    checked: CheckedCase
    closed_form: AnalyticResult
    choice: Choice
    excluded: tuple[Excluded, ...] = ()


def result_of(
    entry: PlannedCase, simulated: Simulated | None, draws: dict[str, Any] | None
) -> dict[str, Any]:
    """The result's table, out of its run and of what other draws gave."""
    each, case = entry.checked, entry.checked.case
    return result_table(
        case,
        each.settings,
        each.federation,
        Outcome(
            answer=entry.closed_form,
            setup_s=_setup_seconds(each),
            choice=entry.choice,
            framework=case.framework,
            simulated=simulated,
            draws=draws,
            protection=each.protection,
            laws=each.laws,
            excluded=entry.excluded,
            looks_further=scheduled_needs(each.federation, each.policy),
        ),
    )


def run_of(entry: PlannedCase, rounds: ProgressCallback | None = None) -> Simulated | None:
    """The run, where it is simulated; ``rounds`` is told how many of its rounds are done."""
    each = entry.checked
    if entry.closed_form.infeasible is not None or entry.choice.engine == "analytic":
        return None
    return simulate_result(
        entry.choice,
        each.federation,
        each.case.framework,
        each.policy,
        each.settings.seed,
        rounds,
    )


def draws_of(
    entry: PlannedCase, simulated: Simulated | None, num_seeds: int | None
) -> dict[str, Any] | None:
    """What a round takes in other draws."""
    each = entry.checked
    if entry.closed_form.infeasible is not None:
        return None
    case = Case(
        each.federation,
        each.case.framework,
        each.policy,
        each.settings.price,
        each.settings.seed,
        entry.closed_form,
        entry.choice,
        each.federation_at,
    )
    return common_draws(case, None if simulated is None else simulated.result, num_seeds)


def closed_form(entry: CheckedCase) -> AnalyticResult:
    """Counts, memory and times by formulas.

    Schedules that look at more than the round's number are left out: no formula knows what they
    see. Whoever asks for their effect is given a simulation (see
    :mod:`fedsim.scenario.answer.engine_choice`).
    """
    federation, policy = entry.federation, entry.policy
    if scheduled_needs(federation, policy):
        federation = replace(
            federation, schedules=tuple(s for s in federation.schedules if not s.needs)
        )
        # How many are asked at most, for what the server holds: all.
        asked = None if any(s.needs for s in policy.schedules) else policy.clients_per_round
        policy = replace(
            policy,
            clients_per_round=asked,
            over_selection=0.0 if asked is None else policy.over_selection,
            schedules=tuple(s for s in policy.schedules if not s.needs),
        )
    return evaluate(federation, entry.case.framework, policy)


def _setup_seconds(entry: CheckedCase) -> float:
    """One-off transfers of the slowest client, nobody queueing [s]."""
    slowest = 0.0
    for client_class in entry.federation.classes:
        steps = (
            (times, step)
            for segment in entry.case.framework(client_class.plan).setup
            if isinstance(segment, Each)
            for times, step in leaf_steps(segment.steps)
        )
        seconds = sum(
            times * transfer_seconds(step.payload.message_bytes, step.direction, client_class.link)
            for times, step in steps
            if isinstance(step, Transfer)
        )
        slowest = max(slowest, seconds)
    return slowest
