"""Who has which plan in a round, and how many are asked: pure functions of schedules and a view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import ScenarioError
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySpec
from fedsim.spec.schedule import Schedule
from fedsim.spec.view import ClientFacts, View

__all__ = ["groups", "plan", "policy"]

#: Fields whose change means messages that no protocol has yet.
_NOT_COUNTED: Final = {
    "cut": "what clients and server send each other when the cut moves",
    "training": "what is sent when ranks or formats change",
    "public_text": "what is sent when the public set changes",
    "server_variant": "what becomes of server-side models when their kind changes",
}


def groups(schedules: Sequence[Schedule], facts: ClientFacts, view: View) -> NDArray[np.int64]:
    """Each client's group under every schedule, shape (n, number of schedules).

    Parameters
    ----------
    schedules : sequence of Schedule
    facts : ClientFacts
    view : View

    Raises
    ------
    ScenarioError
        If a schedule gives anything but one group from 0 on for each client.
    """
    found = np.zeros((len(facts), len(schedules)), dtype=np.int64)
    for column, schedule in enumerate(schedules):
        own = np.asarray(schedule.groups(facts, view))
        is_whole = own.shape == (len(facts),) and np.issubdtype(own.dtype, np.integer)
        if not is_whole or (len(own) and own.min() < 0):
            raise ScenarioError(
                f"schedule {schedule!r}: groups are {own.dtype} of shape {own.shape}; give one "
                f"whole number from 0 on for each of {len(facts):,} clients."
            )
        found[:, column] = own
    return found


def plan(
    base: ClientPlan, schedules: Sequence[Schedule], group: Sequence[int], view: View
) -> ClientPlan:
    """The plan of a group's clients: every schedule in turn, each on what the ones before made.

    Parameters
    ----------
    base : ClientPlan
        Without any schedule.
    schedules : sequence of Schedule
    group : sequence of int
        Under each schedule.
    view : View

    Raises
    ------
    ScenarioError
        If a schedule changes what would have to be sent for it, and nothing counts that yet.
    """
    planned = base
    for schedule, number in zip(schedules, group, strict=True):
        planned = schedule.plan(planned, int(number), view)
    for name, what in _NOT_COUNTED.items():
        if getattr(planned, name) != getattr(base, name):
            raise ScenarioError(
                f"round {view.round_index}: a schedule changes a plan's {name}: {what} is not "
                "counted yet; let it stay as it is."
            )
    return planned


def policy(base: PolicySpec, view: View) -> PolicySpec:
    """The policy of a round: every schedule of ``base`` in turn, each on what the ones before made.

    Parameters
    ----------
    base : PolicySpec
    view : View
        ``asked`` is None: this says how many will be.

    Raises
    ------
    ScenarioError
        If a schedule changes more than how many clients are asked.
    """
    planned = base
    for schedule in base.schedules:
        planned = schedule.policy(planned, view)
    if replace(planned, clients_per_round=base.clients_per_round) != base:
        raise ScenarioError(
            f"round {view.round_index}: a schedule changes the policy, and not clients_per_round "
            "alone: nothing else of it is counted by round yet; let it stay as it is."
        )
    return planned
