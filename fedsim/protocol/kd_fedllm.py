"""KD-FedLLM: clients and server exchange logits on a public data set and distil (steps b1-b8).

Section II of the article. Set-up: base weights, initial adapters (all start from one function) and
the text of the public set.
"""

from __future__ import annotations

from typing import Final

from fedsim.errors import ProtocolError
from fedsim.protocol.framework import Framework
from fedsim.protocol.mini_batches import inference_batches, training_batches
from fedsim.protocol.operation import Distill, InferLogits, Part, ProcessKnowledge, Train
from fedsim.protocol.payload import (
    adapter_payload,
    base_weights_payload,
    logits_payload,
    public_text_payload,
)
from fedsim.protocol.step import (
    Compute,
    Direction,
    Each,
    Gather,
    Once,
    Protocol,
    Site,
    Step,
    Transfer,
)
from fedsim.spec.batch import BatchShape, TextLengths
from fedsim.spec.plan import ClientPlan

__all__ = ["KD_FEDLLM", "kd_fedllm"]


def kd_fedllm(plan: ClientPlan) -> Protocol:
    """KD-FedLLM's protocol for one client's plan.

    Raises
    ------
    ProtocolError
        If the plan has no public data set.
    """
    public_text = plan.public_text
    if public_text is None:
        raise ProtocolError("KD-FedLLM needs a public data set: the plan's public_text is missing.")
    whole = Part.whole(plan.training.model.num_layers)
    logits = logits_payload(plan)

    def local_training(batch: BatchShape, is_update: bool) -> tuple[Compute, ...]:
        return (Compute("b1", Site.CLIENT, Train(whole, batch, is_update)),)

    return Protocol(
        name="kd_fedllm",
        setup=(
            Each(
                (
                    Transfer("setup", Direction.DOWN, base_weights_payload(plan.training, whole)),
                    Transfer(
                        "setup",
                        Direction.DOWN,
                        adapter_payload(plan.training, whole, plan.shares_head),
                    ),
                    Transfer("setup", Direction.DOWN, public_text_payload(plan)),
                )
            ),
        ),
        round=(
            Each(
                (
                    *training_batches(
                        plan.train_epochs,
                        plan.batch_size,
                        plan.accumulation_steps,
                        local_training,
                    ),
                    *_inference("b2", Site.CLIENT, whole, public_text, plan),
                    Transfer("b3", Direction.UP, logits),
                )
            ),
            Gather("b3"),
            Once(
                (
                    Compute("b4", Site.SERVER, _processing(plan)),
                    *_distillation("b5", Site.SERVER, whole, public_text, plan),
                    *_inference("b6", Site.SERVER, whole, public_text, plan),
                )
            ),
            Each(
                (
                    Transfer("b7", Direction.DOWN, logits),
                    *_distillation("b8", Site.CLIENT, whole, public_text, plan),
                )
            ),
        ),
    )


def _inference(
    label: str, site: Site, part: Part, text: TextLengths, plan: ClientPlan
) -> tuple[Step, ...]:
    return inference_batches(
        text, plan.batch_size, lambda batch: (Compute(label, site, InferLogits(part, batch)),)
    )


def _distillation(
    label: str, site: Site, part: Part, text: TextLengths, plan: ClientPlan
) -> tuple[Step, ...]:
    return training_batches(
        (text,) * plan.distillation_epochs,
        plan.batch_size,
        plan.accumulation_steps,
        lambda batch, is_update: (Compute(label, site, Distill(part, batch, is_update)),),
    )


def _processing(plan: ClientPlan) -> ProcessKnowledge:
    tensors = logits_payload(plan).tensors
    if not tensors:
        return ProcessKnowledge(0, 0)
    *leading, width = tensors[0].shape
    num_rows = 1
    for size in leading:
        num_rows *= size
    return ProcessKnowledge(num_rows, width)


KD_FEDLLM: Final = Framework(
    "kd_fedllm",
    "KD-FedLLM",
    kd_fedllm,
    needs={
        "workload.public_samples": "KD-FedLLM exchanges logits on a public set: write its size."
    },
    reads=frozenset(("workload.public_samples", "workload.distillation_epochs")),
    averages_parameters=False,
    other_names=("kd", "distillation", "fedkd", "fedmd"),
)
