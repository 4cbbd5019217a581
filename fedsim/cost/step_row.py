"""What one step adds to the ledger: bytes, messages, FLOPs, samples and tokens, all integers."""

from __future__ import annotations

from fedsim.cost.flop import operation_flop
from fedsim.ledger import LedgerRow
from fedsim.protocol.operation import ModelOperation, Operation
from fedsim.protocol.step import Compute, Direction, Site, Transfer
from fedsim.spec.plan import TrainingSpec

__all__ = ["step_row"]


def step_row(step: Compute | Transfer, times: int, training: TrainingSpec) -> LedgerRow:
    """Counted row of ``times`` executions of one step."""
    if isinstance(step, Transfer):
        return _transfer_row(step, times)
    flop = times * operation_flop(step.operation, training)
    samples, tokens = _batch_counts(step.operation)
    is_client = step.site is Site.CLIENT
    return LedgerRow(
        times=times,
        samples=times * samples,
        tokens=times * tokens,
        client_flop=flop if is_client else 0,
        server_flop=0 if is_client else flop,
    )


def _transfer_row(step: Transfer, times: int) -> LedgerRow:
    payload = times * step.payload.payload_bytes
    message = times * step.payload.message_bytes
    is_up = step.direction is Direction.UP
    return LedgerRow(
        times=times,
        messages=times,
        uplink_payload_bytes=payload if is_up else 0,
        downlink_payload_bytes=0 if is_up else payload,
        uplink_message_bytes=message if is_up else 0,
        downlink_message_bytes=0 if is_up else message,
    )


def _batch_counts(operation: Operation) -> tuple[int, int]:
    if not isinstance(operation, ModelOperation):
        return 0, 0
    return operation.batch.num_samples, operation.batch.num_tokens
