"""Tables of the work: ``[model]``, ``[lora]``, ``[workload]``, ``[split]``, ``[learning]``.

Decides which keys there are, their ranges and what each affects. The upper bounds only keep a
mistyped number from running for hours; no real federation comes near them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from fedsim.scenario.file.key import Table, alone, key
from fedsim.scenario.file.text_length import LengthSource
from fedsim.spec.batch import Padding
from fedsim.spec.dtype import FloatDtype
from fedsim.spec.federation import ServerOrder
from fedsim.spec.plan import Optimizer, ServerVariant
from fedsim.spec.quantity import ByteCount, Joules, Seconds
from fedsim.spec.tuning import InitLoraWeights

__all__ = [
    "BUDGETS",
    "LearningTable",
    "LoraTable",
    "ModelTable",
    "SplitTable",
    "WorkloadTable",
]

#: Keys of ``[learning]`` that limit what a training may take.
BUDGETS: Final = ("budget_time", "budget_bytes", "budget_energy", "budget_money")
_MAX_SAMPLES = 1_000_000


class ModelTable(Table):
    """``[model]``: what is fine-tuned."""

    name: str = key(
        "cost", "time", "learning", description="Catalogue name, or path of a config.json"
    )
    head: Literal["classification", "language_model"] = key(
        "cost",
        "time",
        "learning",
        default="classification",
        description="A label a sample, or a token each",
    )
    num_classes: int | None = key(
        "cost",
        "time",
        "learning",
        when="head = classification",
        default=None,
        ge=2,
        le=1_000_000,
        description="C, for classification",
    )
    tuning: Literal["lora", "full"] = key(
        "cost",
        "time",
        "learning",
        default="lora",
        description="Adapters by [lora], or every parameter",
    )
    weights_dtype: FloatDtype = key(
        "cost", "time", "learning", default="float32", description="Of the frozen base weights"
    )
    compute_dtype: FloatDtype = key(
        "cost",
        "time",
        "learning",
        default="float32",
        description="Of activations and matrix products",
    )
    payload_dtype: FloatDtype = key(
        "cost",
        "time",
        "learning",
        default="float32",
        description="Of all that is sent in a round, but for what [codec] names",
    )
    gradient_checkpointing: bool = key(
        "cost", "time", default=False, description="Recompute every block in the backward pass"
    )
    dropout: float = key(
        "cost", "time", "learning", default=0.0, ge=0, lt=1, description="The model's own dropout"
    )


_Names = Annotated[
    tuple[str, ...],
    Field(strict=False, min_length=1, max_length=100),
    BeforeValidator(alone, json_schema_input_type=str | list[str]),
]


class LoraTable(Table):
    """``[lora]``: the adapters; peft's words."""

    r: int = key(
        "cost",
        "time",
        "learning",
        learning="covariate",
        when="tuning = lora",
        ge=1,
        le=65536,
        description="Rank",
    )
    alpha: float = key(
        "learning",
        when="tuning = lora",
        default=32.0,
        gt=0,
        description="lora_alpha: the scaling is alpha / r",
    )
    dropout: float = key(
        "cost",
        "time",
        "learning",
        when="tuning = lora",
        default=0.0,
        ge=0,
        lt=1,
        description="On the adapter's input",
    )
    target_modules: _Names = key(
        "cost",
        "time",
        "learning",
        when="tuning = lora",
        description="Linear layers by suffix, or 'all-linear'",
    )
    num_top_layers: int | None = key(
        "cost",
        "time",
        "learning",
        when="tuning = lora",
        default=None,
        ge=1,
        description="Adapt the last so many blocks only",
    )
    bias: Literal["none", "all", "lora_only"] = key(
        "cost",
        "time",
        "learning",
        when="tuning = lora",
        default="none",
        description="Which biases are trained too",
    )
    use_rslora: bool = key(
        "learning",
        when="tuning = lora",
        default=False,
        description="Rank-stabilized scaling, alpha / sqrt(r)",
    )
    init_lora_weights: InitLoraWeights = key(
        "learning",
        when="tuning = lora",
        default="default",
        description="peft's True, or 'gaussian'",
    )
    shares_head: bool = key(
        "cost",
        "time",
        "learning",
        when="tuning = lora",
        default=True,
        description="Exchange the trained classification head too",
    )


