"""A mini-batch of many clients across the cut: Split-FedLLM's steps c1 to c5 in one pass.

What an exchange consists of, where its messages stand in the pass, and whose seconds are whose.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from fedsim.errors import ProtocolError
from fedsim.protocol.operation import BackwardFromCut, Content, ForwardToCut, TrainAboveCut
from fedsim.protocol.step import Compute, Transfer
from fedsim.runtime.client import Client
from fedsim.runtime.cohort.cohort_trainer import CohortTrainer
from fedsim.runtime.cohort.cut_tap import CutTap
from fedsim.runtime.meter import synchronize
from fedsim.runtime.server import Server
from fedsim.runtime.text_batch import TextBatch

__all__ = ["CutBatch", "Steps", "Turn"]

Steps = deque[Compute | Transfer]
Turn = Mapping[str, Compute]


class Conductor(Protocol):
    """What an exchange needs of whoever runs the round."""

    clients: Mapping[str, Client]
    server: Server
    cohort: CohortTrainer
    slots: dict[str, int]

    @property
    def device(self) -> torch.device:
        """Where tensors are."""
        ...

    def send(self, round_index: int, client_id: str, step: Compute | Transfer) -> None:
        """Send a client's message."""
        ...

    def book(
        self, round_index: int, turn: Turn, batches: Mapping[str, TextBatch], seconds: float
    ) -> None:
        """Note what a pass for several clients took."""
        ...

    def note_losses(
        self,
        round_index: int,
        turn: Turn,
        batches: Mapping[str, TextBatch],
        trainer: CohortTrainer,
    ) -> None:
        """Note each client's loss."""
        ...

    def by_slot(self, values: Mapping[str, Any]) -> list[Any]:
        """Clients' values by their places in the cohort."""
        ...

    def updates(self, turn: Turn) -> list[bool]:
        """Whose step ends with an optimizer's, by place in the cohort."""
        ...


@dataclass
class CutBatch:
    """A mini-batch of all clients across the cut: steps c1 to c5 in one pass.

    The pass stops at the cut on its way forward and on its way back, where messages are sent and
    received for real; what goes on is what arrived, for a message's tensors are rounded ahead.
    """

    executor: Conductor
    round_index: int
    forward: Turn
    left: Mapping[str, Steps]
    batches: dict[str, TextBatch] = field(default_factory=dict)
    words: dict[str, list[Compute | Transfer]] = field(default_factory=dict)
    _marks: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Do all five steps, or the first three where a client trains nothing."""
        executor = self.executor
        for client_id, step in self.forward.items():
            client = executor.clients[client_id]
            assert isinstance(step.operation, ForwardToCut)
            self.batches[client_id] = client.next_batch(step.operation.batch.num_samples)
            self.words[client_id] = _words_behind(client_id, self.left[client_id])
        plan = next(iter(executor.clients.values())).plan
        assert plan.cut is not None
        dtype: torch.dtype = getattr(torch, plan.training.numerics.payload_dtype)
        cut = CutTap(plan.cut.position, dtype, self._send_up, self._send_down)
        steps = {client_id: self._step(client_id, 1) for client_id in self.words}
        self._mark()
        executor.cohort.train(
            executor.by_slot(self.batches), is_update=executor.updates(steps), cut=cut
        )
        self._mark()
        self._book(steps)

    def _step(self, client_id: str, place: int) -> Compute:
        found = self.words[client_id][place]
        assert isinstance(found, Compute)
        return found

    def _send_up(self, slot: int, activations: Tensor) -> None:
        client_id = self._client_id(slot)
        self._mark()
        client = self.executor.clients[client_id]
        client.show_activations(activations, self.batches[client_id])
        self.executor.send(self.round_index, client_id, self.words[client_id][0])
        self.executor.server.take_activations(client_id)
        self._mark()

    def _send_down(self, slot: int, gradients: Tensor) -> None:
        client_id = self._client_id(slot)
        self._mark()
        self.executor.server.show_gradients(client_id, gradients)
        self.executor.send(self.round_index, client_id, self.words[client_id][2])
        self._mark()

    def _client_id(self, slot: int) -> str:
        return list(self.executor.slots)[slot]

    def _mark(self) -> None:
        synchronize(self.executor.device)
        self._marks.append(time.perf_counter())

    def _book(self, server_steps: Turn) -> None:
        """Seconds between the messages: below the cut, above it, and below it again."""
        executor, num = self.executor, len(self.words)
        stretches = [
            stop - start for start, stop in zip(self._marks[::2], self._marks[1::2], strict=True)
        ]
        # A stretch ahead of every message, of which only the first of each direction is long.
        forward, above = sum(stretches[:num]), sum(stretches[num : 2 * num])
        backward = sum(stretches[2 * num :])
        executor.book(self.round_index, self.forward, self.batches, forward)
        executor.book(self.round_index, server_steps, self.batches, above)
        executor.note_losses(self.round_index, server_steps, self.batches, executor.cohort)
        if len(next(iter(self.words.values()))) > 2:
            steps = {client_id: self._step(client_id, 3) for client_id in self.words}
            executor.book(self.round_index, steps, self.batches, backward)
        for client_id in self.words:
            executor.clients[client_id].end_batch()


def _words_behind(client_id: str, steps: Steps) -> list[Compute | Transfer]:
    """The steps that follow a forward pass to the cut, taken off the client's list."""
    found = [steps.popleft() for _ in range(min(2, len(steps)))]
    is_known = (
        len(found) == 2
        and isinstance(found[0], Transfer)
        and isinstance(found[1], Compute)
        and isinstance(found[1].operation, TrainAboveCut)
    )
    following = steps[0] if steps else None
    if (
        is_known
        and isinstance(following, Transfer)
        and following.payload.content is Content.ACTIVATION_GRADIENTS
    ):
        found += [steps.popleft() for _ in range(min(2, len(steps)))]
        is_known = (
            len(found) == 4
            and isinstance(found[3], Compute)
            and isinstance(found[3].operation, BackwardFromCut)
        )
    if not is_known:
        raise ProtocolError(
            f"client {client_id}: a cohort crosses a cut as Split-FedLLM does (forward, "
            "activations up, training above the cut; then gradients down and backward, or "
            "neither); run this protocol in sequential mode."
        )
    return found
