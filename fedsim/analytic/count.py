"""Counted rows of a protocol, added up in closed form: bytes, messages, FLOPs, tokens."""

from __future__ import annotations

from fedsim.cost.step_row import step_row
from fedsim.ledger import SERVER, Ledger, RowKey
from fedsim.protocol.step import Gather, Once, Segment, leaf_steps
from fedsim.spec.plan import TrainingSpec

__all__ = ["count_client", "count_server"]


def count_client(
    ledger: Ledger,
    round_index: int,
    client_id: str,
    segments: tuple[Segment, ...],
    training: TrainingSpec,
) -> None:
    """Add what one client does, and what the server does for it, to ``ledger``."""
    for segment in segments:
        if isinstance(segment, (Gather, Once)):
            continue
        for times, step in leaf_steps(segment.steps):
            ledger.add(RowKey(round_index, client_id, step.label), step_row(step, times, training))


def count_server(
    ledger: Ledger, round_index: int, segments: tuple[Segment, ...], training: TrainingSpec
) -> None:
    """Add what the server does once a round to ``ledger``."""
    for segment in segments:
        if isinstance(segment, Once):
            for times, step in leaf_steps(segment.steps):
                ledger.add(RowKey(round_index, SERVER, step.label), step_row(step, times, training))
