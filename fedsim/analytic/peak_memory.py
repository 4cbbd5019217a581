"""Peak memory of a client and of the server in one round.

What they compute on, and what waits beside it: logits of the public set in KD-FedLLM, copies of the
server-side model in Split V1, contributions that have arrived. Sums of the exact categories of
:mod:`fedsim.protocol.memory` and of estimates; buffers of the network stack are left out.
"""

from __future__ import annotations

from math import prod

from fedsim.protocol.memory import (
    AVERAGING_BYTES,
    knowledge_bytes,
    peak_memory_bytes,
    weights_bytes,
)
from fedsim.protocol.operation import Content, Part
from fedsim.protocol.parameters import num_trainable
from fedsim.protocol.payload import Payload
from fedsim.protocol.privacy import MASKED, masked_values
from fedsim.protocol.step import (
    Compute,
    Direction,
    Gather,
    Protocol,
    Site,
    Transfer,
    leaf_steps,
)
from fedsim.spec.dtype import dtype_bytes
from fedsim.spec.plan import ClientPlan

__all__ = ["client_peak_bytes", "server_peak_bytes"]


def client_peak_bytes(protocol: Protocol, plan: ClientPlan) -> int:
    """Peak memory of one client [B]."""
    peak = _computing_bytes(protocol, plan, Site.CLIENT)
    if _uploaded(protocol, Content.LOGITS) is not None:
        peak += knowledge_bytes(plan)[0]
    return peak


def server_peak_bytes(protocol: Protocol, plan: ClientPlan, num_clients: int) -> int:
    """Peak memory of the server [B].

    Parameters
    ----------
    protocol : Protocol
    plan : ClientPlan
        The server's.
    num_clients : int
        Clients whose contributions it holds at once.
    """
    peak = _computing_bytes(protocol, plan, Site.SERVER)
    if _uploaded(protocol, Content.LOGITS) is not None:
        training, averaging = knowledge_bytes(plan, num_clients)
        whole = Part.whole(plan.training.model.num_layers)
        return max(peak + training, weights_bytes(plan.training, whole) + averaging)
    if plan.cut is not None and plan.server_variant == "v1":
        # One server-side copy of what is trained, with its optimizer state, for every other client.
        above = Part.above(plan.cut.position, plan.training.model.num_layers)
        values = num_trainable(plan.training, above)
        per_copy = 4 * values * (3 if plan.training.optimizer == "adam" else 1)
        peak += (num_clients - 1) * per_copy
    uploaded = _uploaded(protocol, Content.ADAPTERS)
    if uploaded is None:
        return peak
    received = num_clients * uploaded.payload_bytes
    if peak:
        return peak + received
    largest = max(prod(tensor.shape) for tensor in uploaded.tensors)
    plain_bytes = uploaded.payload_bytes
    if uploaded.content is Content.MASKED_ADAPTERS:
        # Packed bytes; their sum is one long vector of so many values.
        largest = masked_values(protocol)
        plain_bytes = largest * dtype_bytes(plan.training.numerics.payload_dtype)
    # The global parameters and their new averages stand beside what was received.
    return received + 2 * plain_bytes + AVERAGING_BYTES * largest


def _computing_bytes(protocol: Protocol, plan: ClientPlan, site: Site) -> int:
    peak = 0
    seen: set[object] = set()
    for segment in protocol.round:
        if isinstance(segment, Gather):
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
