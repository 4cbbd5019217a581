"""A stretch of an attempt, kept until it is known what became of it."""

from __future__ import annotations

from typing import NamedTuple

from fedsim.fleet.trace import TraceEvent, TraceKind
from fedsim.ledger import Outcome
from fedsim.protocol.step import Compute, Transfer

__all__ = ["Note"]


class Note(NamedTuple):
    """What a client was at, and when.

    Attributes
    ----------
    kind : str
    place : int
        Of the step in the task.
    start_s, end_s : float
        [s].
    num_bytes : int
        That were sent.
    """

    kind: TraceKind
    place: int
    start_s: float
    end_s: float
    num_bytes: int

    def event(
        self,
        round_index: int,
        party: str,
        client_index: int,
        steps: tuple[Compute | Transfer, ...],
        attempt: int,
        outcome: Outcome,
    ) -> TraceEvent:
        """With whose it is and what became of it."""
        return TraceEvent(
            round_index=round_index,
            party=party,
            client_index=client_index,
            step=steps[self.place].label,
            attempt=attempt,
            kind=self.kind,
            start_s=self.start_s,
            end_s=self.end_s,
            num_bytes=self.num_bytes,
            outcome=outcome,
        )
