"""Accelerators with one queue inside the event kernel: first come, first served, in batches.

A service is known by its first request; the others of its batch hang on it as a list. A client has
a request for each attempt, for a batch may go on with one that its client has given up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import compiled, inlined
from fedsim.scale.events.agenda_kernel import Agenda, empty_agenda, pop, push

__all__ = [
    "GO_ON",
    "SERVED",
    "STOP",
    "Queue",
    "ask",
    "end_service",
    "free_request",
    "is_crowded",
    "queue_of",
    "sweep",
    "withdraw",
]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Kinds of events that a queue enters.
GO_ON, STOP, SERVED = 0, 1, 4
#: Where a request is.
_NOWHERE, _WAITING, _IN_SERVICE, _DROPPED, _DONE = range(5)
_FREE, _MAX_BATCH, _NUM_CLIENTS = 0, 1, 2
_SERVED_S = 1


class Queue(NamedTuple):
    """State of the accelerators.

    Attributes
    ----------
    numbers : ndarray of int64, shape (3,)
        Free accelerators, largest batch, clients.
    waiting : agenda
        Requests by nanosecond of arrival and client.
    state, stamp, leader, follower : ndarray of int64, shape (r,)
        Where a request is; its number; the first of its batch; the next of its batch.
    size : ndarray of int64, shape (r,)
        Of the batch that a request leads.
    own_s, shared_s, start_s : ndarray, shape (r,)
        What a request takes, and when its service began [s].
    share : ndarray, shape (r,)
        Of its service after which its client fails; 1 for one that does not.
    serial : ndarray of int64, shape (r,)
        Of that client's attempt.
    """

    numbers: Integers
    waiting: Agenda
    state: Integers
    stamp: Integers
    leader: Integers
    follower: Integers
    size: Integers
    own_s: Reals
    shared_s: Reals
    start_s: Reals
    share: Reals
    serial: Integers


def queue_of(num_clients: int, num_attempts: int, num_accelerators: int, max_batch: int) -> Queue:
    """Idle accelerators; request ``a * num_clients + c`` is client ``c``'s in attempt ``a``."""
    zeros = np.zeros(num_clients * num_attempts, dtype=np.int64)
    reals = np.zeros(num_clients * num_attempts)
    return Queue(
        numbers=np.array([num_accelerators, max_batch, num_clients], dtype=np.int64),
        # What is dropped while it waits stays until its turn.
        waiting=empty_agenda(num_clients * num_attempts + 64),
        state=zeros.copy(),
        stamp=zeros.copy(),
        leader=zeros.copy(),
        follower=zeros - 1,
        size=zeros.copy(),
        own_s=reals.copy(),
        shared_s=reals.copy(),
        start_s=reals.copy(),
        share=reals + 1.0,
        serial=zeros.copy(),
    )


@compiled
def is_crowded(queue: Queue) -> bool:
    """Whether nothing more can wait until :func:`sweep` was called."""
    return queue.waiting[2][0] >= len(queue.waiting[1])


@compiled
def sweep(queue: Queue) -> None:
    """Throw out requests that were dropped while they waited."""
    entries, times, size = queue.waiting
    num = size[0]
    kept = np.empty((num, 2), dtype=np.int64)
    kept_s = np.empty(num)
    found = 0
    for row in range(num):
        r = entries[row, 3]
        if queue.state[r] == _WAITING and queue.stamp[r] == entries[row, 4]:
            kept[found, 0], kept[found, 1], kept_s[found] = r, entries[row, 4], times[row]
            found += 1
    size[0] = 0
    for row in range(found):
        r = kept[row, 0]
        push(queue.waiting, kept_s[row], r % queue.numbers[_NUM_CLIENTS], 0, r, kept[row, 1])


@compiled
def free_request(queue: Queue, c: int) -> int:
    """A request of client ``c`` on which no batch in service hangs any more."""
    num = queue.numbers[_NUM_CLIENTS]
    r = np.int64(c)
    while queue.state[r] == _IN_SERVICE or queue.state[r] == _DROPPED:
        r += num
    return r


