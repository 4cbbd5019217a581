"""The server of a real run: the global model, what was received, and what it does with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

import torch
from torch import Tensor

from fedsim.errors import ProtocolError
from fedsim.ledger import SERVER
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
from fedsim.runtime.aggregation import weighted_average
from fedsim.runtime.channel import Message, deserialize, serialize
from fedsim.runtime.cut_exchange import pack_tokens, received_batch, unpack_tokens
from fedsim.runtime.keyed_dropout import MaskStream
from fedsim.runtime.knowledge import KnowledgeBuffer
from fedsim.runtime.server_optimizer import FedAdam
from fedsim.runtime.text_batch import TextSource, text_message
from fedsim.runtime.trainer import Trainer
from fedsim.spec.plan import ClientPlan

__all__ = ["Server"]


class Server:
    """The server.

    Parameters
    ----------
    trainer : Trainer
        Of the global model, whole.
    plan : ClientPlan
        What the server's own work follows.
    client_weights : mapping
        Client id to its weight in averages, by convention its number of samples.
    public : TextSource or None
        The public data set.
    masks : callable, optional
        By party, the names of LoRA dropout masks of a server-side model; see
        :class:`fedsim.runtime.trainer.Trainer`.
    """

    def __init__(
        self,
        trainer: Trainer,
        plan: ClientPlan,
        client_weights: Mapping[str, float],
        public: TextSource | None = None,
        masks: Callable[[str], MaskStream | None] = lambda _: None,
    ) -> None:
        self.trainer = trainer
        self.plan = plan
        self.client_weights = dict(client_weights)
        self.public = public
        self.samples_seen = 0
        self.tokens_seen = 0
        self._inbox: dict[tuple[Content, str], dict[str, Tensor]] = {}
        self._gradients: dict[str, Tensor] = {}
        self._above: dict[str, Trainer] = {}
        self._served: set[str] = set()
        adaptive = trainer.options.fed_adam
        self.fed_adam = None if adaptive is None else FedAdam(adaptive)
        self._above_start: dict[str, Tensor] = {}
        self._knowledge: KnowledgeBuffer | None = None
        if plan.cut is not None:
            self._make_server_side_models(plan.cut.position, masks)

    def begin_round(self) -> None:
        """Start a round."""
        self._served.clear()
        if self.trainer.options.optimizer_state == "reset":
            for trainer in (self.trainer, *self._above.values()):
                trainer.reset_optimizer()
        for trainer in self._above.values():
            trainer.set_anchor()
        if self.fed_adam is not None and self._above:
            first = next(iter(self._above.values())).adapters(with_head=True)
            self._above_start = {name: tensor.clone() for name, tensor in first.items()}

    @property
    def resident_bytes(self) -> int:
        """Bytes of the parameters that the server computes with [B].

        Where it only averages, these are the trained ones.
        """
        trainers = {id(trainer): trainer for trainer in self._above.values()}
        if not trainers and self.public is None:
            return sum(t.numel() * t.element_size() for t in self._client_adapters().values())
        if not trainers:
            return self.trainer.resident_bytes
        first, *others = trainers.values()
        trained = sum(
            p.numel() * p.element_size() for p in first.model.trained(first.part).values()
        )
        return first.resident_bytes + len(others) * trained

    # --- messages ----------------------------------------------------------------------------

    def handle(self, message: Message) -> Message:
        """Answer a client: an empty request asks for a downlink message, any other brings one."""
        content = Content(message.content)
        body = b""
        if message.body:
            tensors = deserialize(message.body, self.trainer.model.device)
            self._inbox[content, message.client_id] = tensors
        else:
            body = serialize(self._outgoing(content, message.client_id))
        return Message(message.client_id, message.label, message.content, body)

    def _outgoing(self, content: Content, client_id: str) -> dict[str, Tensor]:
        dtype: torch.dtype = getattr(torch, self.plan.training.numerics.payload_dtype)
        match content:
            case Content.ADAPTERS:
                return {name: t.to(dtype) for name, t in self._client_adapters().items()}
            case Content.LOGITS:
                return self.knowledge.message(dtype)
            case Content.ACTIVATION_GRADIENTS:
                return {"activation_gradients": self._gradients.pop(client_id).to(dtype)}
            case Content.BASE_WEIGHTS:
                return dict(self.trainer.model.frozen(self._client_part()))
            case Content.PUBLIC_TEXT:
                if self.public is None:
                    raise ProtocolError("the server has no public data set to send.")
                return text_message(self.public, self.plan.training.model.vocab_size)
            case (
                Content.ACTIVATIONS
                | Content.PUBLIC_KEYS
                | Content.ENCRYPTED_SHARES
                | Content.MASKED_ADAPTERS
                | Content.MASKED_LOGITS
                | Content.SURVIVORS
                | Content.SHARES
            ):
                raise ProtocolError(f"the server sends no {content}.")
            case _:
                assert_never(content)

    # --- operations --------------------------------------------------------------------------

    def execute(self, operation: Operation) -> None:
        """Do an operation once for what was gathered."""
        if isinstance(operation, PrivacyOperation):
            raise ProtocolError(f"the server does no {type(operation).__name__} in a real run.")
        match operation:
            case Aggregate():
                self._aggregate()
            case ProcessKnowledge():
                self._process_knowledge()
            case Distill(is_update=is_update):
                self.knowledge.distill(
                    self.trainer, operation.batch.num_samples, is_update=is_update
                )
                self._saw_public()
            case InferLogits():
                self.knowledge.infer(self.trainer, operation.batch.num_samples)
                self._saw_public()
            case Train() | ForwardToCut() | TrainAboveCut() | BackwardFromCut() | Replace():
                raise ProtocolError(f"the server does no {type(operation).__name__} once a round.")
            case _:
                assert_never(operation)

    def execute_for(self, client_id: str, operation: Operation) -> None:
        """Do an operation for one client."""
        if not isinstance(operation, TrainAboveCut):
            raise ProtocolError(f"the server does no {type(operation).__name__} for a client.")
        tensors = self.take_activations(client_id)
        trainer = self._above[client_id]
        batch = received_batch(
            tensors,
            is_padded=operation.batch.padded_tokens is not None,
            is_classifier=self.plan.training.head.kind == "classification",
        )
        gradients = trainer.train_above_cut(
            unpack_tokens(tensors["activations"].to(self._compute_dtype), batch),
            batch,
            is_update=operation.is_update,
            wants_gradient=self._client_trains,
        )
        self.samples_seen += batch.num_samples
        self.tokens_seen += batch.num_positions
        if gradients:
            self._gradients[client_id] = pack_tokens(gradients, batch)

    def received(self, content: Content, client_id: str) -> dict[str, Tensor]:
        """What a client sent and the server has not used yet."""
        return self._inbox.get((content, client_id), {})

    # --- for whoever computes in the server's place -------------------------------------------

    def take_activations(self, client_id: str) -> dict[str, Tensor]:
        """What a client sent of a batch, taken out of the inbox."""
        self._served.add(client_id)
        return self._inbox.pop((Content.ACTIVATIONS, client_id))

    def show_gradients(self, client_id: str, gradients: Tensor) -> None:
        """Gradients at the cut that were computed elsewhere, to be sent."""
        self._gradients[client_id] = gradients

    @property
    def knowledge(self) -> KnowledgeBuffer:
        """The clients' refined logits, and the global model's."""
        if self._knowledge is None:
            if self.public is None:
                raise ProtocolError("the server has no public data set.")
            self._knowledge = KnowledgeBuffer(self.public, self.plan.training)
        return self._knowledge

    def server_side_trainer(self, client_id: str) -> Trainer:
        """The trainer of the part above the cut that serves a client."""
        return self._above[client_id]

    # --- private -----------------------------------------------------------------------------

    def _make_server_side_models(
        self, position: int, masks: Callable[[str], MaskStream | None]
    ) -> None:
        above = Part.above(position, self.plan.training.model.num_layers)
        shared = None
        for client_id in sorted(self.client_weights):
            # V1 trains a copy for every client and averages them; V2 has one for all.
            if shared is None or self.plan.server_variant == "v1":
                # A copy drops what its client would drop in a whole model.
                party = client_id if self.plan.server_variant == "v1" else SERVER
                options = self.trainer.options
                shared = Trainer(self.trainer.model.clone(), above, options, masks(party))
            self._above[client_id] = shared

    def _client_part(self) -> Part:
        if self.plan.cut is None:
            return Part.whole(self.plan.training.model.num_layers)
        return Part.below(self.plan.cut.position)

    def _client_adapters(self) -> dict[str, Tensor]:
        trained = self.trainer.model.trained(self._client_part())
        private = frozenset() if self.plan.shares_head else self.trainer.model.head_names()
        return {name: p.detach() for name, p in trained.items() if name not in private}

    @property
    def _client_trains(self) -> bool:
        return bool(self.trainer.model.trained(self._client_part()))

    @property
    def _compute_dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.plan.training.numerics.compute_dtype)
        return dtype

    def _gathered(self, content: Content) -> dict[str, dict[str, Tensor]]:
        keys = [key for key in self._inbox if key[0] is content]
        return {client_id: self._inbox.pop((content, client_id)) for _, client_id in keys}

    def _aggregate(self) -> None:
        received = self._gathered(Content.ADAPTERS)
        if received:
            average = weighted_average(received, self.client_weights)
            self.trainer.load(self._stepped("client", self._client_adapters(), average))
        if not self._above:
            return
        copies = {
            client_id: trainer.adapters(with_head=True)
            for client_id, trainer in self._above.items()
            # A copy that served nobody in this round has nothing to say in its average.
            if client_id in self._served
        }
        if self.plan.server_variant == "v1":
            average = weighted_average(copies, self.client_weights)
            average = self._stepped("server", self._above_start, average)
            for trainer in self._above.values():
                trainer.load(average)
        self._store_above(next(iter(self._above.values())))

    def _stepped(
        self, group: str, current: dict[str, Tensor], average: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The average, or what the server's optimizer makes of it."""
        if self.fed_adam is None:
            return average
        return self.fed_adam.step(group, current, average)

    def _store_above(self, trainer: Trainer) -> None:
        # A fully tuned, tied language-model head is two matrices while the model is cut; the global
        # model keeps the client's, which is its token embedding.
        below = self.trainer.model.trained(self._client_part())
        tensors = trainer.adapters(with_head=True)
        self.trainer.load({name: t for name, t in tensors.items() if name not in below})

    def _process_knowledge(self) -> None:
        received = self._gathered(Content.LOGITS)
        equal = dict.fromkeys(received, 1.0)
        self.knowledge.receive(weighted_average(received, equal))

    def _saw_public(self) -> None:
        self.samples_seen += self.knowledge.last_batch.num_samples
        self.tokens_seen += self.knowledge.last_batch.num_positions
