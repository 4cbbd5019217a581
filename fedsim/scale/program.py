"""A segment flattened into numbers: what the kernels read instead of a protocol.

A stage is one step of the protocol, a block some stages that are gone through several times.
Repeats within repeats are unrolled from the outside until one level is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from fedsim.cost.duration import (
    operation_seconds,
    pack_seconds,
    request_seconds,
    unpack_seconds,
)
from fedsim.protocol.step import Compute, Direction, Repeat, Site, Step, Transfer
from fedsim.spec.device import DeviceSpec
from fedsim.spec.plan import TrainingSpec

__all__ = ["Block", "Kind", "Program", "Stage", "program"]


class Kind(IntEnum):
    """What a stage asks for."""

    CLIENT = 0
    UP = 1
    DOWN = 2
    REQUEST = 3


@dataclass(frozen=True, slots=True)
class Stage:
    """One step, at slowdown and round factor 1.

    Attributes
    ----------
    step : Compute or Transfer
    kind : Kind
    times : int
        Executions in a row, without anything between them; 1 unless the client computes alone.
    client_s : float
        Of one execution, or of packing or unpacking [s].
    server_s : float
        Of packing or unpacking; a request's own part [s].
    shared_s : float
        What requests in one batch pay once [s].
    message_bytes, payload_bytes : int
    """

    step: Compute | Transfer
    kind: Kind
    times: int = 1
    client_s: float = 0.0
    server_s: float = 0.0
    shared_s: float = 0.0
    message_bytes: int = 0
    payload_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """Stages ``first`` to ``stop`` (exclusive), gone through ``times`` times."""

    first: int
    stop: int
    times: int


@dataclass(frozen=True, slots=True)
class Program:
    """A segment's stages in order and the blocks that cover them.

    Attributes
    ----------
    stages : tuple of Stage
    blocks : tuple of Block
        Each stage belongs to one.
    distinct : tuple of (Compute or Transfer)
        Different steps: thousands of batches are few of them.
    distinct_of : tuple of int
        Of each stage, the place of its step in ``distinct``.
    """

    stages: tuple[Stage, ...]
    blocks: tuple[Block, ...]
    distinct: tuple[Compute | Transfer, ...]
    distinct_of: tuple[int, ...]

    @property
    def is_straight(self) -> bool:
        """Whether every shared resource is visited at most once, so that none feeds back."""
        visited = [s.kind for s in self.stages if s.kind is not Kind.CLIENT]
        repeats = any(
            block.times > 1 and self.stages[i].kind is not Kind.CLIENT
            for block in self.blocks
            for i in range(block.first, block.stop)
        )
        return not repeats and len(visited) == len(set(visited)) and Kind.REQUEST not in visited


@lru_cache(maxsize=65536)
def program(
    steps: tuple[Step, ...], training: TrainingSpec, client: DeviceSpec, server: DeviceSpec
) -> Program:
    """Flatten the steps of an ``Each`` for the clients of one group."""
    stages: list[Stage] = []
    blocks: list[Block] = []
    for times, body in _flat(steps):
        first = len(stages)
        stages.extend(
            stage
            for number, step in body
            if (stage := _stage(step, number, training, client, server)) is not None
        )
        if len(stages) > first:
            blocks.append(Block(first, len(stages), times))
    places: dict[Compute | Transfer, int] = {}
    distinct_of = tuple(places.setdefault(stage.step, len(places)) for stage in stages)
    return Program(tuple(stages), tuple(blocks), tuple(places), distinct_of)


_Body = list[tuple[int, Compute | Transfer]]


def _flat(steps: tuple[Step, ...]) -> Iterator[tuple[int, _Body]]:
    """Blocks of steps, each step with how often it runs in a row."""
    body: _Body = []
    for step in steps:
        if not isinstance(step, Repeat):
            body.append((1, step))
            continue
        alone = _alone(step)
        if alone is not None:
            body.append(alone)
            continue
        if body:
            yield 1, body
            body = []
        inner = list(_flat(step.steps))
        if len(inner) == 1 and inner[0][0] == 1:
            yield step.times, inner[0][1]
        else:
            for _ in range(step.times):
                yield from inner
    if body:
        yield 1, body


def _alone(step: Repeat) -> tuple[int, Compute] | None:
    """A repeat of one thing that a client computes is one stretch of computing."""
    match step.steps:
        case (Compute(site=Site.CLIENT) as compute,):
            return step.times, compute
        case _:
            return None


def _stage(
    step: Compute | Transfer,
    times: int,
    training: TrainingSpec,
    client: DeviceSpec,
    server: DeviceSpec,
) -> Stage | None:
    if isinstance(step, Compute):
        if step.site is Site.CLIENT:
            seconds = operation_seconds(step.operation, training, client)
            return Stage(step, Kind.CLIENT, times, client_s=seconds)
        own, shared = request_seconds(step.operation, training, server)
        return Stage(step, Kind.REQUEST, server_s=own, shared_s=shared)
    if step.payload.message_bytes == 0:
        return None
    is_up = step.direction is Direction.UP
    write, read = (client, server) if is_up else (server, client)
    packing, unpacking = pack_seconds(step.payload, write), unpack_seconds(step.payload, read)
    return Stage(
        step,
        Kind.UP if is_up else Kind.DOWN,
        client_s=packing if is_up else unpacking,
        server_s=unpacking if is_up else packing,
        message_bytes=step.payload.message_bytes,
        payload_bytes=step.payload.payload_bytes,
    )
