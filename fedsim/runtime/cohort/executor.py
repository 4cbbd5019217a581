"""The executing interpreter for clients that step together: one pass computes a step for all.

Reads the same protocols as :class:`fedsim.runtime.executor.Executor` and fills the same rows.
Messages, averages and whatever is not a pass through the network are that interpreter's own;
between the segments of a round all parameters are where it expects them, in the clients' and the
server's trainers. What is new is only who computes: clients whose next step is of one kind take it
in one pass. Counts of FLOP are not metered here, for a pass computes less than its steps count (see
:mod:`fedsim.runtime.cohort.network`), and seconds of a pass are shared out by tokens.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from fedsim.errors import ProtocolError, ScenarioError
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
from fedsim.protocol.step import Compute, Direction, Protocol, Repeat, Step, Transfer
from fedsim.runtime.cohort.client import CohortClient
from fedsim.runtime.cohort.cohort_trainer import CohortTrainer
from fedsim.runtime.cohort.cut_tap import CutTap
from fedsim.runtime.cohort.network import CohortNetwork
from fedsim.runtime.executor import Executor
from fedsim.runtime.meter import metered, synchronize
from fedsim.runtime.text_batch import TextBatch
from fedsim.runtime.trainer import Trainer

__all__ = ["CohortExecutor"]

_T = TypeVar("_T")
Steps = deque[Compute | Transfer]
Turn = Mapping[str, Compute]


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
    _slots: dict[str, int] = field(init=False)
    _cohort: CohortTrainer = field(init=False)
    _global: CohortTrainer = field(init=False)

    def __post_init__(self) -> None:
        self._check()
        trainer = self.server.trainer
        training, options = trainer.model.training, trainer.options
        network = CohortNetwork(trainer.model)
        assert training.lora is not None
        self._slots = {client_id: slot for slot, client_id in enumerate(sorted(self.clients))}
        members = [CohortClient(client_id, training.lora, options) for client_id in self._slots]
        self._cohort = CohortTrainer(network, members, tokens_at_once=self.tokens_at_once)
        self._global = CohortTrainer(network, [CohortClient(SERVER, training.lora, options)])

    def run_round(self, round_index: int, protocols: Mapping[str, Protocol]) -> None:
        """One round; see :meth:`Executor.run_round`."""
        for client_id in self.clients:
            self._fetch(client_id, with_optimizer=True)
        self._fetch_global()
        self._global.load_optimizer(0, self.server.trainer.optimizer_tensors())
        for cohort in (self._cohort, self._global):
            cohort.begin_round(round_index)
        self._cohort.set_anchor()
        super().run_round(round_index, protocols)
        if self.server.trainer.options.optimizer_state == "keep":
            self._return_optimizers()

    # --- segments ----------------------------------------------------------------------------

    def _each(
        self,
        round_index: int,
        index: int,  # noqa: ARG002 - names torch's noise, of which a cohort has none
        programs: Mapping[str, tuple[Step, ...]],
    ) -> None:
        left = {client_id: deque(_unrolled(steps)) for client_id, steps in programs.items()}
        for client_id in left:
            self._fetch(client_id)
        while any(left.values()):
            for client_id, steps in left.items():
                while steps and isinstance(steps[0], Transfer):
                    self._send(round_index, client_id, steps.popleft())
            turn = _next_turn(left)
            if turn:
                self._take_turn(round_index, turn, left)
        for client_id in left:
            self._return(client_id)

    def _once(
        self,
        round_index: int,
        index: int,  # noqa: ARG002 - as above
        steps: tuple[Step, ...],
    ) -> None:
        self._fetch_global()
        for step in _unrolled(steps):
            if isinstance(step, Compute) and isinstance(step.operation, (Distill, InferLogits)):
                self._global_pass(round_index, step)
                continue
            # An average changes the global model behind the cohort's back.
            self._return_global()
            self._steps(round_index, SERVER, (step,))
            self._fetch_global()
        self._return_global()

    def _send(self, round_index: int, client_id: str, step: Compute | Transfer) -> None:
        assert isinstance(step, Transfer)
        is_adapters = step.payload.content is Content.ADAPTERS
        if is_adapters:
            self._return(client_id)
        self._steps(round_index, client_id, (step,))
        if is_adapters and step.direction is Direction.DOWN:
            self.clients[client_id].take_adapters()
            self._fetch(client_id)
            self._cohort.set_anchor([self._slots[client_id]])

    # --- passes ------------------------------------------------------------------------------

    def _take_turn(self, round_index: int, turn: Turn, left: Mapping[str, Steps]) -> None:
        """One step of every client whose next one is of this kind."""
        match next(iter(turn.values())).operation:
            case Train():
                self._train(round_index, turn)
            case Distill():
                self._distill(round_index, turn)
            case InferLogits():
                self._infer(round_index, turn)
            case ForwardToCut():
                for group in self._groups(turn):
                    _Exchange(self, round_index, group, left).run()
            case _:
                for client_id, step in turn.items():
                    self._steps(round_index, client_id, (step,))

    def _groups(self, turn: Turn) -> Iterator[Turn]:
        """Clients that cross a cut together."""
        group: dict[str, Compute] = {}
        num_tokens = 0
        for client_id, step in turn.items():
            assert isinstance(step.operation, ForwardToCut)
            own = step.operation.batch.num_tokens
            if group and num_tokens + own > self.tokens_at_once:
                yield group
                group, num_tokens = {}, 0
            group[client_id] = step
            num_tokens += own
        if group:
            yield group

    def _train(self, round_index: int, turn: Turn) -> None:
        batches = {
            client_id: self.clients[client_id].next_batch(step.operation.batch.num_samples)
            for client_id, step in turn.items()
            if isinstance(step.operation, Train)
        }
        with metered(self.device) as reading:
            self._cohort.train(self._by_slot(batches), is_update=self._updates(turn))
        self._book(round_index, turn, batches, reading.seconds)
        self._note(round_index, turn, batches, self._cohort)

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
            self._cohort.distill(
                self._shared(batches), self._by_slot(teachers), is_update=self._updates(turn)
            )
        self._book(round_index, turn, batches, reading.seconds)
        self._note(round_index, turn, batches, self._cohort)

    def _infer(self, round_index: int, turn: Turn) -> None:
        batches = {}
        for client_id, step in turn.items():
            assert isinstance(step.operation, InferLogits)
            knowledge = self.clients[client_id].knowledge
            batches[client_id] = knowledge.next_inference(
                step.operation.batch.num_samples, self.device
            )
        with metered(self.device) as reading:
            found = self._cohort.infer(self._shared(batches))
        for client_id in batches:
            logits = found[self._slots[client_id]]
            assert logits is not None
            self.clients[client_id].knowledge.keep(logits)
        self._book(round_index, turn, batches, reading.seconds)

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
        self._book(round_index, turn, batches, reading.seconds)
        if isinstance(operation, Distill):
            self._note(round_index, turn, batches, self._global)

    # --- books -------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the passes run."""
        return self.server.trainer.model.device

    def _book(
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

    def _note(
        self,
        round_index: int,
        turn: Turn,
        batches: Mapping[str, TextBatch],
        cohort: CohortTrainer,
    ) -> None:
        if self.losses is None:
            return
        found = cohort.last_losses.tolist()
        for party, step in turn.items():
            loss = found[self._slots.get(party, 0)]
            num_samples = batches[party].num_samples
            self.losses.note(round_index, party, step.label, loss, num_samples)

    def _by_slot(self, values: Mapping[str, _T]) -> list[_T | None]:
        return [values.get(client_id) for client_id in self._slots]

    def _updates(self, turn: Turn) -> list[bool]:
        return [
            client_id in turn and bool(getattr(turn[client_id].operation, "is_update", False))
            for client_id in self._slots
        ]

    def _shared(self, batches: Mapping[str, TextBatch]) -> TextBatch | Sequence[TextBatch | None]:
        """One batch where all clients read the same, so that shared blocks see it once."""
        first = next(iter(batches.values()))
        is_shared = len(batches) == len(self._slots) and all(
            torch.equal(first.token_ids, other.token_ids)
            and torch.equal(first.last_index, other.last_index)
            for other in batches.values()
        )
        return first if is_shared else self._by_slot(batches)

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
        slot = self._slots[client_id]
        for trainer in self._trainers(client_id):
            self._cohort.load(slot, trainer.adapters(with_head=True))
            if with_optimizer:
                self._cohort.load_optimizer(slot, trainer.optimizer_tensors())

    def _return(self, client_id: str) -> None:
        """Put a client's parameters where everybody else looks for them."""
        tensors = self._cohort.adapters(self._slots[client_id], with_head=True)
        for trainer in self._trainers(client_id):
            own = trainer.adapters(with_head=True)
            trainer.load({name: tensors[name] for name in own})

    def _fetch_global(self) -> None:
        self._global.load(0, self.server.trainer.adapters(with_head=True))

    def _return_global(self) -> None:
        self.server.trainer.load(self._global.adapters(0, with_head=True))

    def _return_optimizers(self) -> None:
        for client_id, slot in self._slots.items():
            state = self._cohort.optimizer_tensors(slot)
            for trainer in self._trainers(client_id):
                names = trainer.adapters(with_head=True)
                trainer.load_optimizer(
                    {key: t for key, t in state.items() if key.rpartition("/")[0] in names}
                )
        self.server.trainer.load_optimizer(self._global.optimizer_tensors(0))

    def _check(self) -> None:
        plan = next(iter(self.clients.values())).plan
        wrong = []
        if self.counts_flop:
            wrong.append("counts FLOP (a pass computes less than its steps count)")
        if self.tracks_memory:
            wrong.append("tracks memory (it is shared by all)")
        if plan.cut is not None and plan.server_variant == "v2":
            wrong.append("server_variant = 'v2' (clients take turns at one server-side model)")
        if plan.train_epochs[0].padding != "none":
            wrong.append(f"padding = '{plan.train_epochs[0].padding}' (allowed: 'none')")
        if wrong:
            raise ScenarioError(
                f"cohort mode does not go with {'; '.join(wrong)}. Change that, or train one "
                "client after the other (sequential mode)."
            )


@dataclass
class _Exchange:
    """A mini-batch of all clients across the cut: steps c1 to c5 in one pass.

    The pass stops at the cut on its way forward and on its way back, where messages are sent and
    received for real; what goes on is what arrived, for a message's tensors are rounded ahead.
    """

    executor: CohortExecutor
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
        executor._cohort.train(
            executor._by_slot(self.batches), is_update=executor._updates(steps), cut=cut
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
        self.executor._steps(self.round_index, client_id, (self.words[client_id][0],))
        self.executor.server.take_activations(client_id)
        self._mark()

    def _send_down(self, slot: int, gradients: Tensor) -> None:
        client_id = self._client_id(slot)
        self._mark()
        self.executor.server.show_gradients(client_id, gradients)
        self.executor._steps(self.round_index, client_id, (self.words[client_id][2],))
        self._mark()

    def _client_id(self, slot: int) -> str:
        return list(self.executor._slots)[slot]

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
        executor._book(self.round_index, self.forward, self.batches, forward)
        executor._book(self.round_index, server_steps, self.batches, above)
        executor._note(self.round_index, server_steps, self.batches, executor._cohort)
        if len(next(iter(self.words.values()))) > 2:
            steps = {client_id: self._step(client_id, 3) for client_id in self.words}
            executor._book(self.round_index, steps, self.batches, backward)
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


def _next_turn(left: Mapping[str, Steps]) -> Turn:
    """The next steps of all clients whose next one is of the first one's kind, taken off."""
    waiting = {client_id: steps[0] for client_id, steps in left.items() if steps}
    heads = {cid: step for cid, step in waiting.items() if isinstance(step, Compute)}
    if not heads:
        return {}
    kind = type(next(iter(heads.values())).operation)
    turn = {cid: step for cid, step in heads.items() if type(step.operation) is kind}
    for client_id in turn:
        left[client_id].popleft()
    return turn


def _unrolled(steps: Sequence[Step]) -> Iterator[Compute | Transfer]:
    """Steps as often as they run."""
    for step in steps:
        if isinstance(step, Repeat):
            for _ in range(step.times):
                yield from _unrolled(step.steps)
        else:
            yield step
