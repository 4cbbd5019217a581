"""Two binary heaps of flows by when they are due, with entries that may be out of date.

An entry counts as long as its flow is still in that place and due as written; nothing is searched
when a flow changes sides.
"""

from __future__ import annotations

import numpy as np

from fedsim.scale.compiled import borrowed, compiled
from fedsim.scale.link.state import Flows, Heaps

__all__ = ["push", "top"]

#: Added to a flow's place while it stands in a heap that is being tidied up.
_KEPT = np.int8(64)


@compiled
def top(side: int, place: int, flows: Flows, heaps: Heaps) -> int:
    """First flow of a heap, entries that are no longer true thrown away; -1 where it is empty."""
    flows, heaps = borrowed((flows, heaps))
    where, due = flows.where, flows.due
    keys, members, lengths = heaps
    while lengths[side] > 0:
        flow = members[side, 0]
        if where[flow] == place and due[flow] == keys[side, 0]:
            return flow
        _pop(side, heaps)
    return -1


@compiled
def push(side: int, place: int, flow: int, flows: Flows, heaps: Heaps) -> None:
    """Enter a flow that is now in ``place``; make room first where the heap is full."""
    flows, heaps = borrowed((flows, heaps))
    where, due = flows.where, flows.due
    keys, members, lengths = heaps
    if lengths[side] == keys.shape[1]:
        # Full of entries that are no longer true: keep the others.
        num = lengths[side]
        lengths[side] = 0
        for entry in range(num):
            kept = members[side, entry]
            if kept != flow and where[kept] == place and due[kept] == keys[side, entry]:
                _sift_up(side, due[kept], kept, heaps)
                # Whoever left and came back at once may stand here twice, and both are true.
                where[kept] += _KEPT
        for entry in range(lengths[side]):
            where[members[side, entry]] -= _KEPT
    _sift_up(side, due[flow], flow, heaps)


@compiled
def _sift_up(side: int, key: float, flow: int, heaps: Heaps) -> None:
    keys, members, lengths = heaps
    hole = lengths[side]
    lengths[side] += 1
    while hole > 0:
        parent = (hole - 1) >> 1
        if keys[side, parent] <= key:
            break
        keys[side, hole] = keys[side, parent]
        members[side, hole] = members[side, parent]
        hole = parent
    keys[side, hole] = key
    members[side, hole] = flow


@compiled
def _pop(side: int, heaps: Heaps) -> None:
    keys, members, lengths = heaps
    lengths[side] -= 1
    num = lengths[side]
    key, flow = keys[side, num], members[side, num]
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= num:
            break
        if child + 1 < num and keys[side, child + 1] < keys[side, child]:
            child += 1
        if key <= keys[side, child]:
            break
        keys[side, hole] = keys[side, child]
        members[side, hole] = members[side, child]
        hole = child
    keys[side, hole] = key
    members[side, hole] = flow
