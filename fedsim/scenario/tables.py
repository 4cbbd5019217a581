"""Tables of the work: ``[model]``, ``[lora]``, ``[workload]``, ``[split]``, ``[learning]``.

Decides which keys there are, their ranges and what each affects. The upper bounds only keep a
mistyped number from running for hours; no real federation comes near them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from fedsim.scenario.key import Table, key
from fedsim.scenario.text_length import LengthSource
from fedsim.spec.batch import Padding
from fedsim.spec.dtype import FloatDtype
from fedsim.spec.federation import ServerOrder
from fedsim.spec.plan import Optimizer, ServerVariant
from fedsim.spec.quantity import ByteCount, Joules, Seconds
from fedsim.spec.tuning import InitLoraWeights

__all__ = ["LearningTable", "LoraTable", "ModelTable", "SplitTable", "WorkloadTable"]

_MAX_SAMPLES = 1_000_000


class ModelTable(Table):
    """``[model]``: what is fine-tuned."""

    name: str = key("cost", "time", description="Catalogue name, or path of a config.json")
    head: Literal["classification", "language_model"] = key(
        "cost", "time", default="classification", description="A label a sample, or a token each"
    )
    num_classes: int | None = key(
        "cost", "time", default=None, ge=2, le=1_000_000, description="C, for classification"
    )
    tuning: Literal["lora", "full"] = key(
        "cost", "time", default="lora", description="Adapters by [lora], or every parameter"
    )
    weights_dtype: FloatDtype = key(
        "cost", "time", default="float32", description="Of the frozen base weights"
    )
    compute_dtype: FloatDtype = key(
        "cost", "time", default="float32", description="Of activations and matrix products"
    )
    payload_dtype: FloatDtype = key(
        "cost", "time", default="float32", description="Of all that is sent in a round"
    )
    gradient_checkpointing: bool = key(
        "cost", "time", default=False, description="Recompute every block in the backward pass"
    )
    dropout: float = key(
        "cost", "time", "learning", default=0.0, ge=0, lt=1, description="The model's own dropout"
    )


def _alone(value: object) -> object:
    return (value,) if isinstance(value, str) else value


_Names = Annotated[
    tuple[str, ...],
    Field(strict=False, min_length=1, max_length=100),
    BeforeValidator(_alone, json_schema_input_type=str | list[str]),
]


class LoraTable(Table):
    """``[lora]``: the adapters; peft's words."""

    r: int = key("cost", "time", ge=1, le=65536, description="Rank")
    alpha: float = key(
        "learning", default=32.0, gt=0, description="lora_alpha: the scaling is alpha / r"
    )
    dropout: float = key(
        "cost", "time", "learning", default=0.0, ge=0, lt=1, description="On the adapter's input"
    )
    target_modules: _Names = key(
        "cost", "time", description="Linear layers by suffix, or 'all-linear'"
    )
    num_top_layers: int | None = key(
        "cost", "time", default=None, ge=1, description="Adapt the last so many blocks only"
    )
    bias: Literal["none", "all", "lora_only"] = key(
        "cost", "time", default="none", description="Which biases are trained too"
    )
    use_rslora: bool = key(
        "learning", default=False, description="Rank-stabilized scaling, alpha / sqrt(r)"
    )
    init_lora_weights: InitLoraWeights = key(
        "learning", default="default", description="peft's True, or 'gaussian'"
    )
    shares_head: bool = key(
        "cost", "time", default=True, description="Exchange the trained classification head too"
    )


