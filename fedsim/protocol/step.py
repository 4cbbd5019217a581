"""The step language: the words in which every framework's protocol is written.

A protocol says *what happens*, in order. It holds no policy (how long the server waits is the
scenario's), no time and no randomness. All words are frozen, hashable and printable; interpreters
dispatch on them with ``match`` and ``assert_never``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from fedsim.protocol.operation import Content, ForwardToCut, Loss, Operation
from fedsim.protocol.payload import Payload
from fedsim.spec.message import Direction

__all__ = [
    "Compute",
    "Direction",
    "Each",
    "Gather",
    "Once",
    "Protocol",
    "Repeat",
    "Segment",
    "Site",
    "Step",
    "Transfer",
    "contents",
    "cuts_model",
    "has_exclusive_steps",
    "leaf_steps",
    "loss_steps",
    "step_labels",
]


class Site(StrEnum):
    """Where an operation runs."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Compute:
    """An operation at one site. At the server inside ``Each`` it queues with other clients'.

    Attributes
    ----------
    label : str
    site : Site
    operation : Operation
    is_exclusive : bool
        Whether it works on what all clients share at the server, so that those of different
        clients follow each other, however many accelerators there are.
    """

    label: str
    site: Site
    operation: Operation
    is_exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Transfer:
    """One message between a client and the server."""

    label: str
    direction: Direction
    payload: Payload


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same steps, ``times`` times in a row: mini-batches."""

    times: int
    steps: tuple[Step, ...]


Step = Compute | Transfer | Repeat


@dataclass(frozen=True, slots=True)
class Each:
    """Every client of the cohort runs these steps, independently of the others."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Gather:
    """The server collects what the clients sent under ``label``."""

    label: str


@dataclass(frozen=True, slots=True)
class Once:
    """The server runs these steps once for what was gathered."""

    steps: tuple[Step, ...]


Segment = Each | Gather | Once


@dataclass(frozen=True, slots=True)
class Protocol:
    """A framework's protocol for one plan.

    Attributes
    ----------
    name : str
        ``fedllm``, ``kd_fedllm``, ``split_fedllm`` or a user's own.
    setup : tuple of Segment
        Once, ahead of the first round: what a client must receive before it can take part.
    round : tuple of Segment
        One round.
    finish : tuple of Segment
        Once, after the last round.
    """

    name: str
    setup: tuple[Segment, ...]
    round: tuple[Segment, ...]
    finish: tuple[Segment, ...] = ()


def leaf_steps(steps: tuple[Step, ...], times: int = 1) -> Iterator[tuple[int, Compute | Transfer]]:
    """Computes and transfers in order, each with how often it runs in all."""
    for step in steps:
        if isinstance(step, Repeat):
            yield from leaf_steps(step.steps, times * step.times)
        else:
            yield times, step


def has_exclusive_steps(segments: tuple[Segment, ...]) -> bool:
    """Whether clients do anything that they can only do one after the other."""
    return any(
        isinstance(step, Compute) and step.is_exclusive
        for segment in segments
        if isinstance(segment, Each)
        for _, step in leaf_steps(segment.steps)
    )


def cuts_model(segments: tuple[Segment, ...]) -> bool:
    """Whether clients hold a part of the model and the server another."""
    return any(
        isinstance(step, Compute) and isinstance(step.operation, ForwardToCut)
        for segment in segments
        if isinstance(segment, Each)
        for _, step in leaf_steps(segment.steps)
    )


def contents(segments: tuple[Segment, ...]) -> frozenset[Content]:
    """What clients and server send each other; an empty payload is not sent."""
    return frozenset(
        step.payload.content
        for segment in segments
        if not isinstance(segment, Gather)
        for _, step in leaf_steps(segment.steps)
        if isinstance(step, Transfer) and step.payload.tensors
    )


def loss_steps(protocol: Protocol, loss: Loss) -> frozenset[str]:
    """Steps of a round that leave a value of a loss behind."""
    return frozenset(
        step.label
        for segment in protocol.round
        if not isinstance(segment, Gather)
        for _, step in leaf_steps(segment.steps)
        if isinstance(step, Compute) and step.operation.facts.loss is loss
    )


def step_labels(segments: tuple[Segment, ...]) -> tuple[str, ...]:
    """Step names in order of first appearance."""
    labels: dict[str, None] = {}
    for segment in segments:
        if isinstance(segment, Gather):
            continue
        for _, step in leaf_steps(segment.steps):
            labels.setdefault(step.label)
    return tuple(labels)
