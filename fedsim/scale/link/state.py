"""Where a link's figures stand: registers, places in a flow, shapes of its queues and sets."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CAPPED",
    "CAPPED_RATE",
    "CAPPED_SIDE",
    "HEAPED",
    "LEAST_RATE",
    "LEVEL",
    "MAX_LANES",
    "NOW",
    "NUM_CAPPED",
    "NUM_SHARED",
    "OUT",
    "PAUSED",
    "QUEUED",
    "SERVICE",
    "SHARED",
    "Queues",
    "Sets",
]

#: Sizes with a queue of their own; flows of others go through a heap.
MAX_LANES: Final = 8
#: Where a flow is: nowhere, in its size's queue, in the shared side's heap, on the capped side, or
#: without any rate.
OUT: Final = 0
QUEUED: Final = 1
HEAPED: Final = 2
CAPPED: Final = 3
PAUSED: Final = 4
#: Registers: clock [s], virtual service [B], level [B/s], sum of the capped rates [B/s], and a
#: lower bound of the shared flows' rates [B/s].
NOW: Final = 0
SERVICE: Final = 1
LEVEL: Final = 2
CAPPED_RATE: Final = 3
LEAST_RATE: Final = 4
#: Registers: numbers of flows on both sides.
NUM_SHARED: Final = 0
NUM_CAPPED: Final = 1
#: The two heaps; their lengths follow the two numbers above.
SHARED: Final = 0
CAPPED_SIDE: Final = 1

#: Follower of each flow; head and tail of each queue; queue of each flow, or -1.
Queues = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
#: Levels of the sets; ranks of the shared and of the capped flows.
Sets = tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]