@inlined
def ask(agenda: Agenda, queue: Queue, r: int, now: float, own: float, shared: float) -> None:
    """Enter request ``r``; one that finds an accelerator free starts at once, alone."""
    queue.stamp[r] += 1
    queue.own_s[r], queue.shared_s[r] = own, shared
    queue.follower[r] = -1
    if queue.numbers[_FREE] > 0:
        queue.numbers[_FREE] -= 1
        _serve(agenda, queue, r, now)
    else:
        queue.state[r] = _WAITING
        push(queue.waiting, now, r % queue.numbers[_NUM_CLIENTS], 0, r, queue.stamp[r])


@inlined
def end_service(
    agenda: Agenda, queue: Queue, head: int, stamp: int, now: float, stamps: Integers, totals: Reals
) -> None:
    """A service is over: tell its clients, and take up those who wait."""
    if stamp != queue.stamp[head] or queue.leader[head] != head:
        return
    if queue.state[head] not in (_IN_SERVICE, _DROPPED):
        return
    r = head
    while r >= 0:
        following = queue.follower[r]
        if queue.state[r] == _IN_SERVICE:
            queue.state[r] = _DONE
            c = r % queue.numbers[_NUM_CLIENTS]
            push(agenda, now, 2 * c + 2, GO_ON, c, stamps[c])
        else:
            queue.state[r] = _NOWHERE
        r = following
    _release(agenda, queue, head, now, totals)


@compiled
def withdraw(agenda: Agenda, queue: Queue, r: int, now: float, totals: Reals) -> int:
    """Drop request ``r``: 0 if it waited, 1 if it was served, 2 if it was done already."""
    state = queue.state[r]
    if state == _DONE:
        return 2
    if state != _IN_SERVICE:
        queue.state[r] = _NOWHERE
        queue.stamp[r] += 1
        return 0
    queue.state[r] = _DROPPED
    head = member = queue.leader[r]
    while member >= 0:
        if queue.state[member] == _IN_SERVICE:
            # A batch goes on as long as anybody waits for it.
            return 1
        member = queue.follower[member]
    member = head
    while member >= 0:
        queue.state[member] = _NOWHERE
        member = queue.follower[member]
    queue.stamp[head] += 1
    _release(agenda, queue, head, now, totals)
    return 1


@inlined
def _serve(agenda: Agenda, queue: Queue, head: int, now: float) -> None:
    """Begin with a request and those that hang on it."""
    own, shared = 0.0, 0.0
    r, size = head, 0
    while r >= 0:
        queue.state[r] = _IN_SERVICE
        queue.leader[r] = head
        queue.start_s[r] = now
        own += queue.own_s[r]
        shared = max(shared, queue.shared_s[r])
        size += 1
        r = queue.follower[r]
    queue.size[head] = size
    r = head
    while r >= 0:
        if queue.share[r] < 1.0:
            c = r % queue.numbers[_NUM_CLIENTS]
            fails = now + queue.share[r] * (own + shared)
            push(agenda, fails, 2 * c + 3, STOP, c, queue.serial[r])
        r = queue.follower[r]
    push(agenda, now + (own + shared), 0, SERVED, head, queue.stamp[head])


@inlined
def _release(agenda: Agenda, queue: Queue, head: int, now: float, totals: Reals) -> None:
    """Note a service's time and give its accelerator to those who wait."""
    totals[_SERVED_S] += max(0.0, now - queue.start_s[head])
    first = last = np.int64(-1)
    size = 0
    entries, _, waiting = queue.waiting
    while waiting[0] > 0 and size < queue.numbers[_MAX_BATCH]:
        r, stamp = entries[0, 3], entries[0, 4]
        pop(queue.waiting)
        if queue.state[r] != _WAITING or queue.stamp[r] != stamp:
            continue
        if first < 0:
            first = r
        else:
            queue.follower[last] = r
        last = r
        size += 1
    if first < 0:
        queue.numbers[_FREE] += 1
    else:
        _serve(agenda, queue, first, now)
