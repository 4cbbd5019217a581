"""Put a real federation together: data, models, clients, server, and each round's plans."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from fedsim.draws import participants, visiting_order
from fedsim.errors import ScenarioError
from fedsim.ledger import SERVER, SETUP_ROUND
from fedsim.protocol.operation import Part
from fedsim.protocol.step import Protocol, cuts_model
from fedsim.runtime.build_model import Weights, build_model
from fedsim.runtime.channel import InProcessChannel
from fedsim.runtime.client import Client
from fedsim.runtime.data import EncodedDataset
from fedsim.runtime.executor import Executor
from fedsim.runtime.keyed_dropout import MaskStream
from fedsim.runtime.options import RunOptions
from fedsim.runtime.server import Server
from fedsim.runtime.text_batch import TextSource
from fedsim.runtime.trainer import Trainer
from fedsim.spec.batch import Padding, TextLengths
from fedsim.spec.plan import ClientPlan, Cut, ServerVariant, TrainingSpec

__all__ = ["Federation", "FederationData", "RoundSettings", "build_federation"]


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


@dataclass(frozen=True, slots=True)
class RoundSettings:
    """How a round is built; see :class:`fedsim.spec.plan.ClientPlan` for the words."""

    batch_size: int = 16
    accumulation_steps: int = 1
    local_epochs: int = 1
    distillation_epochs: int = 1
    padding: Padding = "max_tokens"
    cut: Cut | None = None
    server_variant: ServerVariant = "v1"
    shares_head: bool = True


@dataclass(frozen=True)
class Federation:
    """A federation that can be run.

    Attributes
    ----------
    framework : callable
        Plan to protocol.
    masks : tuple of MaskStream
        Of whoever draws LoRA dropout by name; empty where torch's generator does.
    """

    framework: Callable[[ClientPlan], Protocol]
    training: TrainingSpec
    settings: RoundSettings
    options: RunOptions
    data: FederationData
    server: Server
    clients: dict[str, Client]
    masks: tuple[MaskStream, ...] = ()

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
        """A client's plan in a round: its texts in the order in which it will visit them."""
        return _plan(
            self.training,
            self.settings,
            self.data,
            [
                [int(self.data.clients[client_id].lengths[row]) for row in epoch]
                for epoch in self._orders(client_id, round_index)
            ],
        )

    def participants(self, round_index: int) -> tuple[str, ...]:
        """Who does not drop out of a round."""
        return participants(
            self.options.seed, round_index, tuple(self.clients), self.options.dropout_probability
        )

    def protocols(self, round_index: int) -> dict[str, Protocol]:
        """The protocol of a round of everybody who takes part; all of them in the set-up."""
        present: Iterable[str] = self.clients
        if round_index != SETUP_ROUND:
            present = self.participants(round_index)
        return {cid: self.framework(self.plan(cid, max(1, round_index))) for cid in present}

    def run_setup(self, executor: Executor) -> None:
        """Run the set-up."""
        executor.run_setup(self.protocols(SETUP_ROUND))

    def run_round(self, executor: Executor, round_index: int) -> None:
        """Run one round."""
        for stream in self.masks:
            stream.begin_round(round_index)
        protocols = self.protocols(round_index)
        for client_id in protocols:
            client = self.clients[client_id]
            order = [row for epoch in self._orders(client_id, round_index) for row in epoch]
            client.begin_round(self.plan(client_id, round_index), order)
        executor.run_round(round_index, protocols)
        for client_id in protocols:
            self.clients[client_id].end_round()

    def _orders(self, client_id: str, round_index: int) -> list[list[int]]:
        num_samples = self.data.clients[client_id].num_rows
        return [
            visiting_order(self.options.seed, round_index, client_id, epoch, num_samples).tolist()
            for epoch in range(self.settings.local_epochs)
        ]


