"""Tables of steps as Markdown, read off protocol values: label, site, operation, payload.

A payload's formula is the payload itself with its sizes written as letters, so it cannot differ
from what is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from docs_plans import LETTERS

from fedsim.cost.flop import operation_flop
from fedsim.protocol.operation import Operation
from fedsim.protocol.payload import Payload, TensorSpec
from fedsim.protocol.step import (
    Compute,
    Direction,
    Gather,
    Once,
    Protocol,
    Segment,
    Transfer,
    leaf_steps,
)
from fedsim.spec.dtype import dtype_bytes
from fedsim.spec.plan import ClientPlan

__all__ = ["step_table"]


def step_table(protocol: Protocol, plan: ClientPlan) -> str:
    """Every step of a protocol's set-up and round, in order."""
    lines = [
        "| step | who | times | what | payload or work, each |",
        "|---|---|---|---|---|",
    ]
    for is_setup, segments in ((True, protocol.setup), (False, protocol.round)):
        lines.extend(
            f"| {' | '.join(cells)} |" for cells in _rows(segments, plan, is_setup=is_setup)
        )
    return "\n".join(lines) + "\n"


def _rows(
    segments: Sequence[Segment], plan: ClientPlan, *, is_setup: bool
) -> Iterator[tuple[str, str, str, str, str]]:
    for segment in segments:
        if isinstance(segment, Gather):
            yield (
                f"*gather {segment.label}*",
                "server",
                "",
                "waits for the clients, as long as the policy says",
                "",
            )
            continue
        scope = "once" if isinstance(segment, Once) else "each client"
        for times, step in leaf_steps(segment.steps):
            label = f"`{step.label}`"
            repeated = "1" if times == 1 else f"{times} batches"
            match step:
                case Compute():
                    who = f"{step.site}, {scope}"
                    yield (label, who, repeated, _name(step.operation), _work(step, plan))
                case Transfer():
                    way = (
                        "server → client" if step.direction is Direction.DOWN else "client → server"
                    )
                    once = ", once ahead of round 1" if is_setup else ""
                    what = step.payload.content.replace("_", " ")
                    yield (label, way, repeated, f"{what}{once}", _payload(step.payload))


def _name(operation: Operation) -> str:
    part = getattr(operation, "part", None)
    where = "" if part is None else f" on half-blocks {part.start} to {part.stop - 1}"
    if part is not None and part.has_head:
        where += " and the head"
    return f"`{type(operation).__name__}`{where}"


def _work(step: Compute, plan: ClientPlan) -> str:
    flop = operation_flop(step.operation, plan.training)
    return f"{flop:,} FLOP" if flop else "no matrix product"


def _payload(payload: Payload) -> str:
    if not payload.tensors:
        return "empty"
    alike: dict[tuple[tuple[int, ...], str], list[TensorSpec]] = {}
    for tensor in payload.tensors:
        alike.setdefault((tensor.shape, tensor.dtype), []).append(tensor)
    if len(alike) > 5:
        return f"{len(payload.tensors)} tensors; {_sizes(payload)}"
    return f"{' + '.join(_term(tensors) for tensors in alike.values())}; {_sizes(payload)}"


def _sizes(payload: Payload) -> str:
    return f"{payload.payload_bytes:,} B payload, {payload.message_bytes:,} B message"


def _term(tensors: Sequence[TensorSpec]) -> str:
    first = tensors[0]
    size = " x ".join(LETTERS.get(n, str(n)) for n in first.shape)
    names = " and ".join(f"`{t.name.removeprefix('base_model.model.')}`" for t in tensors)
    what = names if len(tensors) <= 2 else f"{len(tensors)} tensors"
    return f"{what} of {size} x {dtype_bytes(first.dtype)} B"
