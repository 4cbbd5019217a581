"""What one segment's event loop knows, sums up and keeps between two events."""

from __future__ import annotations

from typing import Final, NamedTuple

from fedsim.scale.events.queue_kernel import Queue
from fedsim.scale.events.walk_kernel import Programs
from fedsim.scale.link.state import FlowLink
from fedsim.scale.records import Integers, Reals, Records, layout

__all__ = [
    "ALARM",
    "ASLEEP",
    "BEGIN",
    "COUNTS",
    "DEADLINE",
    "ENDLESS",
    "GO_ON",
    "HAS_FAILED",
    "HORIZON_PASSED",
    "IS_LOST",
    "IS_NOTICED",
    "IS_THROUGH",
    "LEAVE",
    "LINK_ALARM",
    "NOTHING",
    "NOTICE",
    "OVER",
    "PAUSING",
    "RATE",
    "RATES",
    "SERVED",
    "STOP",
    "TOTALS",
    "VISITED",
    "WORKING",
    "Links",
    "Setting",
    "State",
    "Sums",
]

#: Up, down, accelerators that are shared.
Links = tuple[FlowLink, FlowLink, FlowLink]

#: What an event is.
GO_ON, STOP, BEGIN, ALARM, SERVED, DEADLINE, RATES, LEAVE, NOTICE = range(9)
#: What an event means for its client. Who is lost has left, and the server knows; of a failure it
#: learns later.
NOTHING, IS_THROUGH, IS_LOST, HAS_FAILED, IS_NOTICED = range(5)
#: Where a client is with the segment.
ASLEEP, WORKING, PAUSING, OVER = range(4)
#: Why a run ended before its time.
HORIZON_PASSED, ENDLESS = 1, 2

#: When a link's next end was announced for [s], and under which number.
LINK_ALARM: Final = layout(["stamp"], ["due_s"])
#: A class's piece of its rate trace, and the factor in force.
RATE: Final = layout(["piece"], ["factor"])
#: Executions that were finished; whole segments of messages that were cut off, as message and as
#: payload [B].
COUNTS: Final = layout(["executions", "cut_bytes", "cut_payload"])
#: One visit of a shared resource: join and leave [s].
VISITED: Final = layout(
    ["client", "attempt", "visit", "resource", "iteration", "leg"], ["join_s", "leave_s"]
)
#: When the gathering closed [s]; seconds of service; why the run ended before its time, or 0; and
#: how many clients are waited for, contributed, who was the last of them, whose turn is next.
TOTALS: Final = layout(
    [
        "why_ended",
        "num_pending",
        "num_contributions",
        "last",
        "num_events",
        "num_visits",
        "next_turn",
    ],
    ["closed_s", "served_s"],
)


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
    spent : ndarray of SPENT, shape (V, labels, 3)
        By group, label and outcome.
    counts : ndarray of COUNTS, shape (V, S, 3)
        By group, stage and outcome.
    totals : ndarray of TOTALS, shape (1,)
    visits : ndarray of VISITED
        The first ``num_visits`` are there.
    """

    outcome: Integers
    end_s: Reals
    spent: Records
    counts: Records
    totals: Records
    visits: Records


class State(NamedTuple):
    """A segment on its way, as one value to hand on.

    Attributes
    ----------
    links : tuple of FlowLink
    alarms : ndarray of LINK_ALARM, shape (3,)
        One for each of them.
    queue : Queue
    rates : ndarray of RATE, shape (classes,)
    clients : ndarray of CLIENT, shape (m,)
    spent : ndarray of SPENT, shape (m, labels)
        What each client did in its attempt.
    programs : Programs
    setting : Setting
    sums : Sums
    """

    links: Links
    alarms: Records
    queue: Queue
    rates: Records
    clients: Records
    spent: Records
    programs: Programs
    setting: Setting
    sums: Sums
