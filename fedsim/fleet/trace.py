"""One stretch of a simulation as a trace shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim.ledger import Outcome

__all__ = ["TraceEvent", "TraceKind"]

TraceKind = Literal["compute", "transfer", "wait", "server"]


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """What somebody did from one moment to another.

    Attributes
    ----------
    round_index : int
        The round, or the client's own iteration where there are no common rounds; 0 is the set-up.
    party : str
        A client's id, or ``server`` for what the server does once for all.
    client_index : int
        -1 for the server.
    step : str
        The article's step name.
    attempt : int
        From 0.
    kind : {"compute", "transfer", "wait", "server"}
        The client computes, packing and unpacking included; a message is on its way, from startup
        to its arrival; a request waits; the server works, packing and unpacking included.
    start_s, end_s : float
        [s].
    num_bytes : int
        Message bytes that were sent, in events of kind "transfer".
    outcome : {"used", "late", "lost"}
        Of the attempt that it belongs to.
    """

    round_index: int
    party: str
    client_index: int
    step: str
    attempt: int
    kind: TraceKind
    start_s: float
    end_s: float
    num_bytes: int
    outcome: Outcome
