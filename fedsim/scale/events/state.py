"""What one segment's event loop knows, sums up and keeps between two events."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.link.flow_link_kernel import FlowLink

__all__ = [
    "ASLEEP",
    "BEGIN",
    "CLOSED",
    "CONTRIBUTIONS",
    "DEADLINE",
    "EVENTS",
    "GO_ON",
    "HAS_FAILED",
    "HORIZON",
    "IS_LOST",
    "IS_NOTICED",
    "IS_THROUGH",
    "LAST",
    "LATE",
    "LEAVE",
    "LOST",
    "NEXT_TURN",
    "NOTHING",
    "NOTICE",
    "NUM_VISITS",
    "OVER",
    "PAUSING",
    "PENDING",
    "RATES",
    "RING",
    "SERVED",
    "SERVED_S",
    "STOP",
    "USED",
    "WORKING",
    "Bells",
    "Links",
    "Setting",
    "Sums",
]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
#: Up, down, accelerators that are shared.
Links = tuple[FlowLink, FlowLink, FlowLink]

#: What an event is.
GO_ON, STOP, BEGIN, RING, SERVED, DEADLINE, RATES, LEAVE, NOTICE = range(9)
#: What an event means for its client. Who is lost has left, and the server knows; of a failure it
#: learns later.
NOTHING, IS_THROUGH, IS_LOST, HAS_FAILED, IS_NOTICED = range(5)
#: Where a client is with the segment.
ASLEEP, WORKING, PAUSING, OVER = range(4)
USED, LATE, LOST = 0, 1, 2
#: Places in :attr:`Sums.totals` and in :attr:`Sums.numbers`.
CLOSED, SERVED_S, HORIZON = 0, 1, 2
PENDING, CONTRIBUTIONS, LAST, EVENTS, NUM_VISITS, NEXT_TURN = range(6)


class Setting(NamedTuple):
    """What does not change during a segment.

    Attributes
    ----------
    start_s, deadline_s, retry_after_s : float
        [s].
    timeout_s : float
        From a failure to its notice; below 0 where it is noticed when the work would have ended,
        alone [s].
    awaited, retries : int
    in_turns, is_sharing, keeps_visits : bool
    order : ndarray of int64, shape (m,)
        In which clients begin.
    failure_s : ndarray, shape (retries + 1, m)
        Of an attempt's work ahead of its failure; infinite where it does not fail [s].
    alone_s : ndarray, shape (m,)
        What the segment takes alone [s].
    first : ndarray of int64, shape (m + 1,)
        Rows of each client's presence; all 0 where nobody leaves.
    come_s, leave_s : ndarray
        Presence [s].
    horizon_s, patience_s : float
        What is known of presence; how long a client is waited for [s].
    piece : ndarray of int64, shape (classes,)
        Piece of the rate trace in force at the start; -1 without one.
    num_pieces : ndarray of int64, shape (classes,)
    piece_s, factor : ndarray, shape (classes, pieces)
        Starts within a period [s], and factors.
    period_s : ndarray, shape (classes,)
        [s].
    capacity : ndarray, shape (2,)
        Of the server's uplink and downlink sides [B/s].
    """

    start_s: float
    deadline_s: float
    retry_after_s: float
    timeout_s: float
    awaited: int
    retries: int
    in_turns: bool
    is_sharing: bool
    keeps_visits: bool
    order: Integers
    failure_s: Reals
    alone_s: Reals
    first: Integers
    come_s: Reals
    leave_s: Reals
    horizon_s: float
    patience_s: float
    piece: Integers
    num_pieces: Integers
    piece_s: Reals
    factor: Reals
    period_s: Reals
    capacity: Reals


class Sums(NamedTuple):
    """What comes out.

    Attributes
    ----------
    outcome : ndarray of int64, shape (m,)
    end_s : ndarray, shape (m,)
        [s].
    seconds : ndarray, shape (V, labels, 3, 5)
        By variant, label and outcome: sums, and the first start [s].
    executions, cut_bytes, cut_payload : ndarray of int64, shape (V, S, 3)
    totals : ndarray, shape (4,)
        When the gathering closed [s]; seconds of service; seconds of the accelerators that are
        over [s]; 1 if the horizon was passed, 2 if clocks run off.
    numbers : ndarray of int64, shape (5,)
        Pending clients, contributions, the last of them, events, visits.
    visit_numbers : ndarray of int64, shape (?, 6)
        Client, attempt, visit, resource, iteration, leg.
    visit_s : ndarray, shape (?, 2)
        Join and leave [s].
    """

    outcome: Integers
    end_s: Reals
    seconds: Reals
    executions: Integers
    cut_bytes: Integers
    cut_payload: Integers
    totals: Reals
    numbers: Integers
    visit_numbers: Integers
    visit_s: Reals


class Bells(NamedTuple):
    """When each link's next end was announced for, and under which number."""

    due_s: Reals
    stamp: Integers
