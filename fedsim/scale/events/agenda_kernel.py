"""The event kernel's agenda: a binary heap ordered by nanosecond, rank and order of entry.

The rank is 0 for the server's own events, ``2 c + 2`` for what client ``c`` does and ``2 c + 3``
for what may stop it once that is through.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import compiled

__all__ = ["Agenda", "empty_agenda", "pop", "push", "ticks", "with_room"]

#: Keys and payload of each entry: nanosecond, rank and order, what, who, stamp; and its time.
#: ``size`` holds how many there are and how many there ever were.
Agenda = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]

_ORDER_BITS = 36
_TICK, _RANK, _WHAT, _WHO, _STAMP = 0, 1, 2, 3, 4


def empty_agenda(num: int) -> Agenda:
    """Room for ``num`` entries to begin with."""
    return np.zeros((num, 5), dtype=np.int64), np.zeros(num), np.zeros(2, dtype=np.int64)


@compiled
def ticks(time_s: float) -> int:
    """The nanosecond of a time; the last one there is for what never happens."""
    if time_s >= 9.2e9:
        return np.int64(9_200_000_000_000_000_000)
    return np.int64(np.rint(time_s * 1e9))


@compiled
def push(agenda: Agenda, time_s: float, rank: int, what: int, who: int, stamp: int) -> None:
    """Enter an event; whoever calls has seen to it that there is room."""
    entries, times, size = agenda
    hole = size[0]
    tick = ticks(time_s)
    key = (np.int64(rank) << _ORDER_BITS) | size[1]
    size[0] += 1
    size[1] += 1
    while hole > 0:
        parent = (hole - 1) >> 1
        above = entries[parent, _TICK]
        if above < tick or (above == tick and entries[parent, _RANK] <= key):
            break
        for column in range(5):
            entries[hole, column] = entries[parent, column]
        times[hole] = times[parent]
        hole = parent
    entries[hole, _TICK], entries[hole, _RANK] = tick, key
    entries[hole, _WHAT], entries[hole, _WHO], entries[hole, _STAMP] = what, who, stamp
    times[hole] = time_s


@compiled
def with_room(agenda: Agenda, num: int) -> Agenda:
    """The same agenda with room for ``num`` more entries at least."""
    entries, times, size = agenda
    if size[0] + num <= len(times):
        return agenda
    new_entries = np.zeros((2 * len(times) + num, 5), dtype=np.int64)
    new_times = np.zeros(2 * len(times) + num)
    new_entries[: size[0]] = entries[: size[0]]
    new_times[: size[0]] = times[: size[0]]
    return new_entries, new_times, size


@compiled
def pop(agenda: Agenda) -> None:
    """Take the first event out; it stands at row 0 until then."""
    entries, times, size = agenda
    size[0] -= 1
    num = size[0]
    tick, key = entries[num, _TICK], entries[num, _RANK]
    what, who, stamp = entries[num, _WHAT], entries[num, _WHO], entries[num, _STAMP]
    time_s = times[num]
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= num:
            break
        other = child + 1
        if other < num and (
            entries[other, _TICK] < entries[child, _TICK]
            or (
                entries[other, _TICK] == entries[child, _TICK]
                and entries[other, _RANK] < entries[child, _RANK]
            )
        ):
            child = other
        if tick < entries[child, _TICK] or (
            tick == entries[child, _TICK] and key <= entries[child, _RANK]
        ):
            break
        for column in range(5):
            entries[hole, column] = entries[child, column]
        times[hole] = times[child]
        hole = child
    entries[hole, _TICK], entries[hole, _RANK] = tick, key
    entries[hole, _WHAT], entries[hole, _WHO], entries[hole, _STAMP] = what, who, stamp
    times[hole] = time_s
