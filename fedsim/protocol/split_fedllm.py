"""Split-FedLLM: the model is cut between client and server (steps c1-c5 a batch, cc1-cc4 a round).

Section II of the article. Set-up: every client receives the base weights and the initial adapters
of its own part once. A client that trains nothing (a frozen part below the cut) gets no gradients
back and exchanges no adapters.
"""

from __future__ import annotations

from typing import Final

from fedsim.errors import ProtocolError
from fedsim.protocol.framework import Framework
from fedsim.protocol.mini_batches import training_batches
from fedsim.protocol.operation import (
    Aggregate,
    BackwardFromCut,
    Content,
    ForwardToCut,
    Part,
    Replace,
    TrainAboveCut,
)
from fedsim.protocol.payload import (
    activation_gradient_payload,
    activation_payload,
    adapter_payload,
    base_weights_payload,
)
from fedsim.protocol.step import (
    Compute,
    Direction,
    Each,
    Gather,
    Once,
    Protocol,
    Segment,
    Site,
    Transfer,
)
from fedsim.spec.batch import BatchShape
from fedsim.spec.plan import ClientPlan

__all__ = ["SPLIT_FEDLLM", "split_fedllm"]


def split_fedllm(plan: ClientPlan) -> Protocol:
    """Split-FedLLM's protocol for one client's plan.

    Raises
    ------
    ProtocolError
        If the plan has no cut.
    """
    if plan.cut is None:
        raise ProtocolError("Split-FedLLM needs a cut: the plan's cut is missing.")
    training = plan.training
    below = Part.below(plan.cut.position)
    above = Part.above(plan.cut.position, training.model.num_layers)
    adapters = adapter_payload(training, below)
    trains_client = bool(adapters.tensors)
    # V1 has a server-side copy for each client; V2 one model, which clients train in turns.
    is_copied = plan.server_variant == "v1"

    def exchange(batch: BatchShape, is_update: bool) -> tuple[Compute | Transfer, ...]:
        up = (
            Compute("c1", Site.CLIENT, ForwardToCut(below, batch)),
            Transfer("c2", Direction.UP, activation_payload(plan, batch)),
            Compute("c3", Site.SERVER, TrainAboveCut(above, batch, is_update), not is_copied),
        )
        down = (
            Transfer("c4", Direction.DOWN, activation_gradient_payload(plan, batch)),
            Compute("c5", Site.CLIENT, BackwardFromCut(below, batch, is_update)),
        )
        return (*up, *down) if trains_client else up

    batches = training_batches(
        plan.train_epochs, plan.batch_size, plan.accumulation_steps, exchange
    )
    # Copies are averaged in the same step as what the clients sent.
    averaged = Part.whole(training.model.num_layers) if is_copied else below
    aggregation = Once((Compute("cc2", Site.SERVER, Aggregate(Content.ADAPTERS, averaged)),))
    segments: tuple[Segment, ...] = (Each(batches), Gather("c2"), aggregation)
    if trains_client:
        segments = (
            Each((*batches, Transfer("cc1", Direction.UP, adapters))),
            Gather("cc1"),
            aggregation,
            Each(
                (
                    Transfer("cc3", Direction.DOWN, adapters),
                    Compute("cc4", Site.CLIENT, Replace(Content.ADAPTERS, below)),
                )
            ),
        )
    setup = [Transfer("setup", Direction.DOWN, base_weights_payload(training, below))]
    if trains_client:
        setup.append(Transfer("setup", Direction.DOWN, adapters))
    return Protocol("split_fedllm", setup=(Each(tuple(setup)),), round=segments)


SPLIT_FEDLLM: Final = Framework(
    "split_fedllm",
    "Split-FedLLM",
    split_fedllm,
    needs={
        "split.cut_layer": "Split-FedLLM cuts the model: write how many blocks the clients hold."
    },
    reads=frozenset(("split",)),
    other_names=("split", "splitfed", "sfl", "split_learning"),
)
