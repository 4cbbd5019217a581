"""Why a client costs what it costs: the steps of its own protocol that take most.

Read off the protocol, so a framework or a payload of one's own is explained like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any, Final

from fedsim.cost.flop import operation_flop
from fedsim.cost.memory import peak_memory_bytes
from fedsim.protocol.operation import Content, ModelOperation
from fedsim.protocol.payload import Payload
from fedsim.protocol.step import (
    Compute,
    Gather,
    Protocol,
    Segment,
    Site,
    Transfer,
    leaf_steps,
)
from fedsim.spec.dtype import dtype_bytes
from fedsim.spec.plan import TrainingSpec

__all__ = ["why_table"]

#: Steps that take nearly as much as the largest are named with it: both ways of one exchange.
_NEARLY: Final = 0.9

_Leaf = tuple[int, Compute | Transfer]


def why_table(protocol: Protocol, training: TrainingSpec) -> dict[str, Any]:
    """The steps that take most of a client's round, and of what it receives once.

    Returns
    -------
    dict
        ``bytes`` and ``setup``: labels, contents, messages of each label, shape of the largest
        tensor of one message and how many tensors and values it has, bytes a value, and the
        share of all bytes. ``flop``: labels, half-blocks, samples and share. ``memory``: label,
        half-blocks and whether it trains. None where there is nothing.
    """
    return {
        "bytes": _messages(_leaves(protocol.round)),
        "setup": _messages(_leaves(protocol.setup)),
        "flop": _flop(_leaves(protocol.round), training),
        "memory": _memory(_leaves(protocol.round), training),
    }


def _leaves(segments: tuple[Segment, ...]) -> list[_Leaf]:
    return [
        leaf
        for segment in segments
        if not isinstance(segment, Gather)
        for leaf in leaf_steps(segment.steps)
    ]


def _messages(leaves: Iterable[_Leaf]) -> dict[str, Any] | None:
    # A label of several contents is several messages: each set-up message stands for itself.
    by_message: dict[tuple[str, Content], list[tuple[int, Payload]]] = {}
    for times, step in leaves:
        if isinstance(step, Transfer) and step.payload.tensors:
            key = step.label, step.payload.content
            by_message.setdefault(key, []).append((times, step.payload))
    num_bytes = {
        key: sum(times * payload.payload_bytes for times, payload in found)
        for key, found in by_message.items()
    }
    total = sum(num_bytes.values())
    if not total:
        return None
    most = max(num_bytes.values())
    keys = [key for key, amount in num_bytes.items() if amount >= _NEARLY * most]
    chosen = [payload for key in keys for _, payload in by_message[key]]
    one = max(chosen, key=lambda payload: payload.payload_bytes)
    largest = max(one.tensors, key=lambda tensor: tensor.num_bytes)
    return {
        "steps": list(dict.fromkeys(label for label, _ in keys)),
        "contents": list(dict.fromkeys(content.value for _, content in keys)),
        "num_messages": max(sum(times for times, _ in by_message[key]) for key in keys),
        "shape": list(largest.shape),
        "is_one_tensor": largest.num_bytes >= _NEARLY * one.payload_bytes,
        "num_tensors": len(one.tensors),
        "num_values": sum(prod(tensor.shape) for tensor in one.tensors),
        "value_bytes": dtype_bytes(largest.dtype),
        "share": sum(num_bytes[key] for key in keys) / total,
    }


def _flop(leaves: Iterable[_Leaf], training: TrainingSpec) -> dict[str, Any] | None:
    """Steps of a client on one part of the model and as many samples count together."""
    flop: dict[str, int] = {}
    samples: dict[str, int] = {}
    half_blocks: dict[str, int] = {}
    for times, step in leaves:
        if not isinstance(step, Compute) or step.site is not Site.CLIENT:
            continue
        label, operation = step.label, step.operation
        flop[label] = flop.get(label, 0) + times * operation_flop(operation, training)
        if isinstance(operation, ModelOperation):
            samples[label] = samples.get(label, 0) + times * operation.batch.num_samples
            part = operation.part
            half_blocks[label] = max(half_blocks.get(label, 0), part.stop - part.start)
    total = sum(flop.values())
    if not total:
        return None
    groups: dict[tuple[int, int], list[str]] = {}
    for label in flop:
        groups.setdefault((half_blocks.get(label, 0), samples.get(label, 0)), []).append(label)
    (halves, num_samples), labels = max(
        groups.items(), key=lambda item: sum(flop[label] for label in item[1])
    )
    return {
        "steps": labels,
        "half_blocks": halves,
        "num_samples": num_samples,
        "share": sum(flop[label] for label in labels) / total,
    }


def _memory(leaves: Iterable[_Leaf], training: TrainingSpec) -> dict[str, Any] | None:
    found = [
        (peak_memory_bytes(step.operation, training), step.label, step.operation)
        for _, step in leaves
        if isinstance(step, Compute) and step.site is Site.CLIENT
    ]
    if not found:
        return None
    peak, label, operation = max(found, key=lambda each: each[0])
    if not peak or not isinstance(operation, ModelOperation):
        return None
    return {
        "steps": [label],
        "half_blocks": operation.part.stop - operation.part.start,
        "is_training": operation.facts.backward,
    }
