"""Periods of equal plans: schedules that look at the round's number alone, in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fedsim.errors import ScenarioError
from fedsim.planning import (
    ClientFacts,
    Need,
    PolicySchedule,
    Schedule,
    View,
    groups,
    plan,
    rounds_to_plan,
)
from fedsim.planning import policy as planned_policy
from fedsim.spec.federation import FederationSpec
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySpec

__all__ = ["Period", "periods", "scheduled_needs"]


@dataclass(frozen=True)
class Period:
    """Rounds ``first`` to ``last`` (inclusive), in which nothing that is planned changes.

    Attributes
    ----------
    first, last : int
    federation : FederationSpec
        With the plans of these rounds, no schedules, and as many rounds.
    policy : PolicySpec or None
        Of these rounds, without schedules; None where none was given.
    """

    first: int
    last: int
    federation: FederationSpec
    policy: PolicySpec | None = None

    @property
    def num_rounds(self) -> int:
        """How many."""
        return self.last - self.first + 1


def scheduled_needs(
    federation: FederationSpec, policy: PolicySpec | None = None
) -> tuple[str, ...]:
    """What schedules look at beside the round's number: no closed form knows it."""
    found = {need.value for schedule in federation.schedules for need in schedule.needs}
    if policy is not None:
        found |= {need.value for schedule in policy.schedules for need in schedule.needs}
    return tuple(sorted(found))


def periods(federation: FederationSpec, policy: PolicySpec | None = None) -> tuple[Period, ...]:
    """The rounds of a federation by equal plans; one period where there are no schedules.

    Parameters
    ----------
    federation : FederationSpec
    policy : PolicySpec, optional
        Where how many are asked is of interest too.

    Raises
    ------
    ScenarioError
        If a schedule looks at more than the round's number.
    """
    schedules: list[Schedule | PolicySchedule] = [*federation.schedules]
    schedules += policy.schedules if policy is not None else ()
    if not schedules:
        return (Period(1, federation.num_rounds, federation, policy),)
    _check_needs(scheduled_needs(federation, policy))
    starts = rounds_to_plan(schedules, federation.num_rounds)
    found: list[tuple[int, _Planned]] = []
    for start in starts:
        planned = _planned(federation, policy, start)
        if not found or found[-1][1] != planned:
            found.append((start, planned))
    ends = [*(start - 1 for start, _ in found[1:]), federation.num_rounds]
    return tuple(
        Period(start, end, _with_plans(federation, planned, end - start + 1), planned.policy)
        for (start, planned), end in zip(found, ends, strict=True)
    )


def _check_needs(needs: tuple[str, ...]) -> None:
    if Need.LOSSES in needs:
        raise ScenarioError(
            "a schedule looks at losses, which only a real run has: run it by 'fedsim train', or "
            "let it look at something else."
        )
    if needs:
        raise ScenarioError(
            f"a schedule looks at {', '.join(needs)}, which a closed form does not know; set "
            'engine = "auto", "des" or "scale".'
        )


@dataclass(frozen=True)
class _Planned:
    """What schedules make of one round."""

    class_plans: tuple[ClientPlan, ...]
    sized_plans: tuple[Mapping[int, ClientPlan], ...]
    server_plan: ClientPlan
    policy: PolicySpec | None


def _planned(federation: FederationSpec, policy: PolicySpec | None, round_index: int) -> _Planned:
    view, schedules = View(round_index), federation.schedules
    own = groups(schedules, _facts(federation), view).tolist()
    return _Planned(
        tuple(
            plan(each.plan, schedules, group, view)
            for each, group in zip(federation.classes, own, strict=True)
        ),
        tuple(
            {n: plan(known, schedules, group, view) for n, known in each.plans.items()}
            for each, group in zip(federation.classes, own, strict=True)
        ),
        plan(federation.server_plan, schedules, [0] * len(schedules), view),
        None if policy is None else replace(planned_policy(policy, view), schedules=()),
    )


def _with_plans(federation: FederationSpec, planned: _Planned, num_rounds: int) -> FederationSpec:
    return replace(
        federation,
        classes=tuple(
            replace(each, plan=own, plans=sized)
            for each, own, sized in zip(
                federation.classes, planned.class_plans, planned.sized_plans, strict=True
            )
        ),
        server_plan=planned.server_plan,
        num_rounds=num_rounds,
        schedules=(),
    )


def _facts(federation: FederationSpec) -> ClientFacts:
    """One client of each class, with its class's own figures."""
    classes = federation.classes
    return ClientFacts(
        class_names=tuple(each.name for each in classes),
        class_index=np.arange(len(classes), dtype=np.int32),
        num_samples=np.array([each.plan.train_epochs[0].num_samples for each in classes]),
        slowdown=np.ones(len(classes)),
        uplink=np.array([each.link.uplink_bytes_per_s for each in classes]),
        downlink=np.array([each.link.downlink_bytes_per_s for each in classes]),
        round_trip=np.array([each.link.round_trip_s for each in classes]),
    )
