"""One client of a run, as plain numbers."""

from __future__ import annotations

from typing import Any, Protocol

import simpy

__all__ = ["AtWork", "SimulatedClient"]


class AtWork(Protocol):
    """What a client is at, as far as it can be stopped."""

    def leave(self) -> None:
        """Its client is not available any more."""
        ...

    def fail(self, attempt: Any, event: simpy.Event) -> None:
        """Its client fails in an attempt, unless that is over."""
        ...


class SimulatedClient:
    """One client for the whole run, as plain numbers.

    Attributes
    ----------
    index, class_index, group : int
    slowdown : float
    uplink, downlink : float
        At factor 1 of a rate trace [B/s].
    round_trip_s : float
    worker : AtWork or None
        Its way through a segment while it is at work.
    leaves_s : float
        For which moment an event is set that stops it [s].
    """

    __slots__ = (
        "class_index",
        "downlink",
        "group",
        "index",
        "leaves_s",
        "round_trip_s",
        "slowdown",
        "startup_s",
        "uplink",
        "worker",
    )

    def __init__(
        self,
        index: int,
        class_index: int,
        group: int,
        slowdown: float,
        uplink: float,
        downlink: float,
        round_trip_s: float,
    ) -> None:
        self.index = index
        self.class_index = class_index
        self.group = group
        self.slowdown = slowdown
        self.uplink = uplink
        self.downlink = downlink
        self.round_trip_s = round_trip_s
        self.worker: AtWork | None = None
        self.leaves_s = -1.0
        #: Startups that were worked out, by direction and size of the message.
        self.startup_s: dict[tuple[bool, int], float] = {}

    def leave(self, _: simpy.Event) -> None:
        """Stop whatever it is at: it is not available any more."""
        if self.worker is not None:
            self.worker.leave()
