"""FedLLM: clients train adapters on private data, the server averages them (steps a1-a4).

Section II of the article. Set-up: every client receives the frozen base weights once.
"""

from __future__ import annotations

from typing import Final

from fedsim.protocol.framework import Framework
from fedsim.protocol.mini_batches import training_batches
from fedsim.protocol.operation import Aggregate, Content, Part, Train
from fedsim.protocol.payload import adapter_payload, base_weights_payload
from fedsim.protocol.step import Compute, Direction, Each, Gather, Once, Protocol, Site, Transfer
from fedsim.spec.batch import BatchShape
from fedsim.spec.plan import ClientPlan

__all__ = ["FEDLLM", "fedllm"]


def fedllm(plan: ClientPlan) -> Protocol:
    """FedLLM's protocol for one client's plan."""
    whole = Part.whole(plan.training.model.num_layers)
    adapters = adapter_payload(plan.training, whole, plan.shares_head)

    def local_training(batch: BatchShape, is_update: bool) -> tuple[Compute, ...]:
        return (Compute("a2", Site.CLIENT, Train(whole, batch, is_update)),)

    base_weights = base_weights_payload(plan.training, whole)
    return Protocol(
        name="fedllm",
        setup=(Each((Transfer("setup", Direction.DOWN, base_weights),)),),
        round=(
            Each(
                (
                    Transfer("a1", Direction.DOWN, adapters),
                    *training_batches(
                        plan.train_epochs,
                        plan.batch_size,
                        plan.accumulation_steps,
                        local_training,
                    ),
                    Transfer("a3", Direction.UP, adapters),
                )
            ),
            Gather("a3"),
            Once((Compute("a4", Site.SERVER, Aggregate(Content.ADAPTERS, whole)),)),
        ),
    )


FEDLLM: Final = Framework(
    "fedllm",
    "FedLLM",
    fedllm,
    reads=frozenset(),
    other_names=("fedavg", "fedit", "fl", "lora"),
)