def build_federation(
    framework: Callable[[ClientPlan], Protocol],
    training: TrainingSpec,
    settings: RoundSettings,
    data: FederationData,
    *,
    options: RunOptions | None = None,
    weights: Weights,
    weights_source: str | Path | None = None,
    device: torch.device | None = None,
    attention: Literal["eager", "sdpa"] = "eager",
    draws_masks_by_name: bool = False,
) -> Federation:
    """Build models and parties.

    All clients start from the server's weights, head and adapters; the frozen base is shared in
    memory, which changes no result.

    Parameters
    ----------
    draws_masks_by_name : bool
        LoRA dropout masks by (seed, round, client, batch, sample, layer, token): the ones that a
        cohort has, whoever is computed together. See :mod:`fedsim.runtime.keyed_dropout`. The
        other parameters are those of :func:`fedsim.runtime.build_model.build_model`, or explained
        with their types.

    Raises
    ------
    ScenarioError
        If the data does not fit the model.
    """
    options = options or RunOptions()
    _check(training, data)
    device = device or torch.device("cpu")
    model = build_model(
        training,
        weights=weights,
        pad_token_id=data.pad_token_id,
        seed=options.seed,
        device=device,
        source=weights_source,
        attention=attention,
    )
    public = None
    if data.public is not None:
        unlabeled = replace(data.public, labels=data.public.labels[:0])
        public = TextSource(unlabeled, settings.padding, data.pad_token_id)
    lengths = {cid: [[0] * rows.num_rows] for cid, rows in data.clients.items()}

    def plans_of(settings: RoundSettings) -> dict[str, ClientPlan]:
        return {
            cid: _plan(training, settings, data, [[1] * len(epochs[0])] * settings.local_epochs)
            for cid, epochs in lengths.items()
        }

    plans = plans_of(settings)
    if settings.cut is not None and not cuts_model(framework(next(iter(plans.values()))).round):
        # What is cut is the protocol's to say: a plan may have a cut that its framework ignores.
        settings = replace(settings, cut=None)
        plans = plans_of(settings)
    whole = Part.whole(training.model.num_layers)
    client_part = whole if settings.cut is None else Part.below(settings.cut.position)
    streams: list[MaskStream] = []

    def masks(party: str) -> MaskStream | None:
        if not draws_masks_by_name:
            return None
        streams.append(MaskStream(options.seed, party))
        return streams[-1]

    server = Server(
        Trainer(model, whole, options, masks(SERVER)),
        next(iter(plans.values())),
        {cid: _weight(training, rows) for cid, rows in data.clients.items()},
        public,
        masks,
    )
    clients = {
        cid: Client(
            cid,
            Trainer(model.clone(), client_part, options, masks(cid)),
            TextSource(rows, settings.padding, data.pad_token_id),
            plans[cid],
            public,
        )
        for cid, rows in data.clients.items()
    }
    return Federation(framework, training, settings, options, data, server, clients, tuple(streams))


def _weight(training: TrainingSpec, rows: EncodedDataset) -> float:
    """A client's weight in averages: what its loss is a mean over.

    Samples of a classification; next tokens of a language model, or the average would not be the
    step on the union of the data.
    """
    if training.head.kind == "classification":
        return float(rows.num_rows)
    return float(max(1, int((rows.lengths - 1).sum())))


def _plan(
    training: TrainingSpec,
    settings: RoundSettings,
    data: FederationData,
    epochs: list[list[int]],
) -> ClientPlan:
    max_tokens = next(iter(data.clients.values())).max_tokens
    public_text = None
    if data.public is not None:
        lengths = tuple(int(n) for n in data.public.lengths)
        public_text = TextLengths(len(lengths), max_tokens, settings.padding, lengths)
    return ClientPlan(
        training=training,
        train_epochs=tuple(
            TextLengths(len(epoch), max_tokens, settings.padding, tuple(epoch)) for epoch in epochs
        ),
        public_text=public_text,
        batch_size=settings.batch_size,
        accumulation_steps=settings.accumulation_steps,
        distillation_epochs=settings.distillation_epochs,
        cut=settings.cut,
        server_variant=settings.server_variant,
        shares_head=settings.shares_head,
    )


def _check(training: TrainingSpec, data: FederationData) -> None:
    for client_id, rows in data.clients.items():
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
