"""What the server knows where there are no common rounds: slots, versions, the buffer."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.records import Integers, Reals, Records, layout

__all__ = [
    "AGGREGATE",
    "AGGREGATED",
    "ARRIVAL",
    "COMING",
    "CONTRIBUTION",
    "ITERATION",
    "SERVER",
    "WINDOW",
    "ClientSet",
    "FreeState",
    "client_set",
]

#: Kinds of events, behind those of every policy.
AGGREGATE, AGGREGATED, WINDOW, ARRIVAL = range(9, 13)

#: The server: what it is doing, what it has counted since the last version, and its policy.
SERVER: Final = layout(
    [
        "num_free",
        "num_picks",
        "num_running",
        "version",
        "is_aggregating",
        "awaits_arrival",
        "is_starving",
        "needs_fill",
        "losses_in_row",
        "num_asked",
        "num_late",
        "num_lost",
        "head",
        "tail",
        "is_buffered",
        "num_legs",
        "max_staleness",
        "buffer_size",
        "is_fastest_first",
    ]
)
#: A client's iteration: the version on which it works; its group; whether it has contributed, or
#: never will, which is known by then; the client's place by speed; the iteration in column 0 of
#: what is drawn ahead; when it began [s]; the client's slowdown.
ITERATION: Final = layout(
    ["version", "group", "has_contributed", "speed_place", "first_drawn"], ["start_s", "slowdown"]
)
#: A contribution that waits, with the factor on its computing [s].
CONTRIBUTION: Final = layout(["client", "version"], ["factor", "start_s", "end_s"])
#: Who comes, and when [s].
COMING: Final = layout(["client"], ["time_s"])


class ClientSet(NamedTuple):
    """A set of clients that is listed, joined and left in no time.

    Attributes
    ----------
    member : ndarray of int64, shape (n,)
        The first so many are in it.
    place : ndarray of int64, shape (n,)
        Of each client in ``member``; -1 where it is not in it.
    length : ndarray of int64, shape (1,)
    """

    member: Integers
    place: Integers
    length: Integers


class FreeState(NamedTuple):
    """State of a server whose clients work each at its own pace.

    Attributes
    ----------
    server : ndarray of SERVER, shape (1,)
    iterations : ndarray of ITERATION, shape (n,)
    idle, fresh : ClientSet
        Who has no work; who became idle or came since nobody could be found.
    by_speed : ndarray of int64, shape (n,)
        Clients from the fastest on.
    coming : ndarray of COMING, shape (k,)
        By time.
    factor : ndarray, shape (n, B)
        On computing; no column where nothing is drawn.
    failure_s : ndarray, shape (attempts, n, B)
        Of an attempt's work ahead of its failure [s].
    alone_s : ndarray, shape (n, B)
        What the first leg takes alone [s].
    buffer : ndarray of CONTRIBUTION
        From ``head`` to ``tail``.
    buffer_spent : ndarray of SPENT, shape (?, labels)
    candidate_key : ndarray of uint64, shape (1,)
    """

    server: Records
    iterations: Records
    idle: ClientSet
    fresh: ClientSet
    by_speed: Integers
    coming: Records
    factor: Reals
    failure_s: Reals
    alone_s: Reals
    buffer: Records
    buffer_spent: Records
    candidate_key: NDArray[np.uint64]


def client_set(num_clients: int, *, is_full: bool) -> ClientSet:
    """Everybody, or nobody."""
    everybody = np.arange(num_clients)
    place = everybody if is_full else np.full(num_clients, -1)
    length = np.array([num_clients if is_full else 0], dtype=np.int64)
    return ClientSet(everybody.copy(), place, length)
