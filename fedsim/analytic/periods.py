"""Periods of equal plans: schedules that look at the round's number alone, in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fedsim.errors import ScenarioError
from fedsim.planning import ClientFacts, Need, View, groups, plan
from fedsim.spec.federation import FederationSpec

__all__ = ["Period", "periods", "scheduled_needs"]


@dataclass(frozen=True)
class Period:
    """Rounds ``first`` to ``last`` (inclusive), in which nobody's plan changes.

    Attributes
    ----------
    first, last : int
    federation : FederationSpec
        With the plans of these rounds, no schedules, and as many rounds.
    """

    first: int
    last: int
    federation: FederationSpec

    @property
    def num_rounds(self) -> int:
        """How many."""
        return self.last - self.first + 1


def scheduled_needs(federation: FederationSpec) -> tuple[str, ...]:
    """What schedules look at beside the round's number: no closed form knows it."""
    found = {need.value for schedule in federation.schedules for need in schedule.needs}
    return tuple(sorted(found))


def periods(federation: FederationSpec) -> tuple[Period, ...]:
    """The rounds of a federation by equal plans; one period where there are no schedules.

    Raises
    ------
    ScenarioError
        If a schedule looks at more than the round's number.
    """
    if not federation.schedules:
        return (Period(1, federation.num_rounds, federation),)
    needs = scheduled_needs(federation)
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
    found: list[Period] = []
    for round_index in range(1, federation.num_rounds + 1):
        planned = _planned(federation, round_index)
        if found and found[-1].federation == planned:
            found[-1] = replace(found[-1], last=round_index)
        else:
            found.append(Period(round_index, round_index, planned))
    return tuple(
        replace(each, federation=replace(each.federation, num_rounds=each.num_rounds))
        for each in found
    )


def _planned(federation: FederationSpec, round_index: int) -> FederationSpec:
    view = View(round_index)
    own = groups(federation.schedules, _facts(federation), view)
    first = [0] * len(federation.schedules)
    return replace(
        federation,
        classes=tuple(
            replace(
                each,
                plan=plan(each.plan, federation.schedules, group, view),
                plans={
                    number: plan(known, federation.schedules, group, view)
                    for number, known in each.plans.items()
                },
            )
            for each, group in zip(federation.classes, own.tolist(), strict=True)
        ),
        server_plan=plan(federation.server_plan, federation.schedules, first, view),
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
