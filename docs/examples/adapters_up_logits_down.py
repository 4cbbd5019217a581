"""A framework of one's own: adapters travel up, logits travel down.

Clients train and upload their adapters as in FedLLM. The server averages them and sends back not
the average but its logits on a public data set, which the clients distill. With few classes the
downlink is much smaller than the adapters, and the clients' models may differ.
"""

from __future__ import annotations

from fedsim import (
    Aggregate,
    BatchShape,
    ClientPlan,
    Compute,
    Content,
    Direction,
    Distill,
    Each,
    Framework,
    Gather,
    InferLogits,
    Once,
    Part,
    Protocol,
    ProtocolError,
    Site,
    Train,
    Transfer,
    adapter_payload,
    base_weights_payload,
    inference_batches,
    logits_payload,
    public_text_payload,
    training_batches,
)


def protocol(plan: ClientPlan) -> Protocol:
    """One client's protocol, steps h1 to h6."""
    if plan.public_text is None:
        raise ProtocolError("adapters_up_logits_down needs a public data set.")
    whole = Part.whole(plan.training.model.num_layers)
    adapters = adapter_payload(plan.training, whole, plan.shares_head)
    text = plan.public_text

    def train(batch: BatchShape, is_update: bool) -> tuple[Compute, ...]:
        return (Compute("h1", Site.CLIENT, Train(whole, batch, is_update)),)

    def infer(batch: BatchShape) -> tuple[Compute, ...]:
        return (Compute("h4", Site.SERVER, InferLogits(whole, batch)),)

    def distill(batch: BatchShape, is_update: bool) -> tuple[Compute, ...]:
        return (Compute("h6", Site.CLIENT, Distill(whole, batch, is_update)),)

    size, accumulation = plan.batch_size, plan.accumulation_steps
    local_training = training_batches(plan.train_epochs, size, accumulation, train)
    local_distillation = training_batches(
        (text,) * plan.distillation_epochs, size, accumulation, distill
    )
    return Protocol(
        "adapters_up_logits_down",
        setup=(
            Each(
                (
                    Transfer("setup", Direction.DOWN, base_weights_payload(plan.training, whole)),
                    Transfer("setup", Direction.DOWN, adapters),
                    Transfer("setup", Direction.DOWN, public_text_payload(plan)),
                )
            ),
        ),
        round=(
            Each((*local_training, Transfer("h2", Direction.UP, adapters))),
            Gather("h2"),
            Once(
                (
                    Compute("h3", Site.SERVER, Aggregate(Content.ADAPTERS, whole)),
                    *inference_batches(text, size, infer),
                )
            ),
            Each(
                (
                    Transfer("h5", Direction.DOWN, logits_payload(plan)),
                    *local_distillation,
                )
            ),
        ),
    )


adapters_up_logits_down = Framework(
    "adapters_up_logits_down",
    "Adapters up, logits down",
    protocol,
    needs={"workload.public_samples": "logits are those of a public set: write its size."},
    reads=frozenset({"workload.public_samples", "workload.distillation_epochs"}),
)
