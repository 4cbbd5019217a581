"""Which points a calibration measures.

A point is a phase of a protocol at one shape. The quick plan fits two CPU cores in under three
minutes: small widths and depths that span a factor of thirty in work, all phases, both heads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final, Literal

from fedsim.errors import ScenarioError
from fedsim.protocol.operation import (
    Aggregate,
    BackwardFromCut,
    Content,
    Distill,
    ForwardToCut,
    InferLogits,
    Operation,
    Part,
    Train,
    TrainAboveCut,
)
from fedsim.spec.batch import BatchShape
from fedsim.spec.model import HeadSpec, ModelSpec
from fedsim.spec.plan import Numerics, TrainingSpec
from fedsim.spec.tuning import LoraTuning

__all__ = ["PHASES", "Phase", "Point", "Shape", "plan_hash", "quick_plan"]

Phase = Literal["train", "logits", "distill", "c1", "c3", "c5", "aggregate"]

PHASES: Final[tuple[Phase, ...]] = ("train", "logits", "distill", "c1", "c3", "c5", "aggregate")
_HEAD_SIZE: Final = 64
_MAX_POSITIONS: Final = 256


@dataclass(frozen=True, slots=True)
class Shape:
    """A GPT-2-shaped model with adapters, and a batch.

    Attributes
    ----------
    num_layers, hidden_size : int
    batch_size, num_tokens : int
    r : int
    head : {"classification", "language_model"}
    vocab_size : int
        Small on purpose: the embedding costs no FLOPs, and a language-model head's cost is a
        feature of its own.
    cut_layer : int
    is_checkpointed : bool
    """

    num_layers: int
    hidden_size: int
    batch_size: int
    num_tokens: int
    r: int
    head: Literal["classification", "language_model"]
    vocab_size: int
    cut_layer: int
    is_checkpointed: bool

    @property
    def name(self) -> str:
        """A short name that tells all."""
        head = "C77" if self.head == "classification" else f"V{self.vocab_size}"
        suffix = "-ckpt" if self.is_checkpointed else ""
        return (
            f"L{self.num_layers}-d{self.hidden_size}-B{self.batch_size}-T{self.num_tokens}"
            f"-r{self.r}-{head}-s{self.cut_layer}{suffix}"
        )

    def training(self) -> TrainingSpec:
        """The function that is trained."""
        model = ModelSpec(
            name=self.name,
            family="gpt2",
            num_layers=self.num_layers,
            hidden_size=self.hidden_size,
            num_heads=self.hidden_size // _HEAD_SIZE,
            num_kv_heads=self.hidden_size // _HEAD_SIZE,
            head_size=_HEAD_SIZE,
            intermediate_size=4 * self.hidden_size,
            vocab_size=self.vocab_size,
            max_positions=_MAX_POSITIONS,
            is_tied=True,
            activation="gelu_new",
        )
        return TrainingSpec(
            model=model,
            head=HeadSpec(self.head, 77),
            tuning=LoraTuning(r=self.r),
            numerics=Numerics(is_checkpointed=self.is_checkpointed),
        )

    def batch(self) -> BatchShape:
        """The batch's counts."""
        return BatchShape.padded(self.batch_size, self.num_tokens)


@dataclass(frozen=True, slots=True)
class Point:
    """One phase at one shape."""

    phase: Phase
    shape: Shape

    @property
    def name(self) -> str:
        """``phase@shape``."""
        return f"{self.phase}@{self.shape.name}"

    def operation(self) -> Operation:
        """The protocol's operation that the phase is."""
        shape, batch = self.shape, self.shape.batch()
        whole = Part.whole(shape.num_layers)
        below = Part.below(2 * shape.cut_layer)
        above = Part.above(2 * shape.cut_layer, shape.num_layers)
        operations: dict[Phase, Operation] = {
            "train": Train(whole, batch),
            "logits": InferLogits(whole, batch),
            "distill": Distill(whole, batch),
            "c1": ForwardToCut(below, batch),
            "c3": TrainAboveCut(above, batch),
            "c5": BackwardFromCut(below, batch),
            "aggregate": Aggregate(Content.ADAPTERS, whole),
        }
        return operations[self.phase]


def quick_plan() -> tuple[Shape, ...]:
    """Shapes of the quick plan; every phase is measured at each."""
    rows: tuple[tuple[int, int, int, int, int, str, int, int, bool], ...] = (
        # layers, width, batch, tokens, rank, head, vocabulary, cut, checkpointed
        (3, 64, 4, 16, 8, "classification", 512, 1, False),
        (4, 64, 8, 48, 4, "classification", 512, 2, False),
        (2, 128, 4, 32, 4, "classification", 512, 1, False),
        (4, 128, 16, 32, 8, "classification", 512, 2, False),
        (3, 128, 8, 96, 16, "classification", 512, 1, False),
        (2, 256, 2, 32, 8, "classification", 512, 1, False),
        (4, 256, 8, 48, 4, "classification", 512, 1, False),
        (6, 256, 4, 80, 8, "classification", 512, 3, False),
        (3, 256, 2, 192, 16, "classification", 512, 2, False),
        (3, 256, 8, 32, 8, "language_model", 4096, 1, False),
        (2, 384, 4, 80, 8, "classification", 512, 1, False),
        (3, 384, 8, 64, 2, "classification", 512, 2, False),
        (2, 384, 4, 48, 8, "language_model", 8192, 1, False),
        (3, 384, 4, 48, 8, "classification", 512, 1, True),
        (2, 512, 4, 64, 8, "classification", 512, 1, False),
        (3, 512, 4, 80, 16, "classification", 512, 1, False),
        (2, 768, 2, 80, 8, "classification", 512, 1, False),
        (2, 768, 4, 64, 32, "classification", 512, 1, False),
    )
    return tuple(
        Shape(layers, width, batch, tokens, r, _head(head), vocabulary, cut, checkpointed)
        for layers, width, batch, tokens, r, head, vocabulary, cut, checkpointed in rows
    )


def points(shapes: tuple[Shape, ...]) -> Iterator[Point]:
    """All phases at all shapes."""
    for shape in shapes:
        for phase in PHASES:
            yield Point(phase, shape)


def plan_hash(shapes: tuple[Shape, ...]) -> str:
    """Identifies a plan, so that an interrupted calibration continues only its own."""
    text = repr([asdict(shape) for shape in shapes]).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def _head(name: str) -> Literal["classification", "language_model"]:
    if name == "classification":
        return "classification"
    if name == "language_model":
        return "language_model"
    raise ScenarioError(f"head '{name}': allowed: classification, language_model.")
