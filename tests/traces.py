"""Small traces for tests of reports: two rounds that anyone can draw on paper."""

from __future__ import annotations

from dataclasses import replace

from fedsim.fleet.trace import TraceEvent, TraceKind
from fedsim.ledger import Outcome

__all__ = ["BUFFERED", "ROUNDS", "event"]


def event(
    party: str,
    step: str,
    kind: TraceKind,
    start_s: float,
    end_s: float,
    *,
    index: int = 0,
    round_index: int = 1,
    attempt: int = 0,
    num_bytes: int = 0,
    outcome: Outcome = "used",
) -> TraceEvent:
    """One event, with what matters first."""
    return TraceEvent(
        round_index, party, index, step, attempt, kind, start_s, end_s, num_bytes, outcome
    )


def _round(round_index: int, start_s: float) -> list[TraceEvent]:
    """Of 11 s: one client is used, one comes too late, one fails and fails again."""
    at = start_s
    events = [
        event("fast/0", "a1", "compute", at, at + 4, index=0),
        event("fast/0", "a2", "transfer", at + 4, at + 10, index=0, num_bytes=600),
        event("slow/0", "a1", "compute", at, at + 9, index=1, outcome="late"),
        event("slow/0", "a2", "transfer", at + 9, at + 10, index=1, num_bytes=90, outcome="late"),
        event("slow/1", "a1", "compute", at, at + 2, index=2, outcome="lost"),
        event("slow/1", "a1", "compute", at + 3, at + 5, index=2, attempt=1, outcome="lost"),
        event("server", "a3", "server", at + 10, at + 11, index=-1),
    ]
    ordered = sorted(events, key=lambda e: (e.start_s, e.client_index))
    return [replace(e, round_index=round_index) for e in ordered]


#: Two rounds, one after the other.
ROUNDS = tuple(_round(1, 0.0) + _round(2, 11.0))

#: Two versions of a model, and clients whose iterations reach across both.
BUFFERED = (
    event("phone/0", "a1", "compute", 0, 8, index=0),
    event("phone/1", "a1", "compute", 0, 3, index=1),
    event("server", "a3", "server", 3, 4, index=-1),
    event("phone/1", "a1", "compute", 3, 9, index=1, round_index=2),
    event("server", "a3", "server", 9, 10, index=-1, round_index=2),
)
