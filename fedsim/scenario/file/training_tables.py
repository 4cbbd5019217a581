"""Tables of a real run: ``[data]``, which texts there are, and ``[train]``, how the run is made.

Decides which keys there are and their ranges. A key that costs something stands where scenarios
have it: sizes and rounds in ``[workload]``, clients in ``[fleet]``, what is learned by in
``[learning]``, the framework in a case. No count and no time of an answer depends on these tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from fedsim.runtime.options import Mode
from fedsim.scenario.file.key import Table, key
from fedsim.spec.dataset import DataSource, OwnTexts, TextSource

__all__ = ["DataTable", "DatasetTable", "TrainTable"]

ServerOptimizer = Literal["fedavg", "fedprox", "fedadam"]
Judged = Literal["global", "clients"]

_MAX_SEED: Final = 2**63
_Seed = Annotated[int, Field(ge=0, lt=_MAX_SEED)]
_IS_NAMED: Final = "workload.dataset"


class DatasetTable(Table):
    """Texts: a data set by its name, or a CSV file of one's own."""

    name: DataSource | None = key(
        "learning",
        stands_for=_IS_NAMED,
        default=None,
        description="A data set of the data folder, or 'generated' by fedsim; alone: the name",
    )
    path: str | None = key(
        "learning",
        stands_for=_IS_NAMED,
        default=None,
        min_length=1,
        description="Instead of a name: a CSV file with a header, beside this one",
    )
    text_column: str = key(
        "learning",
        stands_for=_IS_NAMED,
        default="text",
        min_length=1,
        description="Column of a CSV file's texts",
    )
    label_column: str | None = key(
        "learning",
        stands_for=_IS_NAMED,
        default=None,
        min_length=1,
        description="Column of its labels; a classification needs it",
    )
    test_path: str | None = key(
        "learning",
        stands_for=_IS_NAMED,
        default=None,
        min_length=1,
        description="CSV file of test rows, with the same columns",
    )
    test_share: float = key(
        "learning",
        stands_for=_IS_NAMED,
        default=0.2,
        gt=0,
        lt=1,
        description="Without test_path: share of the rows that is held out, drawn by the seed",
    )

    def source(self, folder: Path) -> TextSource:
        """What it names, paths beginning at the file's folder."""
        if self.path is None:
            assert self.name is not None
            return self.name
        return OwnTexts(
            folder / self.path,
            self.text_column,
            self.label_column,
            None if self.test_path is None else folder / self.test_path,
            self.test_share,
        )


def _named(value: object) -> object:
    """A name alone stands for a table with it."""
    return {"name": value} if isinstance(value, str) else value


_Dataset = Annotated[
    DatasetTable, BeforeValidator(_named, json_schema_input_type=DataSource | DatasetTable)
]


class DataTable(Table):
    """``[data]``: which texts a real run reads."""

    dataset: _Dataset = key(
        "learning", stands_for=_IS_NAMED, description="A data set by name, or a CSV file"
    )
    public_dataset: _Dataset | None = key(
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

    seeds: (
        Annotated[tuple[_Seed, ...], Field(strict=False, min_length=1, max_length=1000)] | None
    ) = key(
        "learning",
        learning="draw",
        default=None,
        description="One run each; the file's own seed without it",
    )
    weights_from: str | None = key(
        "learning",
        learning="open",
        default=None,
        min_length=1,
        description="Folder of the weights that learning.weights says, or their name on the hub",
    )
    device: Literal["cpu", "cuda", "auto"] = key(
        "label", default="cpu", description="'auto' is CUDA where there is one"
    )
    mode: Mode = key(
        "label", default="sequential", description="Clients one by one, or batched together"
    )
    attention: Literal["eager", "sdpa"] = key(
        "label", default="eager", description="Plain products, or torch's fused kernel"
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
    tf32: bool = key(
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
