"""What a link knows: its flows as columns, its queues, sets and heaps, and its clock.

Columns and not records, for a million flows are read one figure at a time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CAPPED",
    "CAPPED_SIDE",
    "HEAPED",
    "LINK_STATE",
    "MAX_LANES",
    "OUT",
    "PAUSED",
    "QUEUED",
    "SHARED_SIDE",
    "FlowLink",
    "Flows",
    "Heaps",
    "Queues",
    "Sets",
]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

#: Sizes with a queue of their own; flows of others go through a heap.
MAX_LANES: Final = 8
#: Where a flow is: nowhere, in its size's queue, in the shared side's heap, on the capped side, or
#: without any rate.
OUT: Final = 0
QUEUED: Final = 1
HEAPED: Final = 2
CAPPED: Final = 3
PAUSED: Final = 4
#: The two heaps.
SHARED_SIDE: Final = 0
CAPPED_SIDE: Final = 1

#: One record a link: its clock [s]; the virtual service, of which every shared flow has had the
#: same [B]; the level [B/s]; the sum of the capped flows' rates and a lower bound of the shared
#: ones' [B/s]; what the link carries [B/s]; and how many flows are on each side.
LINK_STATE: Final = np.dtype(
    [
        ("now_s", np.float64),
        ("service", np.float64),
        ("level", np.float64),
        ("capped_rate", np.float64),
        ("least_rate", np.float64),
        ("capacity", np.float64),
        ("num_shared", np.int64),
        ("num_capped", np.int64),
    ],
    align=True,
)


class Flows(NamedTuple):
    """Flows by number.

    Attributes
    ----------
    where : ndarray of int8, shape (n,)
    due : ndarray, shape (n,)
        The finish tag of a shared flow [B], the end of a capped one [s], and what a paused one has
        still to send [B].
    size, rate : ndarray, shape (n,)
        [B], [B/s].
    rank, by_rank : ndarray of int64, shape (n,)
        By rate, ascending.
    """

    where: NDArray[np.int8]
    due: Reals
    size: Reals
    rate: Reals
    rank: Integers
    by_rank: Integers


class Queues(NamedTuple):
    """Shared flows of the same size, in order of arrival.

    Attributes
    ----------
    follower : ndarray of int64, shape (n,)
    head, tail : ndarray of int64, shape (MAX_LANES,)
    lane : ndarray of int64, shape (n,)
        Queue of each flow, or -1.
    """

    follower: Integers
    head: Integers
    tail: Integers
    lane: Integers


class Sets(NamedTuple):
    """Ranks of the flows of each side; see :mod:`fedsim.scale.link.rank_set`.

    Attributes
    ----------
    starts : ndarray of int64
        Of the levels.
    shared, capped : ndarray of uint64
    """

    starts: Integers
    shared: Words
    capped: Words


class Heaps(NamedTuple):
    """Flows of each side by when they are due, with entries that may be out of date.

    Attributes
    ----------
    keys : ndarray, shape (2, k)
    members : ndarray of int64, shape (2, k)
    lengths : ndarray of int64, shape (2,)
    """

    keys: Reals
    members: Integers
    lengths: Integers


class FlowLink(NamedTuple):
    """One resource that flows share, max-min.

    Attributes
    ----------
    flows : Flows
    queues : Queues
    sets : Sets
    heaps : Heaps
    state : ndarray of LINK_STATE, shape (1,)
    """

    flows: Flows
    queues: Queues
    sets: Sets
    heaps: Heaps
    state: NDArray[np.void]
