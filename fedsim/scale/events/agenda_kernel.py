"""The event kernel's agenda: a binary heap ordered by nanosecond, rank and order of entry.

The rank is 0 for the server's own events, ``2 c + 2`` for what client ``c`` does and ``2 c + 3``
for what may stop it once that is through.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from fedsim.scale.compiled import compiled, inlined
from fedsim.scale.records import Records, layout

__all__ = ["EVENT", "Agenda", "empty_agenda", "pop", "push", "ticks", "with_room"]

#: Nanosecond, rank and order of entry; what happens to whom, under which number; and when [s].
EVENT: Final = layout(["tick", "key", "what", "who", "stamp"], ["time_s"])
_COUNTS: Final = layout(["length", "num_entered"])
_ORDER_BITS = 36


class Agenda(NamedTuple):
    """What is to come.

    Attributes
    ----------
    events : ndarray of EVENT
        A heap: the next event stands first.
    counts : ndarray, shape (1,)
        ``length``: how many there are; ``num_entered``: how many there ever were.
    """

    events: Records
    counts: Records


def empty_agenda(num: int) -> Agenda:
    """Room for ``num`` events to begin with."""
    return Agenda(np.zeros(num, EVENT), np.zeros(1, _COUNTS))


@compiled
def ticks(time_s: float) -> int:
    """The nanosecond of a time; the last one there is for what never happens."""
    if time_s >= 9.2e9:
        return np.int64(9_200_000_000_000_000_000)
    return np.int64(np.rint(time_s * 1e9))


@inlined
def _copy(event: Any, to: Any) -> None:
    # Figure by figure: numba would copy a record byte by byte.
    to.tick, to.key, to.what, to.who = event.tick, event.key, event.what, event.who
    to.stamp, to.time_s = event.stamp, event.time_s


@compiled
def push(agenda: Agenda, time_s: float, rank: int, what: int, who: int, stamp: int) -> None:
    """Enter an event; whoever calls has seen to it that there is room."""
    events, counts = agenda.events, agenda.counts[0]
    hole = counts.length
    tick = ticks(time_s)
    key = (np.int64(rank) << _ORDER_BITS) | counts.num_entered
    counts.length += 1
    counts.num_entered += 1
    while hole > 0:
        parent = (hole - 1) >> 1
        above = events[parent]
        if above.tick < tick or (above.tick == tick and above.key <= key):
            break
        _copy(above, events[hole])
        hole = parent
    event = events[hole]
    event.tick, event.key, event.what, event.who = tick, key, what, who
    event.stamp, event.time_s = stamp, time_s


@compiled
def with_room(agenda: Agenda, num: int) -> Agenda:
    """The same agenda with room for ``num`` more events at least."""
    events, length = agenda.events, agenda.counts[0].length
    if length + num <= len(events):
        return agenda
    longer = np.zeros(2 * len(events) + num, dtype=EVENT)
    for row in range(length):
        _copy(events[row], longer[row])
    return Agenda(longer, agenda.counts)


@compiled
def pop(agenda: Agenda) -> None:
    """Take the first event out; it stands in row 0 until then."""
    events, counts = agenda.events, agenda.counts[0]
    counts.length -= 1
    num = counts.length
    last = events[num]
    tick, key = last.tick, last.key
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= num:
            break
        other = child + 1
        if other < num and (
            events[other].tick < events[child].tick
            or (events[other].tick == events[child].tick and events[other].key < events[child].key)
        ):
            child = other
        if tick < events[child].tick or (tick == events[child].tick and key <= events[child].key):
            break
        _copy(events[child], events[hole])
        hole = child
    _copy(last, events[hole])
