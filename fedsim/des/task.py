"""A stretch of the protocol as one group's clients go through it, with its seconds worked out.

The protocol's words are read here once for all clients that share class and plan; a client adds its
own slowdown, rates and draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from fedsim.cost.duration import (
    operation_seconds,
    pack_seconds,
    request_seconds,
    unpack_seconds,
)
from fedsim.fleet.overlap import streamed_uploads
from fedsim.protocol.step import Compute, Direction, Repeat, Site, Step, Transfer
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import ClientClass
from fedsim.spec.link import LinkSpec
from fedsim.spec.plan import TrainingSpec

__all__ = [
    "Action",
    "ClientWork",
    "Loop",
    "ServerWork",
    "Stream",
    "Task",
    "TransferAction",
    "read_task",
]


@dataclass(frozen=True, slots=True)
class ClientWork:
    """The client computes ``times`` times in a row.

    Attributes
    ----------
    index : int
        Of the step in ``Task.steps``.
    times : int
    one_s : float
        Once, at slowdown and factor 1 [s].
    """

    index: int
    times: int
    one_s: float


@dataclass(frozen=True, slots=True)
class ServerWork:
    """A request to the accelerators.

    Attributes
    ----------
    index : int
    own_s, shared_s : float
        What a batch of requests pays for each, and once [s].
    """

    index: int
    own_s: float
    shared_s: float


@dataclass(frozen=True, slots=True)
class TransferAction:
    """A message that is not empty.

    Attributes
    ----------
    index : int
    is_up : bool
    client_s, server_s : float
        Packing at one end, unpacking at the other [s].
    message_bytes, payload_bytes : int
    wire_bytes : float
        With the link's framing [B].
    """

    index: int
    is_up: bool
    client_s: float
    server_s: float
    message_bytes: int
    payload_bytes: int
    wire_bytes: float


@dataclass(frozen=True, slots=True)
class Loop:
    """Actions gone through several times."""

    times: int
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """A message up whose flow begins when the client begins to compute what it carries.

    Attributes
    ----------
    works : tuple of ClientWork
        One after the other.
    message : TransferAction
    """

    works: tuple[ClientWork, ...]
    message: TransferAction


Action = ClientWork | ServerWork | TransferAction | Loop | Stream


@dataclass(frozen=True, slots=True)
class Task:
    """What a client of one group does in one segment.

    Attributes
    ----------
    actions : tuple of Action
    steps : tuple of Compute or Transfer
        In the order in which they stand in the protocol.
    training : TrainingSpec
    link : LinkSpec
        The class's.
    asks_server : bool
        Whether the accelerators take part.
    """

    actions: tuple[Action, ...]
    steps: tuple[Compute | Transfer, ...]
    training: TrainingSpec
    link: LinkSpec
    asks_server: bool


def read_task(
    steps: tuple[Step, ...],
    training: TrainingSpec,
    client_class: ClientClass,
    server: DeviceSpec,
    *,
    overlap: bool = False,
) -> Task:
    """Read the steps of an ``Each`` for one group."""
    reader = _Reader(training, client_class, server, overlap)
    actions = reader.read(steps)
    return Task(
        actions, tuple(reader.steps), training, client_class.link, asks_server=reader.asks_server
    )


class _Reader:
    def __init__(
        self,
        training: TrainingSpec,
        client_class: ClientClass,
        server: DeviceSpec,
        overlap: bool,
    ) -> None:
        self.overlap = overlap
        self.training = training
        self.client = client_class.device
        self.payload_fraction = client_class.link.payload_fraction
        self.server = server
        self.steps: list[Compute | Transfer] = []
        self.asks_server = False

    def read(self, steps: tuple[Step, ...]) -> tuple[Action, ...]:
        actions: list[Action] = []
        streams = streamed_uploads(steps) if self.overlap else {}
        place = 0
        while place < len(steps):
            if place in streams:
                actions.append(self._stream(steps[place : streams[place] + 1]))
                place = streams[place] + 1
                continue
            step = steps[place]
            place += 1
            match step:
                case Compute():
                    actions.append(self._compute(step))
                case Transfer():
                    if step.payload.message_bytes > 0:
                        actions.append(self._message(step))
                case Repeat(times, (Compute(site=Site.CLIENT) as compute,)):
                    actions.append(self._client_work(compute, times))
                case Repeat(times, body):
                    actions.append(Loop(times, self.read(body)))
                case _:
                    assert_never(step)
        return tuple(actions)

    def _stream(self, steps: tuple[Step, ...]) -> Stream:
        *works, message = self._read_plainly(steps)
        assert isinstance(message, TransferAction)
        return Stream(tuple(work for work in works if isinstance(work, ClientWork)), message)

    def _read_plainly(self, steps: tuple[Step, ...]) -> tuple[Action, ...]:
        overlap, self.overlap = self.overlap, False
        try:
            return self.read(steps)
        finally:
            self.overlap = overlap

    def _numbered(self, step: Compute | Transfer) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def _compute(self, step: Compute) -> Action:
        match step.site:
            case Site.CLIENT:
                return self._client_work(step, 1)
            case Site.SERVER:
                self.asks_server = True
                own_s, shared_s = request_seconds(step.operation, self.training, self.server)
                return ServerWork(self._numbered(step), own_s, shared_s)
            case _:
                assert_never(step.site)

    def _client_work(self, step: Compute, times: int) -> ClientWork:
        one_s = operation_seconds(step.operation, self.training, self.client)
        return ClientWork(self._numbered(step), times, one_s)

    def _message(self, step: Transfer) -> TransferAction:
        payload, is_up = step.payload, step.direction is Direction.UP
        sender, receiver = (self.client, self.server) if is_up else (self.server, self.client)
        packing_s, unpacking_s = pack_seconds(payload, sender), unpack_seconds(payload, receiver)
        return TransferAction(
            index=self._numbered(step),
            is_up=is_up,
            client_s=packing_s if is_up else unpacking_s,
            server_s=unpacking_s if is_up else packing_s,
            message_bytes=payload.message_bytes,
            payload_bytes=payload.payload_bytes,
            wire_bytes=payload.message_bytes / self.payload_fraction,
        )
