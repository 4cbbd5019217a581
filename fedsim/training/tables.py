"""Tables of a training file: the scenario's own for the work, ``[data]`` and ``[train]`` beside.

Decides which keys there are and their ranges. A key that scenarios have stands where scenarios have
it: sizes and rounds in ``[workload]``, the partition and the learning rate in ``[learning]``.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from fedsim.runtime.data import DataSource
from fedsim.runtime.options import Mode
from fedsim.scenario.file.codec_table import CodecTable
from fedsim.scenario.file.key import Table, key
from fedsim.scenario.file.work_tables import (
    LearningTable,
    LoraTable,
    ModelTable,
    SplitTable,
    WorkloadTable,
)

__all__ = ["DataTable", "TrainTable", "TrainingFile"]

ServerOptimizer = Literal["fedavg", "fedprox", "fedadam"]
Judged = Literal["global", "clients"]

_MAX_SEED: Final = 2**63
_Seed = Annotated[int, Field(ge=0, lt=_MAX_SEED)]


class DataTable(Table):
    """``[data]``: which texts there are and who holds them."""

    dataset: DataSource = key(
        "learning",
        stands_for="workload.dataset",
        description="A data set of the data folder, or 'generated' by fedsim",
    )
    num_clients: int = key(
        "cost",
        "learning",
        stands_for="fleet.num_clients",
        ge=1,
        le=10_000,
        description="Who share the data",
    )
    public_dataset: DataSource | None = key(
        "learning", default=None, description="Where public texts come from: the data set itself"
    )
    test_samples: int | None = key(
        "label",
        default=None,
        ge=1,
        le=1_000_000,
        description="A random sample of the test rows; all without it",
    )
    tokenizer: Literal["word", "gpt2", "pretrained"] | None = key(
        "learning",
        default=None,
        description="By words, GPT-2's files of the data folder, or the weights' own",
    )
    seed: int | None = key(
        "learning",
        learning="draw",
        default=None,
        ge=0,
        lt=_MAX_SEED,
        description="Of generated texts and the partition, where all seeds share one",
    )


class TrainTable(Table):
    """``[train]``: how a real run is made."""

    framework: str = key(
        "cost",
        "learning",
        learning="framework",
        min_length=1,
        description="What a round is: a framework's name, or module:NAME of one's own",
    )
    seeds: Annotated[tuple[_Seed, ...], Field(strict=False, min_length=1, max_length=1000)] = key(
        "learning", learning="draw", default=(0,), description="One run each"
    )
    weights: Literal["random", "pretrained", "warm"] = key(
        "learning",
        learning="open",
        stands_for="learning.weights",
        description="What training starts from; 'warm' names weights of one's own",
    )
    weights_from: str | None = key(
        "learning",
        learning="open",
        default=None,
        min_length=1,
        description="Their folder, or name on the hub",
    )
    device: Literal["cpu", "cuda", "auto"] = key(
        "time", default="cpu", description="'auto' is CUDA where there is one"
    )
    mode: Mode = key(
        "time", default="sequential", description="Clients one by one, or batched together"
    )
    attention: Literal["eager", "sdpa"] = key(
        "time", default="eager", description="Plain products, or torch's fused kernel"
    )
    server_optimizer: ServerOptimizer = key(
        "learning", default="fedavg", description="What an average of parameters becomes"
    )
    mu: float | None = key(
        "learning",
        default=None,
        ge=0,
        le=1e6,
        description="Of fedprox: the pull to the round's start",
    )
    server_learning_rate: float | None = key(
        "learning", default=None, gt=0, le=1e6, description="Of fedadam: eta"
    )
    beta1: float | None = key("learning", default=None, ge=0, lt=1, description="Of fedadam")
    beta2: float | None = key("learning", default=None, ge=0, lt=1, description="Of fedadam")
    tau: float | None = key("learning", default=None, gt=0, le=1e6, description="Of fedadam")
    dropout_probability: float = key(
        "cost",
        "learning",
        stands_for="fleet.dropout_probability",
        default=0.0,
        ge=0,
        lt=1,
        description="That a client drops out of a round; one always stays",
    )
    tf32: bool = key(
        "time",
        "learning",
        stands_for="device.tf32",
        default=False,
        description="TF32 products on CUDA; the summary says what it does to the loss",
    )
    evaluate: Annotated[tuple[Judged, ...], Field(strict=False, max_length=2)] = key(
        "label", default=("global", "clients"), description="Whose accuracy is measured"
    )
    evaluate_every: int = key(
        "label", default=1, ge=1, le=1_000_000, description="Rounds; the last one always is"
    )
    checkpoint_every: int = key(
        "label", default=1, ge=1, le=1_000_000, description="Rounds; the last one always is"
    )
    count_flop: bool = key(
        "label", default=False, description="Let torch count too, which is slower"
    )


class TrainingFile(Table):
    """A whole file."""

    question: str = key("label", default="", max_length=500, description="What is asked")
    model: ModelTable = key("cost", "learning", description="What is fine-tuned")
    lora: LoraTable | None = key("cost", "learning", default=None, description="The adapters")
    codec: CodecTable = key(
        "cost", "learning", default=CodecTable(), description="What messages go through"
    )
    workload: WorkloadTable = key("cost", "learning", description="Sizes, batches and rounds")
    split: SplitTable = key(
        "cost", "learning", default=SplitTable(), description="Where Split-FedLLM cuts the model"
    )
    learning: LearningTable = key(
        "learning", default=LearningTable(), description="What a run learns by"
    )
    data: DataTable = key("learning", description="Which texts, and who holds them")
    train: TrainTable = key("learning", description="How the run is made")