class WorkloadTable(Table):
    """``[workload]``: data, batches and rounds."""

    dataset: str = key("label", "learning", default="", description="What the data is called")
    max_tokens: int = key(
        "cost", "time", "learning", ge=1, le=1_048_576, description="Longer texts are cut"
    )
    padding: Padding = key(
        "cost", "time", default="max_tokens", description="All to max_tokens, by batch, or none"
    )
    lengths: LengthSource | None = key(
        "cost",
        "time",
        "learning",
        when="lengths are not the data set's",
        default=None,
        description="Token lengths; needed unless all are padded",
    )
    samples_per_client: int = key(
        "cost",
        "time",
        "learning",
        learning="covariate",
        ge=1,
        le=_MAX_SAMPLES,
        description="Private training samples a round",
    )
    samples_p95: int | None = key(
        "cost",
        "time",
        "learning",
        default=None,
        ge=1,
        le=_MAX_SAMPLES,
        description="95 % of clients have fewer; 'samples_per_client' is the median (log-normal)",
    )
    samples_alpha: float | None = key(
        "cost",
        "time",
        "learning",
        default=None,
        gt=0,
        le=1e6,
        description="Dirichlet concentration of data sizes; 'samples_per_client' is the mean",
    )
    public_samples: int | None = key(
        "cost",
        "time",
        "learning",
        learning="covariate",
        when="the framework has a public set",
        default=None,
        ge=1,
        le=_MAX_SAMPLES,
        description="Public set (KD-FedLLM)",
    )
    available_samples: int | None = key(
        "label", default=None, ge=1, description="Size of the data; larger plans are refused"
    )
    batch_size: int = key("cost", "time", "learning", ge=1, le=_MAX_SAMPLES, description="B")
    accumulation_steps: int = key(
        "time", "learning", default=1, ge=1, le=_MAX_SAMPLES, description="Batches an update"
    )
    local_epochs: int = key(
        "cost",
        "time",
        "learning",
        default=1,
        ge=1,
        le=1000,
        description="Passes over private data a round",
    )
    distillation_epochs: int = key(
        "cost",
        "time",
        "learning",
        when="the framework has a public set",
        default=1,
        ge=1,
        le=1000,
        description="Passes over the public set",
    )
    num_rounds: int = key(
        "cost",
        "time",
        "learning",
        learning="rounds",
        ge=1,
        le=1_000_000,
        description="Rounds in all",
    )
    optimizer: Optimizer = key(
        "cost", "time", "learning", default="adam", description="Adam keeps two values a parameter"
    )


class SplitTable(Table):
    """``[split]``: where Split-FedLLM cuts the model."""

    cut_layer: int | None = key(
        "cost",
        "time",
        "learning",
        when="one server-side model, or a cut and clients that fail",
        default=None,
        ge=0,
        le=10_000,
        description="Whole blocks on the client",
    )
    half_block: bool = key(
        "cost",
        "time",
        "learning",
        when="one server-side model, or a cut and clients that fail",
        default=False,
        description="The next block's attention on the client too",
    )
    server_variant: ServerVariant = key(
        "cost",
        "time",
        "learning",
        when="the framework cuts the model",
        default="v1",
        description="A copy a client, or one shared part",
    )
    server_order: ServerOrder = key(
        "time",
        "learning",
        when="one server-side model for all clients",
        default="turns",
        description="One shared part (v2): clients take whole turns, or batches as they come",
    )


class LearningTable(Table):
    """``[learning]``: what a real run learns by, at no cost; budgets and targets."""

    learning_rate: float = key("learning", default=1e-3, gt=0, description="Of the optimizer")
    optimizer_state: Literal["reset", "keep"] = key(
        "learning",
        when="optimizer = adam",
        default="reset",
        description="Whether it survives a round",
    )
    distillation_loss: Literal["kl", "mae"] = key(
        "learning",
        when="the framework has a public set",
        default="kl",
        description="T^2 KL(teacher || student), or mean absolute error",
    )
    distillation_temperature: float = key(
        "learning",
        when="a public set with distillation_loss = kl",
        default=2.0,
        gt=0,
        description="T of the KL loss",
    )
    partition: Literal["iid", "dirichlet"] = key(
        "learning", default="iid", description="How labels are spread over clients"
    )
    dirichlet_alpha: float | None = key(
        "learning",
        when="partition = dirichlet",
        default=None,
        gt=0,
        description="Concentration of a Dirichlet partition",
    )
    curves: str | None = key(
        "learning",
        learning="question",
        default=None,
        min_length=1,
        description="Fitted learning curves, by name or path: what accuracy is told by",
    )
    weights: Literal["random", "pretrained", "warm"] | None = key(
        "learning",
        learning="open",
        default=None,
        description="What training starts from; those that curves were measured with, without it",
    )
    transfer: bool = key(
        "learning",
        learning="question",
        default=False,
        description="Show what curves of other conditions say, as measured on theirs",
    )
    extrapolate: bool = key(
        "learning",
        learning="question",
        default=False,
        description="Beyond 1.5 times the measured rounds: the range over families of curves",
    )
    target_accuracy: float | None = key(
        "learning",
        learning="question",
        default=None,
        gt=0,
        lt=1,
        description="Rounds until it is reached, and what they cost; the set-up stands apart",
    )
    budget_time: Seconds | None = key(
        "learning",
        learning="question",
        default=None,
        description="Accuracy for so much time of rounds; set-up left out",
    )
    budget_bytes: ByteCount | None = key(
        "learning",
        learning="question",
        default=None,
        description="And for so much payload, all clients, both ways; set-up left out",
    )
    budget_energy: Joules | None = key(
        "learning",
        learning="question",
        default=None,
        description="And for so much energy of everybody; set-up left out",
    )
    budget_money: float | None = key(
        "learning",
        learning="question",
        default=None,
        ge=0,
        description="And for so much money, in price.currency; set-up left out",
    )
