"""Peak memory of a client and of the server in one round.

What they compute on, and what waits beside it: logits of the public set in KD-FedLLM, copies of the
server-side model in Split V1, contributions that have arrived. Sums of the exact categories of
:mod:`fedsim.cost.memory` and of estimates; buffers of the network stack are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedsim.cost.memory import (
    AVERAGING_BYTES,
    knowledge_bytes,
    peak_memory_bytes,
    weights_bytes,
)
from fedsim.protocol.operation import Content, Part, TrainAboveCut
from fedsim.protocol.parameters import num_trainable
from fedsim.protocol.payload import Payload
from fedsim.protocol.privacy import MASKED, masked_values
from fedsim.protocol.step import (
    Compute,
    Direction,
    Each,
    Gather,
    Once,
    Protocol,
    Site,
    Transfer,
    leaf_steps,
)
from fedsim.spec.dtype import dtype_bytes
from fedsim.spec.plan import ClientPlan

__all__ = ["Sender", "client_peak_bytes", "server_peak_bytes"]

#: Clients that may contribute: protocol and plan of one, and how many they are.
Sender = tuple[Protocol, ClientPlan, int]


def client_peak_bytes(protocol: Protocol, plan: ClientPlan) -> int:
    """Peak memory of one client [B]."""
    peak = _computing_bytes(protocol, plan, Site.CLIENT)
    if _uploaded(protocol, Content.LOGITS) is not None:
        peak += knowledge_bytes(plan)[0]
    return peak


def server_peak_bytes(
    protocol: Protocol,
    plan: ClientPlan,
    senders: Sequence[Sender],
    num_held: int | None = None,
) -> int:
    """Peak memory of the server [B].

    Parameters
    ----------
    protocol : Protocol
        Of the server's own plan.
    plan : ClientPlan
        The server's.
    senders : sequence of (Protocol, ClientPlan, int)
        Clients that may contribute: their plans, and how many have each.
    num_held : int, optional
        Clients whose contributions it holds at once, those that need most; all by default.
    """
    total = sum(count for *_, count in senders)
    num_held = total if num_held is None else min(num_held, total)
    once = _computing_bytes(protocol, plan, Site.SERVER, Once)
    if _uploaded(protocol, Content.LOGITS) is not None:
        whole = Part.whole(plan.training.model.num_layers)
        training, averaging = knowledge_bytes(plan, num_held)
        return max(once + training, weights_bytes(plan.training, whole) + averaging)
    # What the server computes for clients is in their own plans; a copy of each is held.
    copy = {id(p): _copy_bytes(p, own) for p, own, _ in senders}
    copies = _most([(copy[id(p)], count) for p, _, count in senders], num_held)
    peak = once
    for own_protocol, own, _ in senders:
        computing = _computing_bytes(own_protocol, own, Site.SERVER, Each)
        peak = max(peak, computing + max(0, copies - copy[id(own_protocol)]))
    sent: list[tuple[int, int]] = []
    largest = plain_bytes = 0
    for own_protocol, own, count in senders:
        payload = _uploaded(own_protocol, Content.ADAPTERS)
        if payload is not None:
            values, own_bytes = _averaged(payload, own_protocol, own)
            largest, plain_bytes = max(largest, values), max(plain_bytes, own_bytes)
            sent.append((payload.plain_bytes, count))
    received = _most(sent, num_held)
    if peak:
        return peak + received
    # The global parameters and their new averages stand beside what was received.
    return received + 2 * plain_bytes + AVERAGING_BYTES * largest


def _averaged(payload: Payload, protocol: Protocol, plan: ClientPlan) -> tuple[int, int]:
    """Values of the largest tensor that is averaged, and bytes of all of them [B]."""
    if payload.content is Content.MASKED_ADAPTERS:
        # Packed bytes; their sum is one long vector of so many values.
        values = masked_values(protocol)
        return values, values * dtype_bytes(plan.training.trained_dtype)
    return max(tensor.num_values for tensor in payload.plain_tensors), payload.plain_bytes


def _copy_bytes(protocol: Protocol, plan: ClientPlan) -> int:
    """A client's server-side copy of what is trained, with its optimizer state (Split V1)."""
    parts = {
        step.operation.part
        for segment in protocol.round
        if isinstance(segment, Each)
        for _, step in leaf_steps(segment.steps)
        if isinstance(step, Compute) and isinstance(step.operation, TrainAboveCut)
        if not step.is_exclusive
    }
    values = sum(num_trainable(plan.training, part) for part in parts)
    return 4 * values * (3 if plan.training.optimizer == "adam" else 1)


def _most(sizes: list[tuple[int, int]], num_held: int) -> int:
    """Bytes of so many of the largest, from (bytes of one, how many there are)."""
    total = 0
    for size, count in sorted(sizes, reverse=True):
        taken = min(count, num_held)
        total += size * taken
        num_held -= taken
    return total


def _computing_bytes(
    protocol: Protocol,
    plan: ClientPlan,
    site: Site,
    kinds: type[Each] | type[Once] | tuple[type, ...] = (Each, Once),
) -> int:
    peak = 0
    seen: set[object] = set()
    for segment in protocol.round:
        if isinstance(segment, Gather) or not isinstance(segment, kinds):
            continue
        for _, step in leaf_steps(segment.steps):
            if not isinstance(step, Compute) or step.site is not site or step.operation in seen:
                continue
            seen.add(step.operation)
            peak = max(peak, peak_memory_bytes(step.operation, plan.training))
    return peak


def _uploaded(protocol: Protocol, content: Content) -> Payload | None:
    """A client's uplink payload of a kind, plain or masked."""
    for segment in protocol.round:
        if isinstance(segment, Gather):
            continue
        for _, step in leaf_steps(segment.steps):
            if (
                isinstance(step, Transfer)
                and step.direction is Direction.UP
                and step.payload.content in (content, MASKED[content])
            ):
                return step.payload
    return None
