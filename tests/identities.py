"""Identities of the frameworks as numbers that should be zero.

Each function runs the real parties and returns the largest absolute difference of two things that
are the same by algebra. The tests hold them against a bound; the negative controls break something
and see the bound exceeded. Needs the extra ``runtime``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from fedsim.draws import visiting_order
from fedsim.protocol.operation import (
    Content,
    Part,
)
from fedsim.runtime.channel import Message, deserialize
from fedsim.runtime.executor import Executor
from fedsim.runtime.federation import Federation
from fedsim.runtime.options import RunOptions
from fedsim.runtime.staged_model import StagedModel
from fedsim.runtime.text_batch import TextSource
from fedsim.runtime.trainer import Trainer
from fedsim.spec.model import HeadSpec
from fedsim.spec.plan import Optimizer, TrainingSpec
from fedsim.spec.tuning import LoraTuning
from shapes import NUM_CLASSES, NUM_LAYERS
from tiny import (
    CPU,
    PAD,
    RoundSettings,
    tiny_batch,
    tiny_federation,
    tiny_model,
    tiny_rows,
    tiny_training,
)

WHOLE = Part.whole(NUM_LAYERS)
RATE = RunOptions(learning_rate=0.05)
LENGTHS = {"ann": (4, 9, 1), "bob": (7, 2), "cid": (3, 3, 8, 5, 6)}

Parameters = dict[str, Tensor]


def run(federation: Federation, num_rounds: int = 1, *, counts_flop: bool = False) -> Executor:
    """Set-up and some rounds."""
    executor = federation.executor(counts_flop=counts_flop)
    federation.run_setup(executor)
    for round_index in range(1, num_rounds + 1):
        federation.run_round(executor, round_index)
    return executor


def parameters(model: StagedModel, part: Part = WHOLE) -> Parameters:
    """Copies of the trained parameters."""
    return {name: p.detach().clone() for name, p in model.trained(part).items()}


def largest_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Over all tensors, which must have the same names and shapes."""
    assert one.keys() == other.keys()
    assert all(one[name].shape == other[name].shape for name in one)
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


def assert_moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    """An identity between parties that stood still would say nothing."""
    assert largest_difference(before, after) > 1e-3


# --- FedLLM --------------------------------------------------------------------------------------


def one_client_difference(optimizer: Optimizer = "adam") -> float:
    """F1: the average of one client's adapters against that client's adapters."""
    training = tiny_training(optimizer=optimizer)
    federation = tiny_federation("fedllm", training, clients={"ann": (4, 9, 1)}, options=RATE)
    before = parameters(federation.server.trainer.model)
    run(federation)
    after = parameters(federation.server.trainer.model)
    assert_moved(before, after)
    return largest_difference(after, parameters(federation.clients["ann"].trainer.model))


def identical_clients_difference(num_clients: int = 3) -> float:
    """F2: the average of clients with the same data against any of them.

    All rows of the data are one text, because clients visit theirs in orders of their own.
    """
    rows = tiny_rows([6]).take([0, 0, 0])
    clients = {f"client-{index}": rows for index in range(num_clients)}
    federation = tiny_federation("fedllm", tiny_training(), clients=clients, options=RATE)
    run(federation)
    average = parameters(federation.server.trainer.model)
    return max(
        largest_difference(average, parameters(client.trainer.model))
        for client in federation.clients.values()
    )


def central_step_difference(
    head: HeadSpec | None = None, weights: dict[str, float] | None = None, family: str = "gpt2"
) -> float:
    """F3: averaged single full-batch SGD steps against one SGD step on all data."""
    training = tiny_training(family, head=head, optimizer="sgd")
    num_classes = NUM_CLASSES if training.head.kind == "classification" else 0
    clients = {
        name: tiny_rows(lengths, seed=index, num_classes=num_classes)
        for index, (name, lengths) in enumerate(LENGTHS.items())
    }
    settings = RoundSettings(batch_size=16)
    federation = tiny_federation("fedllm", training, settings, clients=clients, options=RATE)
    if weights is not None:
        federation.server.client_weights = weights
    central = Trainer(federation.server.trainer.model.clone(), WHOLE, RATE)
    before = parameters(central.model)
    run(federation)
    union = [text for rows in clients.values() for text in rows.token_ids]
    labels = [label for rows in clients.values() for label in rows.labels.tolist()]
    together = replace(
        clients["ann"],
        token_ids=tuple(union),
        labels=torch.tensor(labels, dtype=torch.int64).numpy(),
    )
    batch = TextSource(together, "max_tokens", PAD).batch(range(len(union)), CPU)
    central.train(batch, is_update=True)
    assert_moved(before, parameters(central.model))
    return largest_difference(
        parameters(federation.server.trainer.model), parameters(central.model)
    )


