"""Schedules: frozen values that say which plan whom a round finds with.

One of one's own is a frozen dataclass with the two methods of :class:`Schedule`, in a file of its
own. It needs no entry here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedsim.spec.plan import ClientPlan
from fedsim.spec.view import ClientFacts, View

__all__ = ["Need", "Schedule"]


class Need(StrEnum):
    """What a schedule looks at beside the round's number; not every interpreter knows it."""

    CLOCK = "clock"
    COHORT = "cohort"
    HISTORY = "history"
    LOSSES = "losses"


class Schedule(Protocol):
    """Which plan each client has in a round.

    Clients are planned by group, never one by one: a million of them are a few plans.
    """

    @property
    def needs(self) -> frozenset[Need]:
        """What it looks at beside the round's number and the clients' facts."""
        ...

    def groups(self, facts: ClientFacts, view: View) -> NDArray[np.int64]:
        """Group of each client, shape (n,), from 0: those of one group and plan stay alike."""
        ...

    def plan(self, base: ClientPlan, group: int, view: View) -> ClientPlan:
        """The plan of a group's clients in the round, made of the one that they have otherwise."""
        ...
