"""The executing interpreter for clients that step together: one pass computes a step for all.

Reads the same protocols as :class:`fedsim.runtime.executor.Executor` and fills the same rows.
Messages, averages and whatever is not a pass through the network are that interpreter's own;
between the segments of a round all parameters are where it expects them, in the clients' and the
server's trainers. What is new is only who computes: clients whose next step is of one kind take it
in one pass. Counts of FLOP are not metered here, for a pass computes less than its steps count (see
:mod:`fedsim.runtime.cohort.network`), and seconds of a pass are shared out by tokens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from fedsim.ledger import SERVER, LedgerRow, RowKey
from fedsim.protocol.operation import (
    BackwardFromCut,
    Content,
    Distill,
    ForwardToCut,
    InferLogits,
    Train,
    TrainAboveCut,
)
from fedsim.protocol.step import (
    Compute,
    Direction,
    Protocol,
    Step,
    Transfer,
)
from fedsim.runtime.cohort.client import CohortClient
from fedsim.runtime.cohort.cohort_trainer import CohortTrainer
from fedsim.runtime.cohort.network import CohortNetwork
from fedsim.runtime.cohort.turns import (
    Turn,
    check_goes_together,
    groups_of_tokens,
    lora_of,
    next_turn,
    unrolled,
)
from fedsim.runtime.executor import Executor
from fedsim.runtime.meter import metered
from fedsim.runtime.text_batch import TextBatch
from fedsim.runtime.trainer import Trainer

__all__ = ["CohortExecutor"]

_T = TypeVar("_T")


@dataclass
class CohortExecutor(Executor):
    """Runs protocols for a cohort of clients, many at once.

    Attributes
    ----------
    tokens_at_once : int
        Clients go through the network in groups of about so many tokens, which bounds the memory
        and changes no result.

    Raises
    ------
    ScenarioError
        If something is asked that only one client at a time can do, or counted FLOP.
    """

    tokens_at_once: int = 16_384
    slots: dict[str, int] = field(init=False)
    cohort: CohortTrainer = field(init=False)
    _global: CohortTrainer = field(init=False)

    def __post_init__(self) -> None:
        plans = [client.plan for client in self.clients.values()]
        check_goes_together(plans, counts_flop=self.counts_flop, tracks_memory=self.tracks_memory)
        trainer = self.server.trainer
        training, options = trainer.model.training, trainer.options
        network = CohortNetwork(trainer.model)
        assert training.lora is not None
        self.slots = {client_id: slot for slot, client_id in enumerate(sorted(self.clients))}
        members = [
            CohortClient(client_id, lora_of(self.clients[client_id].plan), options)
            for client_id in self.slots
        ]
        self.cohort = CohortTrainer(network, members, tokens_at_once=self.tokens_at_once)
        self._global = CohortTrainer(network, [CohortClient(SERVER, training.lora, options)])

    def run_round(
        self,
        round_index: int,
        protocols: Mapping[str, Protocol],
        server_protocol: Protocol | None = None,
    ) -> None:
        """One round; see :meth:`Executor.run_round`."""
        for client_id in self.clients:
            self._fetch(client_id, with_optimizer=True)
        self._fetch_global()
        self._global.load_optimizer(0, self.server.trainer.optimizer_tensors())
        for cohort in (self.cohort, self._global):
            cohort.begin_round(round_index)
        self.cohort.set_anchor()
        super().run_round(round_index, protocols, server_protocol)
        if self.server.trainer.options.optimizer_state == "keep":
            self._return_optimizers()

    # --- segments ----------------------------------------------------------------------------

    def _each(
        self,
        round_index: int,
        index: int,  # noqa: ARG002 - names torch's noise, of which a cohort has none
        programs: Mapping[str, tuple[Step, ...]],
    ) -> None:
        for group in groups_of_tokens(programs, self.tokens_at_once):
            left = {client_id: deque(unrolled(programs[client_id])) for client_id in group}
            for client_id in left:
                self._fetch(client_id)
            while any(left.values()):
                for client_id, steps in left.items():
                    while steps and isinstance(steps[0], Transfer):
                        self.send(round_index, client_id, steps.popleft())
                turn = next_turn(left)
                if turn:
                    self._take_turn(round_index, turn)
            for client_id in left:
                self._return(client_id)

    def _once(
        self,
        round_index: int,
        index: int,  # noqa: ARG002 - as above
        steps: tuple[Step, ...],
    ) -> None:
        self._fetch_global()
        for step in unrolled(steps):
            if isinstance(step, Compute) and step.operation.facts.is_model_pass:
                self._global_pass(round_index, step)
                continue
            # An average changes the global model behind the cohort's back.
            self._return_global()
            self._steps(round_index, SERVER, (step,))
            self._fetch_global()
        self._return_global()

    def send(self, round_index: int, client_id: str, step: Compute | Transfer) -> None:
        """Send a client's message, with parameters where its two ends look for them."""
        assert isinstance(step, Transfer)
        is_adapters = step.payload.content is Content.ADAPTERS
        if is_adapters:
            self._return(client_id)
        self._steps(round_index, client_id, (step,))
        if is_adapters and step.direction is Direction.DOWN:
            self.clients[client_id].take_adapters()
            self._fetch(client_id)
            self.cohort.set_anchor([self.slots[client_id]])

    # --- passes ------------------------------------------------------------------------------

    def _take_turn(self, round_index: int, turn: Turn) -> None:
        """One step of every client whose next one is of this kind."""
        match next(iter(turn.values())).operation:
            case Train():
                self._train(round_index, turn)
            case Distill():
                self._distill(round_index, turn)
            case InferLogits():
                self._infer(round_index, turn)
            case ForwardToCut():
                self._forward_to_cut(round_index, turn)
            case TrainAboveCut():
                self._train_above_cut(round_index, turn)
            case BackwardFromCut():
                self._backward_from_cut(round_index, turn)
            case _:
                for client_id, step in turn.items():
                    self._steps(round_index, client_id, (step,))

    def _forward_to_cut(self, round_index: int, turn: Turn) -> None:
        batches = {
            client_id: self.clients[client_id].next_batch(step.operation.batch.num_samples)
            for client_id, step in turn.items()
            if isinstance(step.operation, ForwardToCut)
        }
        with metered(self.device) as reading:
            found = self.cohort.forward_to_cut(self.by_slot(batches), self._cuts())
        for client_id, batch in batches.items():
            activations = found[self.slots[client_id]]
            assert activations is not None
            self.clients[client_id].show_activations(activations, batch)
        self.book(round_index, turn, batches, reading.seconds)

    def _train_above_cut(self, round_index: int, turn: Turn) -> None:
        activations, batches = {}, {}
        for client_id, step in turn.items():
            assert isinstance(step.operation, TrainAboveCut)
            received, batch = self.server.take_activations(client_id, step.operation)
            activations[client_id], batches[client_id] = received, batch
        with metered(self.device) as reading:
            found = self.cohort.train_above_cut(
                self.by_slot(activations),
                self.by_slot(batches),
                self._cuts(),
                is_update=self.updates(turn),
            )
        for client_id in turn:
            gradients = found[self.slots[client_id]]
            if gradients is None:
                self.cohort.forget_forward([self.slots[client_id]])
                self.clients[client_id].end_batch()
            else:
                self.server.show_gradients(client_id, gradients)
        self.book(round_index, turn, batches, reading.seconds)
        self.note_losses(round_index, turn, batches, self.cohort)

    def _backward_from_cut(self, round_index: int, turn: Turn) -> None:
        received = {client_id: self.clients[client_id].take_gradients() for client_id in turn}
        gradients = {client_id: own for client_id, (own, _) in received.items()}
        batches = {client_id: batch for client_id, (_, batch) in received.items()}
        with metered(self.device) as reading:
            self.cohort.backward_from_cut(self.by_slot(gradients), is_update=self.updates(turn))
        self.book(round_index, turn, batches, reading.seconds)

    def _cuts(self) -> list[int]:
        """By place in the cohort, half-blocks below the client's cut."""
        cuts = [self.clients[client_id].plan.cut for client_id in self.slots]
        return [0 if cut is None else cut.position for cut in cuts]

    def _train(self, round_index: int, turn: Turn) -> None:
        batches = {
            client_id: self.clients[client_id].next_batch(step.operation.batch.num_samples)
            for client_id, step in turn.items()
            if isinstance(step.operation, Train)
        }
        with metered(self.device) as reading:
            self.cohort.train(self.by_slot(batches), is_update=self.updates(turn))
        self.book(round_index, turn, batches, reading.seconds)
        self.note_losses(round_index, turn, batches, self.cohort)

    def _distill(self, round_index: int, turn: Turn) -> None:
        batches, teachers = {}, {}
        for client_id, step in turn.items():
            assert isinstance(step.operation, Distill)
            knowledge = self.clients[client_id].knowledge
            batch, teacher = knowledge.next_distillation(
                step.operation.batch.num_samples, self.device
            )
            batches[client_id], teachers[client_id] = batch, teacher
        with metered(self.device) as reading:
            self.cohort.distill(
                self._shared(batches), self.by_slot(teachers), is_update=self.updates(turn)
            )
        self.book(round_index, turn, batches, reading.seconds)
        self.note_losses(round_index, turn, batches, self.cohort)

    def _infer(self, round_index: int, turn: Turn) -> None:
        batches = {}
        for client_id, step in turn.items():
            assert isinstance(step.operation, InferLogits)
            knowledge = self.clients[client_id].knowledge
            batches[client_id] = knowledge.next_inference(
                step.operation.batch.num_samples, self.device
            )
        with metered(self.device) as reading:
            found = self.cohort.infer(self._shared(batches))
        for client_id in batches:
            logits = found[self.slots[client_id]]
            assert logits is not None
            self.clients[client_id].knowledge.keep(logits)
        self.book(round_index, turn, batches, reading.seconds)

    def _global_pass(self, round_index: int, step: Compute) -> None:
        """A pass of the global model over a public batch."""
        operation, knowledge = step.operation, self.server.knowledge
        if isinstance(operation, Distill):
            batch, teacher = knowledge.next_distillation(operation.batch.num_samples, self.device)
            with metered(self.device) as reading:
                self._global.distill([batch], [teacher], is_update=operation.is_update)
        else:
            assert isinstance(operation, InferLogits)
            batch = knowledge.next_inference(operation.batch.num_samples, self.device)
            with metered(self.device) as reading:
                (logits,) = self._global.infer([batch])
            assert logits is not None
            knowledge.keep(logits)
        turn, batches = {SERVER: step}, {SERVER: batch}
        self.book(round_index, turn, batches, reading.seconds)
        if isinstance(operation, Distill):
            self.note_losses(round_index, turn, batches, self._global)

    # --- books -------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the passes run."""
        return self.server.trainer.model.device

    def book(
        self, round_index: int, turn: Turn, batches: Mapping[str, TextBatch], seconds: float
    ) -> None:
        """A row for each party of a pass, which shares its seconds by tokens."""
        positions = {party: batch.num_positions for party, batch in batches.items()}
        total = sum(positions.values())
        for party, step in turn.items():
            row = LedgerRow(
                times=1,
                samples=batches[party].num_samples,
                tokens=positions[party],
                compute_s=seconds * positions[party] / total,
            )
            self.ledger.add(RowKey(round_index, party, step.label), row)
            if self.on_step is not None:
                self.on_step(round_index, party, step.label)

    def note_losses(
        self,
        round_index: int,
        turn: Turn,
        batches: Mapping[str, TextBatch],
        cohort: CohortTrainer,
    ) -> None:
        """Note each party's loss of a pass that has just been made."""
        if self.losses is None:
            return
        found = cohort.last_losses.tolist()
        for party, step in turn.items():
            loss = found[self.slots.get(party, 0)]
            num_samples = batches[party].num_samples
            self.losses.note(round_index, party, step.label, loss, num_samples)

    def by_slot(self, values: Mapping[str, _T]) -> list[_T | None]:
        """Values by the clients' places in the cohort."""
        return [values.get(client_id) for client_id in self.slots]

    def updates(self, turn: Turn) -> list[bool]:
        """By place in the cohort, whether a client's step ends with an update."""
        return [
            client_id in turn and bool(getattr(turn[client_id].operation, "is_update", False))
            for client_id in self.slots
        ]

    def _shared(self, batches: Mapping[str, TextBatch]) -> TextBatch | Sequence[TextBatch | None]:
        """One batch where all clients read the same, so that shared blocks see it once."""
        first = next(iter(batches.values()))
        is_shared = len(batches) == len(self.slots) and all(
            torch.equal(first.token_ids, other.token_ids)
            and torch.equal(first.last_index, other.last_index)
            for other in batches.values()
        )
        return first if is_shared else self.by_slot(batches)

    # --- whose parameters are where ----------------------------------------------------------

    def _trainers(self, client_id: str) -> list[Trainer]:
        """A client's own trainer, and the server's part for it where the model is cut."""
        client = self.clients[client_id]
        if client.plan.cut is None:
            return [client.trainer]
        # A tied language-model head is two matrices while cut; the client's goes last, and stays.
        return [self.server.server_side_trainer(client_id), client.trainer]

    def _fetch(self, client_id: str, *, with_optimizer: bool = False) -> None:
        """Take a client's parameters from the trainers."""
        slot = self.slots[client_id]
        for trainer in self._trainers(client_id):
            self.cohort.load(slot, trainer.adapters(with_head=True))
            if with_optimizer:
                self.cohort.load_optimizer(slot, trainer.optimizer_tensors())

    def _return(self, client_id: str) -> None:
        """Put a client's parameters where everybody else looks for them."""
        tensors = self.cohort.adapters(self.slots[client_id], with_head=True)
        for trainer in self._trainers(client_id):
            own = trainer.adapters(with_head=True)
            trainer.load({name: tensors[name] for name in own})

    def _fetch_global(self) -> None:
        self._global.load(0, self.server.trainer.adapters(with_head=True))

    def _return_global(self) -> None:
        self.server.trainer.load(self._global.adapters(0, with_head=True))

    def _return_optimizers(self) -> None:
        for client_id, slot in self.slots.items():
            state = self.cohort.optimizer_tensors(slot)
            for trainer in self._trainers(client_id):
                names = trainer.adapters(with_head=True)
                trainer.load_optimizer(
                    {key: t for key, t in state.items() if key.rpartition("/")[0] in names}
                )
        self.server.trainer.load_optimizer(self._global.optimizer_tensors(0))
