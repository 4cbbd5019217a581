"""Records: what kernels know of one thing, by name, in one place of memory.

numba reads numpy's structured arrays as C reads its structures: ``clients[c].phase`` is one load.
What is read one figure at a time for a million things stays a column of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Integers", "Reals", "Records", "layout"]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
#: A structured array; the layout stands where it is made.
Records = NDArray[np.void]


def layout(integers: Sequence[str], reals: Sequence[str] = ()) -> np.dtype[np.void]:
    """Layout of a record: names of its 64-bit integers, and of its 64-bit reals."""
    fields = [(name, np.int64) for name in integers] + [(name, np.float64) for name in reals]
    return np.dtype(fields, align=True)
