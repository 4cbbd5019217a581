"""A client of a real run: its data, its model, and what it does for each operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

import torch
from torch import Tensor

from fedsim.errors import ProtocolError
from fedsim.protocol.operation import (
    Aggregate,
    BackwardFromCut,
    Content,
    Distill,
    ForwardToCut,
    InferLogits,
    Operation,
    Part,
    PrivacyOperation,
    ProcessKnowledge,
    Replace,
    Train,
    TrainAboveCut,
)
from fedsim.runtime.coding import CodecMemories
from fedsim.runtime.cut_exchange import activation_message, unpack_tokens
from fedsim.runtime.knowledge import KnowledgeBuffer
from fedsim.runtime.state import StateRegistry, TrainerState
from fedsim.runtime.text_batch import TextBatch, TextSource, received_text
from fedsim.runtime.trainer import CutForward, Trainer
from fedsim.spec.plan import ClientPlan, TrainingSpec

__all__ = ["Client", "client_part", "in_trained_format"]


@dataclass
class Client:
    """One client.

    Attributes
    ----------
    client_id : str
    trainer : Trainer
        Of the whole model, or of the part below the cut.
    private : TextSource
        The rows that only this client has.
    public : TextSource or None
        The public data set, once it was received.
    plan : ClientPlan
        Of the current round.
    order : list of int
        Private rows in the order in which this round visits them, epochs one after the other.
    codecs : CodecMemories
        What codecs keep at this end.
    """

    client_id: str
    trainer: Trainer
    private: TextSource
    plan: ClientPlan
    public: TextSource | None = None
    order: list[int] = field(default_factory=list)
    codecs: CodecMemories = field(default_factory=CodecMemories)
    samples_seen: int = 0
    tokens_seen: int = 0
    _cursor: int = 0
    _waiting_adapters: dict[str, Tensor] = field(default_factory=dict)
    _knowledge: KnowledgeBuffer | None = None
    _forward: CutForward | None = None
    _activations: list[Tensor] | Tensor = field(default_factory=list)
    _batch: TextBatch | None = None
    _gradients: Tensor | None = None

    def begin_round(self, plan: ClientPlan, order: list[int]) -> None:
        """Start a round with a plan and an order of visiting."""
        self.plan, self.order, self._cursor = plan, order, 0
        if self.trainer.options.optimizer_state == "reset":
            self.trainer.reset_optimizer()
        self.trainer.set_anchor()

    def end_round(self) -> None:
        """Check that the round used every sample.

        Raises
        ------
        ProtocolError
            If the protocol asked for fewer samples than the round has.
        """
        left = len(self.order) - self._cursor
        if left or (self._knowledge is not None and not self._knowledge.is_complete):
            raise ProtocolError(
                f"client {self.client_id}: the protocol left {left} private samples of the round "
                "or part of the public set unused."
            )

    def execute(self, operation: Operation) -> None:
        """Do one operation of the protocol."""
        trainer = self.trainer
        if isinstance(operation, PrivacyOperation):
            raise ProtocolError(f"no client does {type(operation).__name__} in a real run.")
        self.take_adapters()
        match operation:
            case Train(is_update=is_update):
                trainer.train(self.next_batch(operation.batch.num_samples), is_update=is_update)
            case InferLogits():
                self.knowledge.infer(trainer, operation.batch.num_samples)
                self._saw(self.knowledge.last_batch)
            case Distill(is_update=is_update):
                self.knowledge.distill(trainer, operation.batch.num_samples, is_update=is_update)
                self._saw(self.knowledge.last_batch)
            case ForwardToCut():
                self._batch = self.next_batch(operation.batch.num_samples)
                self._forward = trainer.forward_to_cut(self._batch)
                self._activations = self._forward.outputs
            case BackwardFromCut(is_update=is_update):
                self._backward(is_update)
            case Replace():
                pass  # done above: received adapters are taken ahead of whatever comes next
            case TrainAboveCut() | Aggregate() | ProcessKnowledge():
                raise ProtocolError(f"{type(operation).__name__} is no client's operation.")
            case _:
                assert_never(operation)

    def enter_state(self, registry: StateRegistry) -> None:
        """Enter all that later rounds depend on."""
        registry.enter(f"client/{self.client_id}", TrainerState(self.trainer))
        registry.enter(f"codecs/client/{self.client_id}", self.codecs)

    @property
    def knowledge(self) -> KnowledgeBuffer:
        """Logits of the public data set, made and received."""
        if self._knowledge is None:
            if self.public is None:
                raise ProtocolError(f"client {self.client_id} has no public data set.")
            self._knowledge = KnowledgeBuffer(self.public, self.plan.training)
        return self._knowledge

    def outgoing(self, content: Content) -> dict[str, Tensor]:
        """Tensors of an uplink message, ahead of its codec."""
        match content:
            case Content.ADAPTERS:
                adapters = self.trainer.adapters(with_head=self.plan.shares_head)
                return in_trained_format(adapters, self.plan.training)
            case Content.LOGITS:
                return self.knowledge.message()
            case Content.ACTIVATIONS:
                assert self._batch is not None
                return activation_message(self._activations, self._batch, self.plan)
            case (
                Content.BASE_WEIGHTS
                | Content.PUBLIC_TEXT
                | Content.ACTIVATION_GRADIENTS
                | Content.PUBLIC_KEYS
                | Content.ENCRYPTED_SHARES
                | Content.MASKED_ADAPTERS
                | Content.MASKED_LOGITS
                | Content.SURVIVORS
                | Content.SHARES
            ):
                raise ProtocolError(f"no client sends {content}.")
            case _:
                assert_never(content)

    def incoming(self, content: Content, tensors: dict[str, Tensor]) -> None:
        """Take a downlink message."""
        match content:
            case Content.ADAPTERS:
                self._waiting_adapters = tensors
            case Content.LOGITS:
                self.knowledge.receive(tensors)
            case Content.ACTIVATION_GRADIENTS:
                self._gradients = tensors["activation_gradients"]
            case Content.BASE_WEIGHTS:
                self.trainer.model.load_frozen(tensors, self.trainer.part)
            case Content.PUBLIC_TEXT:
                self.public = received_text(tensors, self.private)
            case (
                Content.ACTIVATIONS
                | Content.PUBLIC_KEYS
                | Content.ENCRYPTED_SHARES
                | Content.MASKED_ADAPTERS
                | Content.MASKED_LOGITS
                | Content.SURVIVORS
                | Content.SHARES
            ):
                raise ProtocolError(f"no client receives {content}.")
            case _:
                assert_never(content)

    # --- for whoever computes in this client's place ------------------------------------------

    def take_adapters(self) -> None:
        """Put received adapters, if any, in the place of one's own."""
        if self._waiting_adapters:
            self.trainer.load(self._waiting_adapters)
            self.trainer.set_anchor()
            self._waiting_adapters = {}

    def next_batch(self, num_samples: int) -> TextBatch:
        """The next private samples of the round.

        Raises
        ------
        ProtocolError
            If fewer are left.
        """
        rows = self.order[self._cursor : self._cursor + num_samples]
        if len(rows) != num_samples:
            raise ProtocolError(
                f"client {self.client_id}: the protocol asks for {num_samples} samples and "
                f"{len(rows)} are left in the round."
            )
        self._cursor += num_samples
        batch = self.private.batch(rows, self.trainer.model.device)
        self._saw(batch)
        return batch

    def show_activations(self, activations: Tensor, batch: TextBatch) -> None:
        """Activations at the cut that were computed elsewhere, to be sent."""
        self._activations, self._batch = activations, batch

    def take_gradients(self) -> tuple[Tensor, TextBatch]:
        """Gradients at the cut that were received, and the batch that they are of.

        Raises
        ------
        ProtocolError
            If there are none.
        """
        if self._batch is None or self._gradients is None:
            raise ProtocolError(f"client {self.client_id}: backward without forward or gradients.")
        found = self._gradients, self._batch
        self._saw(self._batch)
        self.end_batch()
        return found

    def end_batch(self) -> None:
        """Forget what a batch across the cut left behind."""
        self._forward = self._gradients = None
        self._activations = []

    def _saw(self, batch: TextBatch) -> None:
        self.samples_seen += batch.num_samples
        self.tokens_seen += batch.num_positions

    def _backward(self, is_update: bool) -> None:
        forward = self._forward
        gradients, batch = self.take_gradients()
        if forward is None:
            raise ProtocolError(f"client {self.client_id}: backward without forward or gradients.")
        self.trainer.backward_from_cut(
            forward, unpack_tokens(gradients, batch), is_update=is_update
        )


def in_trained_format(tensors: Mapping[str, Tensor], training: TrainingSpec) -> dict[str, Tensor]:
    """Trained parameters as they are sent: all in one format, whatever the base's is."""
    dtype: torch.dtype = getattr(torch, training.trained_dtype)
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def client_part(plan: ClientPlan) -> Part:
    """What of the model a client holds."""
    if plan.cut is None:
        return Part.whole(plan.training.model.num_layers)
    return Part.below(plan.cut.position)
