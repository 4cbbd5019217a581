"""Put a real federation together: data, models, clients, server, and each round's plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from fedsim.errors import ScenarioError
from fedsim.ledger import SERVER, SETUP_ROUND
from fedsim.planning import ClientFacts, Schedule
from fedsim.protocol.operation import Loss, Part
from fedsim.protocol.step import Protocol, cuts_model, loss_steps
from fedsim.runtime.build_model import Weights, build_model
from fedsim.runtime.channel import InProcessChannel
from fedsim.runtime.client import Client, client_part
from fedsim.runtime.data import EncodedDataset
from fedsim.runtime.executor import Executor
from fedsim.runtime.keyed_dropout import MaskStream
from fedsim.runtime.losses import LossBook
from fedsim.runtime.options import RunOptions
from fedsim.runtime.round_plans import RoundPlans
from fedsim.runtime.server import Server
from fedsim.runtime.staged_model import StagedModel
from fedsim.runtime.state import StateRegistry
from fedsim.runtime.text_batch import TextSource
from fedsim.runtime.trainer import Trainer
from fedsim.spec.plan import ClientPlan, TrainingSpec
from fedsim.spec.policy import PolicySpec

__all__ = ["Federation", "FederationData", "build_federation"]


@dataclass(frozen=True)
class FederationData:
    """Who holds which texts.

    Attributes
    ----------
    clients : dict of str to EncodedDataset
        Private rows by client id.
    public : EncodedDataset or None
        The public data set; its labels are not used.
    pad_token_id : int
    """

    clients: dict[str, EncodedDataset]
    public: EncodedDataset | None
    pad_token_id: int


@dataclass(frozen=True)
class Federation:
    """A federation that can be run.

    Attributes
    ----------
    framework : callable
        Plan to protocol.
    round_plans : RoundPlans
        Who does what in which round.
    options : RunOptions
    data : FederationData
    server : Server
    clients : dict of str to Client
    state : StateRegistry
        All that a later round depends on.
    masks : tuple of MaskStream
        Of whoever draws LoRA dropout by name; empty where torch's generator does.
    """

    framework: Callable[[ClientPlan], Protocol]
    round_plans: RoundPlans
    options: RunOptions
    data: FederationData
    server: Server
    clients: dict[str, Client]
    state: StateRegistry
    masks: tuple[MaskStream, ...] = ()

    @property
    def training(self) -> TrainingSpec:
        """What the global model is."""
        return self.server.plan.training

    @property
    def is_cut(self) -> bool:
        """Whether clients hold a part of the model and the server another."""
        return any(client.plan.cut is not None for client in self.clients.values())

    def executor(
        self,
        *,
        counts_flop: bool = True,
        tracks_memory: bool = False,
        kind: type[Executor] = Executor,
    ) -> Executor:
        """An interpreter of this federation's protocols, of a kind.

        Raises
        ------
        ScenarioError
            If the kind cannot run this federation.
        """
        return kind(
            self.server,
            self.clients,
            InProcessChannel(self.server.handle),
            counts_flop,
            tracks_memory,
            self.options.seed,
        )

    def plan(self, client_id: str, round_index: int) -> ClientPlan:
        """A client's plan in a round: its texts in the order in which it will visit them.

        Raises
        ------
        ScenarioError
            If the client takes no part in the round.
        """
        found = self.round_plans.plans(round_index).get(client_id)
        if found is None:
            raise ScenarioError(f"round {round_index}: {client_id} takes no part in it.")
        return found

    def participants(self, round_index: int) -> tuple[str, ...]:
        """Who takes part in a round."""
        return self.round_plans.participants(round_index)

    def protocols(self, round_index: int) -> dict[str, Protocol]:
        """The protocol of a round of everybody who takes part; all of them in the set-up."""
        return {
            cid: self.framework(plan) for cid, plan in self.round_plans.plans(round_index).items()
        }

    def server_protocol(self, round_index: int) -> Protocol:
        """What the server does once in a round: the protocol of a plan of its own."""
        return self.framework(self.round_plans.server_plan(round_index))

    def run_setup(self, executor: Executor) -> None:
        """Run the set-up."""
        executor.run_setup(self.protocols(SETUP_ROUND))

    def run_round(self, executor: Executor, round_index: int) -> None:
        """Run one round."""
        for stream in self.masks:
            stream.begin_round(round_index)
        planned = self.round_plans.of_round(round_index)
        protocols = {cid: self.framework(one.plan) for cid, one in planned.items()}
        for client_id, one in planned.items():
            self.clients[client_id].begin_round(one.plan, list(one.order))
        self.server.take_plans(
            self.round_plans.server_plan(round_index), {cid: p.plan for cid, p in planned.items()}
        )
        if not self.round_plans.needs_losses:
            executor.run_round(round_index, protocols, self.server_protocol(round_index))
        else:
            self._run_noting_loss(executor, round_index, protocols)
        for client_id in protocols:
            self.clients[client_id].end_round()

    def _run_noting_loss(
        self, executor: Executor, round_index: int, protocols: Mapping[str, Protocol]
    ) -> None:
        """Run one round and keep its mean training loss for the schedules of later ones."""
        book = executor.losses
        own = executor.losses = LossBook() if book is None else book
        executor.run_round(round_index, protocols, self.server_protocol(round_index))
        executor.losses = book
        steps = loss_steps(next(iter(protocols.values())), Loss.TRAINING)
        self.round_plans.note_loss(round_index, own.mean(steps))


def build_federation(
    framework: Callable[[ClientPlan], Protocol],
    plans: Mapping[str, ClientPlan],
    data: FederationData,
    *,
    server_plan: ClientPlan | None = None,
    schedules: Sequence[Schedule] = (),
    policy: PolicySpec | None = None,
    facts: ClientFacts | None = None,
    options: RunOptions | None = None,
    weights: Weights,
    weights_source: str | Path | None = None,
    device: torch.device | None = None,
    attention: Literal["eager", "sdpa"] = "eager",
    draws_masks_by_name: bool = False,
) -> Federation:
    """Build models and parties.

    All clients start from the server's weights and head, and from its adapters where theirs are of
    its shape; the frozen base is shared in memory, which changes no result.

    Parameters
    ----------
    framework : callable
        Plan to protocol.
    plans : mapping of str to ClientPlan
        Each client's, without schedules. Their texts say how many there are and how they are
        padded; lengths and order are those of the data.
    data : FederationData
    server_plan : ClientPlan, optional
        What the server's own work follows; by default the first client's.
    schedules : sequence of Schedule
        Which plan whom a round finds with.
    policy : PolicySpec, optional
        How many clients a round asks; by default all.
    facts : ClientFacts, optional
        What schedules may know of the clients, in the order of ``plans``.
    draws_masks_by_name : bool
        LoRA dropout masks by (seed, round, client, batch, sample, layer, token): the ones that a
        cohort has, whoever is computed together. See :mod:`fedsim.runtime.keyed_dropout`. The
        other parameters are those of :func:`fedsim.runtime.build_model.build_model`, or explained
        with their types.

    Raises
    ------
    ScenarioError
        If the data does not fit the model, or clients the framework.
    """
    options = options or RunOptions()
    plans = {cid: _cut_where_it_is(framework, plan) for cid, plan in plans.items()}
    first = next(iter(plans.values()))
    server_plan = first if server_plan is None else _cut_where_it_is(framework, server_plan)
    _check(plans, data)
    models = _Models(
        server_plan.training,
        lambda training: build_model(
            training,
            weights=weights,
            pad_token_id=data.pad_token_id,
            seed=options.seed,
            device=device or torch.device("cpu"),
            source=weights_source,
            attention=attention,
        ),
    )
    streams: list[MaskStream] = []

    def masks(party: str) -> MaskStream | None:
        if not draws_masks_by_name:
            return None
        streams.append(MaskStream(options.seed, party))
        return streams[-1]

    def public(plan: ClientPlan) -> TextSource | None:
        return None if data.public is None else _public(data.public, plan, data.pad_token_id)

    whole = Part.whole(server_plan.training.model.num_layers)
    server = Server(
        Trainer(models.of(server_plan.training), whole, options, masks(SERVER)),
        server_plan,
        plans,
        {cid: _weight(plans[cid].training, rows) for cid, rows in data.clients.items()},
        public(server_plan),
        masks,
        models.of,
    )
    clients = {
        cid: Client(
            cid,
            Trainer(models.of(plan.training).clone(), client_part(plan), options, masks(cid)),
            TextSource(data.clients[cid], plan.train_epochs[0].padding, data.pad_token_id),
            plan,
            public(plan),
        )
        for cid, plan in plans.items()
    }
    round_plans = RoundPlans(
        plans,
        server_plan,
        data.clients,
        data.public,
        options,
        tuple(schedules),
        policy or PolicySpec(),
        facts,
    )
    state = _state(server, clients, round_plans)
    return Federation(framework, round_plans, options, data, server, clients, state, tuple(streams))


class _Models:
    """The model of each training at its start: one frozen base for all of them."""

    def __init__(self, first: TrainingSpec, build: Callable[[TrainingSpec], StagedModel]) -> None:
        self._build = build
        self._base = build(first)
        self._known = {first: self._base}

    def of(self, training: TrainingSpec) -> StagedModel:
        """The model of a training; the same one each time."""
        if training not in self._known:
            model = self._build(training)
            model.share_frozen(self._base)
            self._known[training] = model
        return self._known[training]


def _state(server: Server, clients: Mapping[str, Client], plans: RoundPlans) -> StateRegistry:
    registry = StateRegistry()
    registry.enter("plans", plans)
    server.enter_state(registry)
    for client_id in sorted(clients):
        clients[client_id].enter_state(registry)
    return registry


def _cut_where_it_is(framework: Callable[[ClientPlan], Protocol], plan: ClientPlan) -> ClientPlan:
    # What is cut is the protocol's to say: a plan may have a cut that its framework ignores.
    if plan.cut is None or cuts_model(framework(plan).round):
        return plan
    return replace(plan, cut=None)


def _public(rows: EncodedDataset, plan: ClientPlan, pad_token_id: int) -> TextSource:
    text = plan.public_text or plan.train_epochs[0]
    return TextSource(replace(rows, labels=rows.labels[:0]), text.padding, pad_token_id)


def _weight(training: TrainingSpec, rows: EncodedDataset) -> float:
    """A client's weight in averages: what its loss is a mean over.

    Samples of a classification; next tokens of a language model, or the average would not be the
    step on the union of the data.
    """
    if training.head.kind == "classification":
        return float(rows.num_rows)
    return float(max(1, int((rows.lengths - 1).sum())))


def _check(plans: Mapping[str, ClientPlan], data: FederationData) -> None:
    if set(plans) != set(data.clients):
        raise ScenarioError(
            f"{len(plans)} clients have plans and {len(data.clients)} have data; give each of them "
            "both, under one name."
        )
    for client_id, rows in data.clients.items():
        training = plans[client_id].training
        if rows.vocab_size > training.model.vocab_size:
            raise ScenarioError(
                f"{client_id}: the tokenizer has {rows.vocab_size:,} tokens and model "
                f"'{training.model.name}' knows {training.model.vocab_size:,}; "
                "use the model's own tokenizer or a model with a larger vocabulary."
            )
        if training.head.kind == "classification" and rows.num_labels > training.head.num_classes:
            raise ScenarioError(
                f"{client_id}: the data has {rows.num_labels} labels and the head "
                f"{training.head.num_classes} classes; set num_classes = {rows.num_labels}."
            )