class WorkloadTable(Table):
    """``[workload]``: data, batches and rounds."""

    dataset: str = key("label", default="", description="What the data is called")
    max_tokens: int = key("cost", "time", ge=1, le=1_048_576, description="Longer texts are cut")
    padding: Padding = key(
        "cost", "time", default="max_tokens", description="All to max_tokens, by batch, or none"
    )
    lengths: LengthSource | None = key(
        "cost", "time", default=None, description="Token lengths; needed unless all are padded"
    )
    samples_per_client: int = key(
        "cost", "time", ge=1, le=_MAX_SAMPLES, description="Private training samples a round"
    )
    samples_p95: int | None = key(
        "cost",
        "time",
        default=None,
        ge=1,
        le=_MAX_SAMPLES,
        description="95 % of clients have fewer; 'samples_per_client' is the median (log-normal)",
    )
    samples_alpha: float | None = key(
        "cost",
        "time",
        default=None,
        gt=0,
        le=1e6,
        description="Dirichlet concentration of data sizes; 'samples_per_client' is the mean",
    )
    public_samples: int | None = key(
        "cost", "time", default=None, ge=1, le=_MAX_SAMPLES, description="Public set (KD-FedLLM)"
    )
    available_samples: int | None = key(
        "label", default=None, ge=1, description="Size of the data; larger plans are refused"
    )
    batch_size: int = key("cost", "time", ge=1, le=_MAX_SAMPLES, description="B")
    accumulation_steps: int = key(
        "time", "learning", default=1, ge=1, le=_MAX_SAMPLES, description="Batches an update"
    )
    local_epochs: int = key(
        "cost", "time", default=1, ge=1, le=1000, description="Passes over private data a round"
    )
    distillation_epochs: int = key(
        "cost", "time", default=1, ge=1, le=1000, description="Passes over the public set"
    )
    num_rounds: int = key("cost", "time", ge=1, le=1_000_000, description="Rounds in all")
    optimizer: Optimizer = key(
        "cost", "time", "learning", default="adam", description="Adam keeps two values a parameter"
    )


class SplitTable(Table):
    """``[split]``: where Split-FedLLM cuts the model."""

    cut_layer: int | None = key(
        "cost", "time", default=None, ge=0, le=10_000, description="Whole blocks on the client"
    )
    half_block: bool = key(
        "cost", "time", default=False, description="The next block's attention on the client too"
    )
    server_variant: ServerVariant = key(
        "cost", "time", "learning", default="v1", description="A copy a client, or one shared part"
    )
    server_order: ServerOrder = key(
        "time",
        "learning",
        default="turns",
        description="One shared part (v2): clients take whole turns, or batches as they come",
    )


class LearningTable(Table):
    """``[learning]``: choices that cost nothing and decide what a real run learns."""

    learning_rate: float = key("learning", default=1e-3, gt=0, description="Of the optimizer")
    optimizer_state: Literal["reset", "keep"] = key(
        "learning", default="reset", description="Whether it survives a round"
    )
    distillation_loss: Literal["kl", "mae"] = key(
        "learning", default="kl", description="T^2 KL(teacher || student), or mean absolute error"
    )
    distillation_temperature: float = key(
        "learning", default=2.0, gt=0, description="T of the KL loss"
    )
    partition: Literal["iid", "dirichlet"] = key(
        "learning", default="iid", description="How labels are spread over clients"
    )
    dirichlet_alpha: float | None = key(
        "learning", default=None, gt=0, description="Concentration of a Dirichlet partition"
    )
    curves: str | None = key(
        "learning",
        default=None,
        min_length=1,
        description="Fitted learning curves, by name or path: what accuracy is told by",
    )
    target_accuracy: float | None = key(
        "learning",
        default=None,
        gt=0,
        lt=1,
        description="Rounds, time, bytes, energy and money until it is reached",
    )
    budget_time: Seconds | None = key(
        "learning", default=None, description="Accuracy for so much time, set-up left out"
    )
    budget_bytes: ByteCount | None = key(
        "learning", default=None, description="And for so much payload, all clients, both ways"
    )
    budget_energy: Joules | None = key(
        "learning", default=None, description="And for so much energy of everybody"
    )
    budget_money: float | None = key(
        "learning", default=None, ge=0, description="And for so much money, in price.currency"
    )
