"""Identities of Split-FedLLM as numbers that should be zero; see ``identities``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

from fedsim.protocol.operation import (
    BackwardFromCut,
    Content,
    ForwardToCut,
    Part,
    TrainAboveCut,
)
from fedsim.runtime.channel import Message, deserialize, serialize
from fedsim.runtime.federation import Federation
from fedsim.runtime.staged_model import StagedModel
from fedsim.runtime.trainer import Trainer
from fedsim.spec.batch import BatchShape, Padding
from fedsim.spec.model import HeadSpec
from fedsim.spec.plan import Cut, Optimizer, ServerVariant, TrainingSpec
from identities import (
    LENGTHS,
    RATE,
    WHOLE,
    Parameters,
    assert_moved,
    largest_difference,
    parameters,
    run,
    train_alone,
)
from shapes import NUM_LAYERS
from tiny import (
    CPU,
    RoundSettings,
    settings_of,
    tiny_batch,
    tiny_federation,
    tiny_model,
    tiny_training,
)


def split_federation(
    training: TrainingSpec,
    cut: Cut,
    variant: ServerVariant = "v1",
    padding: Padding = "max_tokens",
    **changes: Any,
) -> Federation:
    """Three clients below a cut."""
    settings = RoundSettings(
        batch_size=changes.pop("batch_size", 2),
        accumulation_steps=changes.pop("accumulation_steps", 1),
        local_epochs=changes.pop("local_epochs", 1),
        padding=padding,
        cut=cut,
        server_variant=variant,
    )
    options: dict[str, Any] = {"clients": LENGTHS, "options": RATE} | changes
    return tiny_federation("split_fedllm", training, settings, **options)


def cut_at(position: int) -> Cut:
    """The cut after so many half-blocks."""
    return Cut(position // 2, position % 2 == 1)


def split_gradient_difference(
    training: TrainingSpec, position: int, padding: Padding = "max_tokens"
) -> float:
    """S1: gradients of both sides of a cut against those of the whole model."""
    federation = split_federation(training, cut_at(position), padding=padding)
    federation.run_setup(federation.executor(counts_flop=False))
    client = federation.clients["cid"]
    whole = Trainer(client.trainer.model.clone(), WHOLE, RATE)
    exchange_batch(federation, "cid", position)
    rows = list(range(client.private.data.num_rows))
    whole.train(client.private.batch(rows, CPU), is_update=False)
    below = gradients_of(client.trainer.model, Part.below(position))
    server_side = federation.server.server_side_trainer("cid").model
    above = gradients_of(server_side, Part.above(position, NUM_LAYERS))
    monolithic = gradients_of(whole.model, WHOLE)
    assert max(float(gradient.abs().max()) for gradient in monolithic.values()) > 1e-3
    return largest_difference(below | above, monolithic)


def gradients_of(model: StagedModel, part: Part) -> Parameters:
    """Gradients of a part's trained parameters."""
    found = {}
    for name, parameter in model.trained(part).items():
        assert parameter.grad is not None, name
        found[name] = parameter.grad.clone()
    return found


def exchange_batch(federation: Federation, client_id: str, position: int) -> Parameters:
    """c1 to c5 for all of one client's rows, as messages, without an optimizer step.

    Returns
    -------
    dict of str to Tensor
        What crossed the cut, both ways.
    """
    client, server = federation.clients[client_id], federation.server
    below, above = Part.below(position), Part.above(position, NUM_LAYERS)
    rows = list(range(client.private.data.num_rows))
    client.begin_round(client.plan, rows)
    texts = client.private.batch(rows, CPU)
    width = int(texts.token_ids.shape[1])
    batch = BatchShape.padded(len(rows), width)
    if not texts.is_padded:
        batch = BatchShape.unpadded([int(n) + 1 for n in texts.last_index])
    client.execute(ForwardToCut(below, batch))
    sent = client.outgoing(Content.ACTIVATIONS)
    server.handle(Message(client_id, "c2", Content.ACTIVATIONS, serialize(sent)))
    server.execute_for(client_id, TrainAboveCut(above, batch, is_update=False))
    reply = server.handle(Message(client_id, "c4", Content.ACTIVATION_GRADIENTS))
    received = deserialize(reply.body, CPU)
    client.incoming(Content.ACTIVATION_GRADIENTS, received)
    client.execute(BackwardFromCut(below, batch, is_update=False))
    return {**sent, **received}


