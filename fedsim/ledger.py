"""The answer that every interpreter fills: who did what, in which round, at what cost.

Counted things are integers and agree exactly between interpreters; timed things are float seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Final, Literal

__all__ = ["COUNTED", "SERVER", "SETUP_ROUND", "Ledger", "LedgerRow", "Outcome", "RowKey"]

SERVER: Final = "server"
#: The set-up stands ahead of round 1.
SETUP_ROUND: Final = 0

Outcome = Literal["used", "late", "lost"]


@dataclass(frozen=True, slots=True, order=True)
class RowKey:
    """Where a row belongs.

    Attributes
    ----------
    round_index : int
        From 1; 0 is the set-up.
    party : str
        A client's id, or ``server`` for what the server does once a round. What the server does for
        one client stands in that client's rows.
    step : str
        The article's step name.
    attempt : int
        From 0; a retry after a drop-out counts up.
    outcome : {"used", "late", "lost"}
        Whether the work came to anything.
    """

    round_index: int
    party: str
    step: str
    attempt: int = 0
    outcome: Outcome = "used"


@dataclass(slots=True)
class LedgerRow:
    """Sums over all executions of one step.

    Attributes
    ----------
    times : int
        Executions (mini-batches are summed).
    messages : int
    samples, tokens : int
        Samples and token positions (padding included) that were computed on.
    uplink_payload_bytes, downlink_payload_bytes : int
        Tensor data.
    uplink_message_bytes, downlink_message_bytes : int
        Serialized buffers.
    client_flop, server_flop : int
        Matrix FLOPs.
    start_s, compute_s, transfer_s, wait_s : float
        First start, and sums [s].
    server_s : float
        The server's share of ``compute_s`` [s].
    energy_j : float
    """

    times: int = 0
    messages: int = 0
    samples: int = 0
    tokens: int = 0
    uplink_payload_bytes: int = 0
    downlink_payload_bytes: int = 0
    uplink_message_bytes: int = 0
    downlink_message_bytes: int = 0
    client_flop: int = 0
    server_flop: int = 0
    start_s: float = 0.0
    compute_s: float = 0.0
    transfer_s: float = 0.0
    wait_s: float = 0.0
    server_s: float = 0.0
    energy_j: float = 0.0

    def add(self, other: LedgerRow) -> None:
        """Add another row's sums to this one's; the earlier start stays."""
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_SUMMED: Final = tuple(f.name for f in fields(LedgerRow) if f.name != "start_s")

#: The fields that interpreters must agree on to the last unit.
COUNTED: Final = (
    "times",
    "messages",
    "samples",
    "tokens",
    "uplink_payload_bytes",
    "downlink_payload_bytes",
    "uplink_message_bytes",
    "downlink_message_bytes",
    "client_flop",
    "server_flop",
)


@dataclass(slots=True)
class Ledger:
    """Rows by key, in order of first entry."""

    rows: dict[RowKey, LedgerRow] = field(default_factory=dict)

    def add(self, key: RowKey, row: LedgerRow) -> None:
        """Add ``row`` to what stands under ``key``."""
        if key in self.rows:
            self.rows[key].add(row)
        else:
            self.rows[key] = row

    def select(
        self, *, round_index: int | None = None, party: str | None = None, step: str | None = None
    ) -> Iterator[tuple[RowKey, LedgerRow]]:
        """Rows whose key has the given parts."""
        for key, row in self.rows.items():
            if round_index is not None and key.round_index != round_index:
                continue
            if party is not None and key.party != party:
                continue
            if step is not None and key.step != step:
                continue
            yield key, row

    def total(self, rows: Iterable[tuple[RowKey, LedgerRow]] | None = None) -> LedgerRow:
        """Sum of the given rows, of all by default."""
        total = LedgerRow()
        for _, row in self.rows.items() if rows is None else rows:
            total.add(row)
        return total

    def by_step(self) -> dict[str, LedgerRow]:
        """Sums over rounds and parties, by step in order of first appearance."""
        sums: dict[str, LedgerRow] = {}
        for key, row in self.rows.items():
            sums.setdefault(key.step, LedgerRow()).add(row)
        return sums
