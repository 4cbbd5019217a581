"""What is known when a round begins: the world as schedules see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClientFacts", "View"]

Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClientFacts:
    """What does not change about the clients of a federation, as arrays of shape (n,).

    Attributes
    ----------
    class_names : tuple of str
        In the order of ``class_index``.
    class_index : ndarray of int32
    num_samples : ndarray of int64
        Private samples.
    slowdown : ndarray
        Factor on the seconds of the class's device.
    uplink, downlink : ndarray
        Rates of the wire, at factor 1 of a rate trace [B/s].
    round_trip : ndarray
        [s].
    """

    class_names: tuple[str, ...]
    class_index: NDArray[np.int32]
    num_samples: NDArray[np.int64]
    slowdown: Reals
    uplink: Reals
    downlink: Reals
    round_trip: Reals

    def __len__(self) -> int:
        return len(self.class_index)


@dataclass(frozen=True, eq=False)
class View:
    """One round at its beginning. Two interpreters that are given one view make one plan.

    Attributes
    ----------
    round_index : int
        From 1; the set-up sees round 1.
    now_s : float or None
        The clock, where there is one: of a simulation [s].
    asked : ndarray of int64 or None
        Clients that the round asks, sorted; None where nobody asks one by one.
    last_used : ndarray of int64 or None
        By client, the round to which it contributed last; 0 for never.
    losses : tuple of (float or None) or None
        Mean training loss of each round before this one, in order; None for a round without one.
        None where nobody trains: a simulator has no losses.
    """

    round_index: int
    now_s: float | None = None
    asked: NDArray[np.int64] | None = None
    last_used: NDArray[np.int64] | None = None
    losses: tuple[float | None, ...] | None = None