def split_round_difference(
    position: int,
    optimizer: Optimizer = "adam",
    *,
    num_rounds: int = 2,
    padding: Padding = "max_tokens",
    **changes: Any,
) -> float:
    """S2: Split-FedLLM V1 rounds against FedLLM rounds on the same data in the same order."""
    training = tiny_training(optimizer=optimizer)
    split = split_federation(training, cut_at(position), padding=padding, **changes)
    settings = replace(settings_of(split), cut=None)
    whole = tiny_federation("fedllm", training, settings, clients=LENGTHS, options=RATE)
    before = parameters(whole.server.trainer.model)
    run(split, num_rounds)
    run(whole, num_rounds)
    after = parameters(whole.server.trainer.model)
    assert_moved(before, after)
    return largest_difference(after, parameters(split.server.trainer.model))


def central_training_difference(position: int, optimizer: Optimizer = "adam") -> float:
    """S3: Split-FedLLM V2 with one client against training the whole model in one place."""
    training = tiny_training(optimizer=optimizer)
    clients = {"ann": (4, 9, 1, 6, 7)}
    federation = split_federation(training, cut_at(position), "v2", clients=clients, batch_size=3)
    model = federation.server.trainer.model.clone()
    data = federation.clients["ann"].private
    run(federation, 2)
    alone = train_alone(model, "ann", data, batch_size=3, num_rounds=2)
    return largest_difference(alone, parameters(federation.server.trainer.model))


def padding_logit_difference(family: str) -> float:
    """S4: logits of padded texts against those of the same texts without padding."""
    trainer = Trainer(tiny_model(tiny_training(family)), WHOLE, RATE)
    lengths = [4, 9, 1, 6]
    padded, unpadded = (
        trainer.infer(tiny_batch(lengths, padding), all_positions=False)  # type: ignore[arg-type]
        for padding in ("max_tokens", "none")
    )
    return float((padded - unpadded).abs().max())


def padding_gradient(position: int, head: HeadSpec | None = None, family: str = "gpt2") -> float:
    """S5: the gradient at the cut where there is only padding; it must be zero itself."""
    federation = split_federation(tiny_training(family, head=head), cut_at(position))
    federation.run_setup(federation.executor(counts_flop=False))
    crossed = exchange_batch(federation, "cid", position)
    gradients, last = crossed["activation_gradients"], crossed["last_index"].to(torch.int64)
    places = torch.arange(gradients.shape[1])
    is_padding = places[None, :] > last[:, None]
    assert bool(is_padding.any())
    assert float(gradients[~is_padding].abs().max()) > 1e-4
    return float(gradients[is_padding].abs().max())


def pooled_loss_difference(position: int, family: str = "gpt2") -> float:
    """S7: the server's loss against the loss of the library's own ``forward`` on the token ids."""
    federation = split_federation(tiny_training(family), cut_at(position))
    federation.run_setup(federation.executor(counts_flop=False))
    client = federation.clients["cid"]
    exchange_batch(federation, "cid", position)
    batch = client.private.batch(list(range(client.private.data.num_rows)), CPU)
    assert batch.labels is not None
    model = federation.server.trainer.model
    model.train(False)
    with torch.no_grad():
        logits = model.module(input_ids=batch.token_ids).logits
    expected = float(functional.cross_entropy(logits, batch.labels))
    return abs(federation.server.server_side_trainer("cid").last_loss - expected)
