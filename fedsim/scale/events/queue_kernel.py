"""Accelerators with one queue inside the event kernel: first come, first served, in batches.

A service is known by its first request; the others of its batch hang on it as a list. A client has
a request for each attempt, for a batch may go on with one that its client has given up.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from fedsim.scale.compiled import compiled, inlined
from fedsim.scale.events.agenda_kernel import Agenda, empty_agenda, pop, push
from fedsim.scale.records import Records, layout

__all__ = [
    "GO_ON",
    "IS_DONE",
    "SERVED",
    "STOP",
    "WAITED",
    "WAS_SERVED",
    "Queue",
    "ask",
    "end_service",
    "free_request",
    "is_crowded",
    "queue_of",
    "sweep",
    "withdraw",
]

#: Kinds of events that a queue enters.
GO_ON, STOP, SERVED = 0, 1, 4
#: What became of a request that is taken back.
WAITED, WAS_SERVED, IS_DONE = range(3)
#: Where a request is.
_NOWHERE, _WAITING, _IN_SERVICE, _DROPPED, _DONE = range(5)

#: ``place``: where it is; ``stamp``: its number; ``leader`` and ``follower``: the first of its
#: batch and the next in it; ``serial``: of its client's attempt; ``own_s`` and ``shared_s``: what
#: it takes [s]; ``start_s``: when its service began [s]; ``share``: of its service after which its
#: client fails, 1 for one that does not.
_REQUEST: Final = layout(
    ["place", "stamp", "leader", "follower", "serial"], ["own_s", "shared_s", "start_s", "share"]
)
_PLACES: Final = layout(["num_free", "max_batch", "num_clients"])


class Queue(NamedTuple):
    """State of the accelerators.

    Attributes
    ----------
    places : ndarray, shape (1,)
        ``num_free`` accelerators, ``max_batch``, ``num_clients``.
    waiting : Agenda
        Requests by nanosecond of arrival and client.
    requests : ndarray, shape (r,)
        Request ``a * num_clients + c`` is client ``c``'s in attempt ``a``.
    """

    places: Records
    waiting: Agenda
    requests: Records


def queue_of(num_clients: int, num_attempts: int, num_accelerators: int, max_batch: int) -> Queue:
    """Idle accelerators."""
    places = np.array([(num_accelerators, max_batch, num_clients)], _PLACES)
    requests = np.zeros(num_clients * num_attempts, _REQUEST)
    requests["follower"], requests["share"] = -1, 1.0
    # What is dropped while it waits stays until its turn.
    return Queue(places, empty_agenda(num_clients * num_attempts + 64), requests)


@compiled
def is_crowded(queue: Queue) -> bool:
    """Whether nothing more can wait until :func:`sweep` was called."""
    return queue.waiting.counts[0].length >= len(queue.waiting.events)


@compiled
def sweep(queue: Queue) -> None:
    """Throw out requests that were dropped while they waited."""
    events, counts = queue.waiting.events, queue.waiting.counts[0]
    num = counts.length
    kept = np.empty((num, 2), dtype=np.int64)
    kept_s = np.empty(num)
    found = 0
    for row in range(num):
        r = events[row].who
        if queue.requests[r].place == _WAITING and queue.requests[r].stamp == events[row].stamp:
            kept[found, 0], kept[found, 1], kept_s[found] = r, events[row].stamp, events[row].time_s
            found += 1
    counts.length = 0
    for row in range(found):
        r = kept[row, 0]
        push(queue.waiting, kept_s[row], r % queue.places[0].num_clients, 0, r, kept[row, 1])


@compiled
def free_request(queue: Queue, c: int) -> int:
    """A request of client ``c`` on which no batch in service hangs any more."""
    num = queue.places[0].num_clients
    r = np.int64(c)
    while queue.requests[r].place == _IN_SERVICE or queue.requests[r].place == _DROPPED:
        r += num
    return r


@inlined
def ask(agenda: Agenda, queue: Queue, r: int, now: float, own: float, shared: float) -> None:
    """Enter request ``r``; one that finds an accelerator free starts at once, alone."""
    request, places = queue.requests[r], queue.places[0]
    request.stamp += 1
    request.own_s, request.shared_s = own, shared
    request.follower = -1
    if places.num_free > 0:
        places.num_free -= 1
        _serve(agenda, queue, r, now)
    else:
        request.place = _WAITING
        push(queue.waiting, now, r % places.num_clients, 0, r, request.stamp)


@inlined
def end_service(
    agenda: Agenda, queue: Queue, head: int, stamp: int, now: float, clients: Records, totals: Any
) -> None:
    """A service is over: tell its clients, and take up those who wait."""
    requests = queue.requests
    first = requests[head]
    if stamp != first.stamp or first.leader != head:
        return
    if first.place not in (_IN_SERVICE, _DROPPED):
        return
    r = head
    while r >= 0:
        request = requests[r]
        following = request.follower
        if request.place == _IN_SERVICE:
            request.place = _DONE
            c = r % queue.places[0].num_clients
            push(agenda, now, 2 * c + 2, GO_ON, c, clients[c].stamp)
        else:
            request.place = _NOWHERE
        r = following
    _release(agenda, queue, head, now, totals)


@compiled
def withdraw(agenda: Agenda, queue: Queue, r: int, now: float, totals: Any) -> int:
    """Take request ``r`` back; whether it ``WAITED``, ``WAS_SERVED`` or ``IS_DONE``."""
    requests = queue.requests
    place = requests[r].place
    if place == _DONE:
        return IS_DONE
    if place != _IN_SERVICE:
        requests[r].place = _NOWHERE
        requests[r].stamp += 1
        return WAITED
    requests[r].place = _DROPPED
    head = member = requests[r].leader
    while member >= 0:
        if requests[member].place == _IN_SERVICE:
            # A batch goes on as long as anybody waits for it.
            return WAS_SERVED
        member = requests[member].follower
    member = head
    while member >= 0:
        requests[member].place = _NOWHERE
        member = requests[member].follower
    requests[head].stamp += 1
    _release(agenda, queue, head, now, totals)
    return WAS_SERVED


@inlined
def _serve(agenda: Agenda, queue: Queue, head: int, now: float) -> None:
    """Begin with a request and those that hang on it."""
    own, shared = 0.0, 0.0
    r = head
    while r >= 0:
        request = queue.requests[r]
        request.place = _IN_SERVICE
        request.leader = head
        request.start_s = now
        own += request.own_s
        shared = max(shared, request.shared_s)
        r = request.follower
    r = head
    while r >= 0:
        request = queue.requests[r]
        if request.share < 1.0:
            c = r % queue.places[0].num_clients
            fails = now + request.share * (own + shared)
            push(agenda, fails, 2 * c + 3, STOP, c, request.serial)
        r = request.follower
    push(agenda, now + (own + shared), 0, SERVED, head, queue.requests[head].stamp)


@inlined
def _release(agenda: Agenda, queue: Queue, head: int, now: float, totals: Any) -> None:
    """Note a service's time and give its accelerator to those who wait."""
    requests, places = queue.requests, queue.places[0]
    totals.served_s += max(0.0, now - requests[head].start_s)
    first = last = np.int64(-1)
    size = 0
    events, counts = queue.waiting.events, queue.waiting.counts[0]
    while counts.length > 0 and size < places.max_batch:
        r, stamp = events[0].who, events[0].stamp
        pop(queue.waiting)
        if requests[r].place != _WAITING or requests[r].stamp != stamp:
            continue
        if first < 0:
            first = r
        else:
            requests[last].follower = r
        last = r
        size += 1
    if first < 0:
        places.num_free += 1
    else:
        _serve(agenda, queue, first, now)
