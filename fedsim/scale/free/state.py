"""What the server knows where there are no common rounds: slots, versions, the buffer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AGGREGATE",
    "AGGREGATED",
    "ARRIVAL",
    "ASKED",
    "AWAITS_ARRIVAL",
    "BUFFER_SIZE",
    "HEAD",
    "IS_AGGREGATING",
    "IS_BUFFERED",
    "IS_FASTEST_FIRST",
    "IS_STARVING",
    "LOSSES",
    "MAX_STALENESS",
    "NEEDS_FILL",
    "NUM_FREE",
    "NUM_FRESH",
    "NUM_IDLE",
    "NUM_LATE",
    "NUM_LEGS",
    "NUM_LOST",
    "NUM_PICKS",
    "NUM_REGISTERS",
    "NUM_RUNNING",
    "TAIL",
    "VERSION",
    "WINDOW",
    "Crowd",
    "Free",
    "crowd_of",
]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Kinds of events, behind those of every policy.
AGGREGATE, AGGREGATED, WINDOW, ARRIVAL = range(9, 13)
#: Registers of :attr:`Free.run`.
(
    NUM_FREE, NUM_PICKS, VERSION, IS_AGGREGATING, AWAITS_ARRIVAL, LOSSES, ASKED, NUM_LATE, NUM_LOST,
    HEAD, TAIL, IS_STARVING, NUM_IDLE, NUM_FRESH, NEEDS_FILL, IS_BUFFERED, NUM_LEGS, MAX_STALENESS,
    BUFFER_SIZE, IS_FASTEST_FIRST, NUM_RUNNING, NUM_REGISTERS,
) = range(22)  # fmt: skip


class Crowd(NamedTuple):
    """A set of clients that is listed, joined and left in no time.

    Attributes
    ----------
    member : ndarray of int64, shape (n,)
        The first so many are in it.
    place : ndarray of int64, shape (n,)
        Of each client in ``member``; -1 where it is not in it.
    """

    member: Integers
    place: Integers


class Free(NamedTuple):
    """State of a server whose clients work each at its own pace.

    Attributes
    ----------
    run : ndarray of int64, shape (NUM_REGISTERS,)
    version : ndarray of int64, shape (n,)
        On which a client works.
    start_s : ndarray, shape (n,)
        Of its iteration [s].
    variant : ndarray of int64, shape (n,)
    slowdown : ndarray, shape (n,)
    has_contributed : ndarray of int64, shape (n,)
        Or will never, which is known by then.
    idle, fresh : Crowd
        Who has no work; who became idle or came since nobody could be found.
    by_speed, speed_place : ndarray of int64, shape (n,)
        Clients from the fastest on, and each one's place there.
    arrival_s : ndarray, shape (k,)
        Sorted [s].
    arrival : ndarray of int64, shape (k,)
        Who comes.
    first_number : ndarray of int64, shape (n,)
        Iteration in column 0 of the drawn tables.
    factor : ndarray, shape (n, B)
        On computing; no column where nothing is drawn.
    failure_s : ndarray, shape (attempts, n, B)
        Of an attempt's work ahead of its failure [s].
    alone_s : ndarray, shape (n, B)
        What the first leg takes alone [s].
    entry : ndarray of int64, shape (?, 2)
        Client and version of contributions that wait.
    entry_s : ndarray, shape (?, 3)
        Factor; start and end [s].
    entry_sums : ndarray, shape (?, labels, 5)
    candidate_key : ndarray of uint64, shape (1,)
    """

    run: Integers
    version: Integers
    start_s: Reals
    variant: Integers
    slowdown: Reals
    has_contributed: Integers
    idle: Crowd
    fresh: Crowd
    by_speed: Integers
    speed_place: Integers
    arrival_s: Reals
    arrival: Integers
    first_number: Integers
    factor: Reals
    failure_s: Reals
    alone_s: Reals
    entry: Integers
    entry_s: Reals
    entry_sums: Reals
    candidate_key: NDArray[np.uint64]


def crowd_of(num_clients: int, *, is_full: bool) -> Crowd:
    """Everybody, or nobody."""
    everybody = np.arange(num_clients)
    return Crowd(everybody.copy(), everybody if is_full else np.full(num_clients, -1))