def order_difference() -> float:
    """F4: a cohort listed in one order against the same cohort listed in another."""
    found = []
    for names in (list(LENGTHS), list(reversed(LENGTHS))):
        seeds = {name: index for index, name in enumerate(LENGTHS)}
        clients = {name: tiny_rows(LENGTHS[name], seed=seeds[name]) for name in names}
        federation = tiny_federation("fedllm", tiny_training(), clients=clients, options=RATE)
        run(federation, 2)
        found.append(parameters(federation.server.trainer.model))
    return largest_difference(*found)


# --- KD-FedLLM -----------------------------------------------------------------------------------


def kd_federation(
    training: TrainingSpec | None = None, num_public: int = 4, **changes: Any
) -> Federation:
    """Three clients and a public data set."""
    public = tuple((5, 2, 9, 7, 3)[:num_public])
    options: dict[str, Any] = {"clients": LENGTHS, "options": RATE} | changes
    return tiny_federation(
        "kd_fedllm",
        training or tiny_training(),
        RoundSettings(batch_size=3),
        public=public,
        **options,
    )


def teacher_difference() -> float:
    """K1: the refined logits of identical clients against any client's own."""
    rows = tiny_rows([6]).take([0, 0, 0])
    federation = kd_federation(clients=dict.fromkeys(LENGTHS, rows))
    with listening(federation) as heard:
        run(federation)
    own = heard.tensors(Content.LOGITS, "logits")
    assert len(own) == len(LENGTHS)
    teacher = federation.server.knowledge.teacher
    assert teacher is not None
    return max(float((teacher - logits).abs().max()) for logits in own)


def distillation_gradient(dropout: float = 0.0, loss: Any = "kl") -> float:
    """K2: the distillation loss's gradient where the student is the teacher."""
    tuning = LoraTuning(r=2, dropout=dropout)
    training = tiny_training(tuning=tuning, model_dropout=dropout)
    trainer = Trainer(tiny_model(training), WHOLE, replace(RATE, distillation_loss=loss))
    batch = tiny_batch([4, 9, 1])
    teacher = trainer.infer(batch, all_positions=False)
    trainer.distill(batch, teacher, is_update=False)
    gradients = [p.grad for p in trainer.model.trained(WHOLE).values()]
    assert len(gradients) == 7
    return max(float(gradient.abs().max()) for gradient in gradients if gradient is not None)


def local_only_difference(num_public: int = 0) -> float:
    """K3: KD-FedLLM clients without public data against clients that only train on their own."""
    federation = kd_federation(num_public=num_public)
    models = {name: client.trainer.model.clone() for name, client in federation.clients.items()}
    run(federation, 2)
    worst = 0.0
    for name, client in federation.clients.items():
        alone = train_alone(models[name], name, client.private, batch_size=3, num_rounds=2)
        worst = max(worst, largest_difference(alone, parameters(client.trainer.model)))
    return worst


def train_alone(
    model: StagedModel, name: str, data: TextSource, *, batch_size: int, num_rounds: int
) -> Parameters:
    """A client's rounds without any federation: same orders, optimizer fresh every round."""
    trainer = Trainer(model, WHOLE, RATE)
    before = parameters(model)
    for round_index in range(1, num_rounds + 1):
        trainer.reset_optimizer()
        order = visiting_order(RATE.seed, round_index, name, 0, data.data.num_rows).tolist()
        for start in range(0, len(order), batch_size):
            batch = data.batch(order[start : start + batch_size], CPU)
            trainer.train(batch, is_update=True)
    assert_moved(before, parameters(model))
    return parameters(model)


def repeated_logits_difference() -> float:
    """K4: a client's logits on the public data against the same once more, dropout configured."""
    tuning = LoraTuning(r=2, dropout=0.5)
    federation = kd_federation(tiny_training(tuning=tuning, model_dropout=0.5))
    run(federation)
    client = federation.clients["ann"]
    found = []
    for _ in range(2):
        client.knowledge.infer(client.trainer, 3)
        client.knowledge.infer(client.trainer, 1)
        found.append(client.knowledge.own)
    assert float(found[0].abs().max()) > 0
    return float((found[0] - found[1]).abs().max())


# --- listening -----------------------------------------------------------------------------------


@dataclass
class Heard:
    """Messages that a server received and gave."""

    requests: list[Message] = field(default_factory=list)
    replies: list[Message] = field(default_factory=list)

    def tensors(self, content: Content, name: str) -> list[Tensor]:
        """One tensor of every uplink message about something, in the order of arrival."""
        return [
            deserialize(message.body, CPU)[name]
            for message in self.requests
            if message.content == content and message.body
        ]


@contextmanager
def listening(federation: Federation) -> Iterator[Heard]:
    """Record every message of a federation."""
    heard = Heard()
    handle: Callable[[Message], Message] = federation.server.handle

    def record(message: Message) -> Message:
        heard.requests.append(message)
        reply = handle(message)
        heard.replies.append(reply)
        return reply

    federation.server.handle = record  # type: ignore[method-assign]
    try:
        yield heard
    finally:
        federation.server.handle = handle  # type: ignore[method-assign]
