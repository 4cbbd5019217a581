"""The server of a real run: the global model, what was received, and what it does with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import assert_never

import torch
from torch import Tensor

from fedsim.errors import ProtocolError, ScenarioError
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
from fedsim.protocol.step import Transfer
from fedsim.runtime.aggregation import weighted_average
from fedsim.runtime.channel import Message, deserialize, serialize
from fedsim.runtime.client import client_part, in_trained_format
from fedsim.runtime.coding import CodecMemories, decoded, encoded
from fedsim.runtime.cut_exchange import pack_tokens, received_batch, unpack_tokens
from fedsim.runtime.keyed_dropout import MaskStream
from fedsim.runtime.knowledge import KnowledgeBuffer
from fedsim.runtime.server_optimizer import FedAdam
from fedsim.runtime.staged_model import StagedModel
from fedsim.runtime.state import StateRegistry, TrainerState
from fedsim.runtime.text_batch import TextBatch, TextSource, text_message
from fedsim.runtime.trainer import Trainer
from fedsim.spec.batch import Padding
from fedsim.spec.plan import ClientPlan, TrainingSpec

__all__ = ["Server"]


class Server:
    """The server.

    Parameters
    ----------
    trainer : Trainer
        Of the global model, whole.
    plan : ClientPlan
        What the server's own work follows.
    client_plans : mapping of str to ClientPlan
        Each client's.
    client_weights : mapping
        Client id to its weight in averages, by convention its number of samples.
    public : TextSource or None
        The public data set.
    masks : callable, optional
        By party, the names of LoRA dropout masks of a server-side model; see
        :class:`fedsim.runtime.trainer.Trainer`.
    model_of : callable, optional
        The model of a training at its start, for clients whose training is not the server's.

    Raises
    ------
    ScenarioError
        If clients share one server-side model and are cut at different places.
    """

    def __init__(
        self,
        trainer: Trainer,
        plan: ClientPlan,
        client_plans: Mapping[str, ClientPlan],
        client_weights: Mapping[str, float],
        public: TextSource | None = None,
        masks: Callable[[str], MaskStream | None] = lambda _: None,
        model_of: Callable[[TrainingSpec], StagedModel] | None = None,
    ) -> None:
        self.trainer = trainer
        self.plan = plan
        self.client_plans = dict(client_plans)
        self._model_of = (lambda _: trainer.model) if model_of is None else model_of
        self.client_weights = dict(client_weights)
        self.public = public
        self.samples_seen = 0
        self.tokens_seen = 0
        #: By client: what codecs keep at this end, and the message that comes next.
        self.codecs = {client_id: CodecMemories() for client_id in self.client_plans}
        self._expected: dict[str, Transfer] = {}
        self._inbox: dict[tuple[Content, str], dict[str, Tensor]] = {}
        self._gradients: dict[str, Tensor] = {}
        self._above: dict[str, Trainer] = {}
        self._served: set[str] = set()
        adaptive = trainer.options.fed_adam
        self.fed_adam = None if adaptive is None else FedAdam(adaptive)
        self._above_start: dict[str, Tensor] = {}
        self._knowledge: KnowledgeBuffer | None = None
        self._make_server_side_models(masks)

    def begin_round(self) -> None:
        """Start a round."""
        self._served.clear()
        if self.trainer.options.optimizer_state == "reset":
            for trainer in (self.trainer, *self._above.values()):
                trainer.reset_optimizer()
        for trainer in self._above.values():
            trainer.set_anchor()
        if self.fed_adam is not None:
            self._above_start = {}
            for trainer in self._above.values():
                for name, tensor in trainer.adapters(with_head=True).items():
                    if name not in self._above_start:
                        self._above_start[name] = tensor.clone()

    def take_plans(self, plan: ClientPlan, client_plans: Mapping[str, ClientPlan]) -> None:
        """Take the plans of a round that begins: the server's own, and those of its clients."""
        self.plan = plan
        self.client_plans.update(client_plans)

    def enter_state(self, registry: StateRegistry) -> None:
        """Enter all that later rounds depend on."""
        registry.enter("server", TrainerState(self.trainer))
        known = set()
        for client_id, trainer in sorted(self._above.items()):
            if id(trainer) not in known:
                known.add(id(trainer))
                registry.enter(f"above/{client_id}", TrainerState(trainer))
        for client_id, memories in sorted(self.codecs.items()):
            registry.enter(f"codecs/server/{client_id}", memories)
        if self.fed_adam is not None:
            registry.enter("fed_adam", self.fed_adam)

    @property
    def resident_bytes(self) -> int:
        """Bytes of the parameters that the server computes with [B].

        Where it only averages, these are the trained ones.
        """
        trainers = {id(trainer): trainer for trainer in self._above.values()}
        if not trainers and self.public is None:
            tensors = self._sent(self.plan, self.trainer.model)
            return sum(t.numel() * t.element_size() for t in tensors.values())
        if not trainers:
            return self.trainer.resident_bytes
        first, *others = trainers.values()
        trained = sum(
            p.numel() * p.element_size() for p in first.model.trained(first.part).values()
        )
        return first.resident_bytes + len(others) * trained

    # --- messages ----------------------------------------------------------------------------

    def expect(self, client_id: str, transfer: Transfer) -> None:
        """The protocol's next message with a client: its codec is the server's too."""
        self._expected[client_id] = transfer

    def handle(self, message: Message) -> Message:
        """Answer a client: an empty request asks for a downlink message, any other brings one."""
        content = Content(message.content)
        expected = self._expected.pop(message.client_id, None)
        body = b""
        if message.body:
            tensors = deserialize(message.body, self.trainer.model.device)
            if expected is not None:
                tensors = decoded(expected, tensors, self.codecs[message.client_id])
            self._inbox[content, message.client_id] = tensors
        else:
            tensors = self._outgoing(content, message.client_id)
            if expected is not None:
                tensors = encoded(expected, tensors, self.codecs[message.client_id])
            body = serialize(tensors)
        return Message(message.client_id, message.label, message.content, body)

    def _outgoing(self, content: Content, client_id: str) -> dict[str, Tensor]:
        plan = self.client_plans[client_id]
        match content:
            case Content.ADAPTERS:
                return in_trained_format(self._client_adapters(client_id), plan.training)
            case Content.LOGITS:
                return self.knowledge.message()
            case Content.ACTIVATION_GRADIENTS:
                dtype: torch.dtype = getattr(torch, plan.training.numerics.compute_dtype)
                return {"activation_gradients": self._gradients.pop(client_id).to(dtype)}
            case Content.BASE_WEIGHTS:
                return dict(self._model_of(plan.training).frozen(client_part(plan)))
            case Content.PUBLIC_TEXT:
                if self.public is None:
                    raise ProtocolError("the server has no public data set to send.")
                source = replace(self.public, padding=_public_padding(plan))
                return text_message(source, plan.training.model.vocab_size)
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
        activations, batch = self.take_activations(client_id, operation)
        gradients = self._above[client_id].train_above_cut(
            unpack_tokens(activations, batch),
            batch,
            is_update=operation.is_update,
            wants_gradient=self.client_trains(client_id),
        )
        self.samples_seen += batch.num_samples
        self.tokens_seen += batch.num_positions
        if gradients:
            self._gradients[client_id] = pack_tokens(gradients, batch)

    def received(self, content: Content, client_id: str) -> dict[str, Tensor]:
        """What a client sent and the server has not used yet."""
        return self._inbox.get((content, client_id), {})

    # --- for whoever computes in the server's place -------------------------------------------

    def take_activations(
        self, client_id: str, operation: TrainAboveCut
    ) -> tuple[Tensor, TextBatch]:
        """Activations that a client sent, and the batch that they are of; out of the inbox."""
        self._served.add(client_id)
        tensors = self._inbox.pop((Content.ACTIVATIONS, client_id))
        training = self.client_plans[client_id].training
        batch = received_batch(
            tensors,
            is_padded=operation.batch.padded_tokens is not None,
            is_classifier=training.head.kind == "classification",
        )
        return tensors["activations"], batch

    def client_trains(self, client_id: str) -> bool:
        """Whether a client trains anything of its part, and so wants gradients."""
        plan = self.client_plans[client_id]
        return bool(self._model_of(plan.training).trained(client_part(plan)))

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

    def _make_server_side_models(self, masks: Callable[[str], MaskStream | None]) -> None:
        shared: Trainer | None = None
        for client_id in sorted(self.client_plans):
            plan = self.client_plans[client_id]
            if plan.cut is None:
                continue
            above = Part.above(plan.cut.position, plan.training.model.num_layers)
            is_copied = plan.server_variant == "v1"
            # V1 trains a copy for every client and averages them; V2 has one for all.
            if is_copied or shared is None:
                # A copy drops what its client would drop in a whole model.
                party = client_id if is_copied else SERVER
                model = self._model_of(plan.training).clone()
                shared = Trainer(model, above, self.trainer.options, masks(party))
            if shared.part != above or shared.model.training != plan.training:
                raise ScenarioError(
                    f"{client_id}: server_variant = 'v2' has one server-side model for all "
                    "clients, which begins at one cut and has one rank; give all clients the same "
                    "cut and ranks, or set server_variant = 'v1'."
                )
            self._above[client_id] = shared

    def _client_adapters(self, client_id: str) -> dict[str, Tensor]:
        """What a client receives: the global model's, or its own start where ranks differ."""
        plan = self.client_plans[client_id]
        return self._sent(plan, self._model_of(plan.training))

    @staticmethod
    def _sent(plan: ClientPlan, model: StagedModel) -> dict[str, Tensor]:
        private = frozenset() if plan.shares_head else model.head_names()
        trained = model.trained(client_part(plan))
        return {name: p.detach() for name, p in trained.items() if name not in private}

    def _gathered(self, content: Content) -> dict[str, dict[str, Tensor]]:
        keys = [key for key in self._inbox if key[0] is content]
        return {client_id: self._inbox.pop((content, client_id)) for _, client_id in keys}

    def _aggregate(self) -> None:
        received = self._gathered(Content.ADAPTERS)
        copies = self._copies()
        if received or copies:
            self._average(received, copies)
        if self._above and not copies:
            # V2: the one server-side model is the global model's upper part.
            self._store_above(next(iter(self._above.values())))

    def _copies(self) -> dict[str, dict[str, Tensor]]:
        """By client, its server-side copy; one that served nobody has nothing to say."""
        return {
            client_id: trainer.adapters(with_head=True)
            for client_id, trainer in self._above.items()
            if client_id in self._served and self.client_plans[client_id].server_variant == "v1"
        }

    def _average(
        self, received: dict[str, dict[str, Tensor]], copies: dict[str, dict[str, Tensor]]
    ) -> None:
        """Average what clients hold with what the server holds for them, each at its own cut."""
        whole = {cid: {**copies.get(cid, {}), **received.get(cid, {})} for cid in received | copies}
        average = weighted_average(whole, self.client_weights)
        sent = {name for tensors in received.values() for name in tensors}
        below = {name: tensor for name, tensor in average.items() if name in sent}
        above = {name: tensor for name, tensor in average.items() if name not in sent}
        start = self.trainer.adapters(with_head=True)
        result = self._stepped("client", start, below)
        result |= self._stepped("server", self._above_start, above)
        self.trainer.load(result)
        if not copies:
            return
        # A fully tuned, tied language-model head is two matrices while the model is cut; the global
        # model keeps the client's, which is its token embedding, and copies their own.
        tied = {
            cid: {name: t for name, t in own.items() if name in received.get(cid, {})}
            for cid, own in copies.items()
        }
        if any(tied.values()):
            own = weighted_average(tied, self.client_weights)
            result = result | self._stepped("server", self._above_start, own)
        for trainer in self._above.values():
            trainer.load({name: result[name] for name in trainer.adapters(with_head=True)})

    def _stepped(
        self, group: str, current: dict[str, Tensor], average: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The average, or what the server's optimizer makes of it."""
        if self.fed_adam is None:
            return average
        return self.fed_adam.step(group, current, average)

    def _store_above(self, trainer: Trainer) -> None:
        below = self.trainer.model.trained(client_part(self.plan))
        tensors = trainer.adapters(with_head=True)
        self.trainer.load({name: t for name, t in tensors.items() if name not in below})

    def _process_knowledge(self) -> None:
        received = self._gathered(Content.LOGITS)
        equal = dict.fromkeys(received, 1.0)
        self.knowledge.receive(weighted_average(received, equal))

    def _saw_public(self) -> None:
        self.samples_seen += self.knowledge.last_batch.num_samples
        self.tokens_seen += self.knowledge.last_batch.num_positions


def _public_padding(plan: ClientPlan) -> Padding:
    return (plan.public_text or plan.train_epochs[0]).padding
