"""One line for each round, window or version, and what they become in the result."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.des.world import World
from fedsim.fleet.progress import Progress
from fedsim.fleet.simulation import Rounds

__all__ = ["RoundLine", "RoundsLog"]


@dataclass(slots=True)
class RoundLine:
    """One entry of :class:`fedsim.fleet.simulation.Rounds`; see there."""

    start_s: float
    closed_s: float
    end_s: float
    num_asked: int
    num_used: int
    num_late: int
    num_lost: int
    compute_s: float = 0.0
    transfer_s: float = 0.0

    def add_alone(self, world: World, segment: int, client: int, factor: float) -> None:
        """Add what a segment takes a client alone to the critical path."""
        parts = world.parts(segment)
        self.compute_s += float(parts.client_s[client] * factor + parts.server_s[client])
        self.transfer_s += float(parts.transfer_s[client] - parts.hidden(factor, client))


class RoundsLog:
    """Lines in order.

    Attributes
    ----------
    lines : list of RoundLine
    progress : Progress
        Is told of each.
    """

    def __init__(self) -> None:
        self.lines: list[RoundLine] = []
        self.progress = Progress(None, 0)

    def add(self, line: RoundLine) -> None:
        """A round is over."""
        self.lines.append(line)
        self.progress.done(len(self.lines))

    def rounds(self) -> Rounds:
        """As arrays."""
        columns: dict[str, NDArray[Any]] = {}
        for field in fields(Rounds):
            dtype = np.int64 if field.name.startswith("num_") else np.float64
            columns[field.name] = np.array([getattr(x, field.name) for x in self.lines], dtype)
        return Rounds(**columns)
