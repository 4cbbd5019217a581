"""One line for each round, window or model version, and what they become in the result."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.fleet.progress import Progress

__all__ = ["RoundLine", "Rounds", "RoundsLog"]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rounds:
    """One entry for each round, window or model version.

    Attributes
    ----------
    start_s, closed_s, end_s : ndarray
        Start of the clients' work, end of the (first) gathering, and end of everything [s].
    num_asked, num_used, num_late, num_lost : ndarray of int64
        Clients, by what became of their work. In modes without common rounds, contributions since
        the version before.
    compute_s, transfer_s : ndarray
        Along the critical path: the client that closed the gathering, the server, and the last
        client of what follows, each as if nobody else were there [s]. The rest is waiting.
    """

    start_s: Reals
    closed_s: Reals
    end_s: Reals
    num_asked: Integers
    num_used: Integers
    num_late: Integers
    num_lost: Integers
    compute_s: Reals
    transfer_s: Reals


@dataclass(slots=True)
class RoundLine:
    """One entry of :class:`Rounds`; see there."""

    start_s: float
    closed_s: float
    end_s: float
    num_asked: int
    num_used: int = 0
    num_late: int = 0
    num_lost: int = 0
    compute_s: float = 0.0
    transfer_s: float = 0.0

    def add(self, compute_s: float, transfer_s: float) -> None:
        """Lengthen the critical path."""
        self.compute_s += compute_s
        self.transfer_s += transfer_s


class RoundsLog:
    """Lines in order.

    Parameters
    ----------
    progress : Progress, optional
        Is told of each.

    Attributes
    ----------
    lines : list of RoundLine
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self.lines: list[RoundLine] = []
        self._progress = progress or Progress(None, 0)

    def add(self, line: RoundLine) -> None:
        """A round is over."""
        self.lines.append(line)
        self._progress.done(len(self.lines))

    def rounds(self) -> Rounds:
        """As arrays."""
        columns: dict[str, NDArray[Any]] = {}
        for field in fields(Rounds):
            dtype = np.int64 if field.name.startswith("num_") else np.float64
            columns[field.name] = np.array([getattr(x, field.name) for x in self.lines], dtype)
        return Rounds(**columns)
