"""Which points a calibration measures, how often, and which of them are held out together.

A plan is fixed, and hashed, before anything is measured. Everything that later judges the fit (what
is left out with what) follows from the plan alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final, Literal

from scipy.stats import qmc

from fedsim.calibration.shape import COPY_PHASES, PHASES, Phase, Point, Precision, Shape
from fedsim.errors import CalibrationError

__all__ = ["MeasurementPlan", "full_plan", "plan_hash", "points", "quick_plan"]


@dataclass(frozen=True, slots=True)
class MeasurementPlan:
    """What is measured.

    Attributes
    ----------
    name : str
    shapes : tuple of Shape
        All phases are measured at each.
    num_passes : int
        Visits of each shape, separated in time.
    num_warm_ups, num_repeats : int
        Repetitions of a visit that are dropped and kept.
    max_redone_share : float
        Visits that may be repeated because they were disturbed, as a share of all.
    device_kind : {"cpu", "cuda"}
    """

    name: str
    shapes: tuple[Shape, ...]
    num_passes: int
    num_warm_ups: int
    num_repeats: int
    max_redone_share: float = 0.25
    device_kind: Literal["cpu", "cuda"] = "cpu"

    def __post_init__(self) -> None:
        if len({shape.name for shape in self.shapes}) != len(self.shapes):
            raise CalibrationError(f"plan '{self.name}' has the same shape twice.")
        if len(self.shapes) < 3:
            raise CalibrationError(
                f"plan '{self.name}' has {len(self.shapes)} shapes; at least 3 are needed, so that "
                "one can be left out."
            )
        if self.num_passes < 2:
            raise CalibrationError(
                f"plan '{self.name}': num_passes = {self.num_passes}; at least 2 are needed: one "
                "pass tells nothing of the noise."
            )

    @property
    def max_redos(self) -> int:
        """Visits that may be repeated."""
        return round(self.max_redone_share * self.num_passes * len(self.shapes))


def quick_plan(device_kind: Literal["cpu", "cuda"] = "cpu") -> MeasurementPlan:
    """Some twenty small shapes: under three minutes on two CPU cores."""
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
    shapes = [
        Shape(layers, width, batch, tokens, r, _head(head), vocabulary, cut, is_checkpointed=ckpt)
        for layers, width, batch, tokens, r, head, vocabulary, cut, ckpt in rows
    ]
    shapes.append(Shape(3, 256, 8, 48, 8, is_padded=False))
    shapes.append(Shape(2, 512, 4, 32, 8, is_padded=False))
    return MeasurementPlan(
        "quick",
        tuple(shapes),
        num_passes=3,
        num_warm_ups=2,
        num_repeats=5,
        max_redone_share=0.15,
        device_kind=device_kind,
    )


def full_plan(device_kind: Literal["cpu", "cuda"] = "cpu") -> MeasurementPlan:
    """A space-filling grid in every number format that the device offers.

    Shapes are a Sobol sequence over layers, width, batch, tokens, rank, head size, cut, head,
    padding and checkpointing, snapped to levels, and without those that would take too long.
    """
    grid = _CPU_GRID if device_kind == "cpu" else _CUDA_GRID
    counts: dict[Precision, int] = grid.num_shapes
    shapes: list[Shape] = []
    for index, (precision, count) in enumerate(counts.items()):
        shapes.extend(_sampled(grid, precision, count, skip=index * _STRIDE))
    shapes.extend(grid.corners)
    return MeasurementPlan(
        "full",
        tuple(dict.fromkeys(shapes)),
        num_passes=grid.num_passes,
        num_warm_ups=grid.num_warm_ups,
        num_repeats=grid.num_repeats,
        device_kind=device_kind,
    )


def points(plan: MeasurementPlan) -> Iterator[Point]:
    """All phases at all shapes."""
    for shape in plan.shapes:
        for phase in phases_of(plan.device_kind):
            yield Point(phase, shape)


def phases_of(device_kind: str) -> tuple[Phase, ...]:
    """Phases that a kind of device has."""
    return PHASES if device_kind == "cpu" else (*PHASES, *COPY_PHASES)


def plan_hash(plan: MeasurementPlan) -> str:
    """Identifies a plan, so that an interrupted calibration continues only its own."""
    text = repr([asdict(plan)]).encode()
    return hashlib.sha256(text).hexdigest()[:16]


# --- the full plan's grids -----------------------------------------------------------------------

#: Points of the Sobol sequence that each number format may look through.
_STRIDE: Final = 1024
_DIMENSIONS: Final = 10


@dataclass(frozen=True, slots=True)
class _Grid:
    """Levels of the full plan on one kind of device."""

    num_layers: tuple[int, ...]
    hidden_size: tuple[int, ...]
    batch_size: tuple[int, ...]
    num_tokens: tuple[int, ...]
    r: tuple[int, ...]
    vocab_size: tuple[int, ...]
    num_shapes: dict[Precision, int]
    #: FLOPs of one forward pass: below it a step is all launches, above it a visit takes too long.
    forward_flop: tuple[float, float]
    max_score_values: int
    corners: tuple[Shape, ...]
    num_passes: int
    num_warm_ups: int
    num_repeats: int


def _sampled(grid: _Grid, precision: Precision, count: int, skip: int) -> list[Shape]:
    sequence = qmc.Sobol(_DIMENSIONS, scramble=False)
    sequence.fast_forward(skip + 1)
    found: dict[Shape, None] = {}
    for _ in range(_STRIDE):
        if len(found) == count:
            break
        shape = _snapped(grid, precision, [float(u) for u in sequence.random(1)[0]])
        if _is_affordable(grid, shape):
            found.setdefault(shape)
    return list(found)


def _snapped(grid: _Grid, precision: Precision, u: list[float]) -> Shape:
    def level(values: tuple[int, ...], place: float) -> int:
        return values[min(int(place * len(values)), len(values) - 1)]

    num_layers = level(grid.num_layers, u[0])
    is_language = u[7] >= 0.8
    return Shape(
        num_layers=num_layers,
        hidden_size=level(grid.hidden_size, u[1]),
        batch_size=level(grid.batch_size, u[2]),
        num_tokens=level(grid.num_tokens, u[3]),
        r=level(grid.r, u[4]),
        head="language_model" if is_language else "classification",
        vocab_size=level(grid.vocab_size, u[5]) if is_language else 512,
        cut_layer=1 + int(u[6] * (num_layers - 1)),
        is_checkpointed=u[8] >= 0.85,
        # A language model's unpadded batches send every token's label, which the messages of
        # padded ones already cover.
        is_padded=is_language or u[9] < 0.75,
        precision=precision,
        head_size=32 if u[5] < 0.2 and not is_language else 64,
    )


def _is_affordable(grid: _Grid, shape: Shape) -> bool:
    tokens = sum(shape.lengths)
    block = 24 * shape.hidden_size**2 * tokens + 4 * shape.hidden_size * sum(
        n * n for n in shape.lengths
    )
    vocabulary = shape.vocab_size if shape.head == "language_model" else 0
    flop = shape.num_layers * block + 2 * tokens * shape.hidden_size * vocabulary
    scores = (
        shape.num_layers
        * (shape.hidden_size // shape.head_size)
        * sum(n * n for n in shape.lengths)
    )
    lowest, highest = grid.forward_flop
    return lowest <= flop <= highest and scores <= grid.max_score_values


_CPU_GRID: Final = _Grid(
    num_layers=(2, 3, 4, 6, 8),
    hidden_size=(64, 128, 192, 256, 384, 512, 768),
    batch_size=(1, 2, 4, 8, 16),
    num_tokens=(16, 24, 32, 48, 64, 80, 128, 192),
    r=(1, 2, 4, 8, 16, 32),
    vocab_size=(1024, 2048, 4096, 8192),
    num_shapes={"float32": 44, "bfloat16": 14},
    forward_flop=(2e7, 1.2e10),
    max_score_values=20_000_000,
    corners=(
        # GPT-2's own width and the article's padding, and a case where nothing but launches counts.
        Shape(4, 768, 2, 80, 8, cut_layer=2),
        Shape(2, 768, 4, 64, 32),
        Shape(12, 64, 1, 16, 4, cut_layer=4),
        Shape(2, 256, 8, 32, 8, precision="bfloat16-autocast"),
        Shape(4, 256, 8, 48, 8, precision="bfloat16-autocast", cut_layer=2),
        Shape(2, 512, 4, 64, 8, precision="bfloat16-autocast"),
        Shape(4, 256, 8, 48, 4, cut_layer=2, attention="sdpa"),
        Shape(4, 256, 8, 48, 4, cut_layer=2),
        Shape(3, 256, 2, 192, 16, attention="sdpa"),
        Shape(3, 256, 2, 192, 16),
    ),
    num_passes=4,
    num_warm_ups=3,
    num_repeats=8,
)

_CUDA_GRID: Final = _Grid(
    num_layers=(2, 3, 4, 6, 8, 12),
    hidden_size=(256, 384, 512, 768, 1024, 1280, 1600, 2048),
    batch_size=(1, 2, 4, 8, 16, 32, 64),
    num_tokens=(16, 32, 64, 80, 128, 256, 512, 1024),
    r=(1, 2, 4, 8, 16, 32, 64),
    vocab_size=(4096, 16384, 50257),
    num_shapes={"float32": 40, "tf32": 16, "bfloat16": 18},
    forward_flop=(1e8, 2e12),
    max_score_values=600_000_000,
    corners=(
        # The article's case study, launch-bound small shapes, and fused against eager attention.
        Shape(12, 768, 16, 80, 8, cut_layer=3),
        Shape(12, 768, 1, 16, 8, cut_layer=3),
        Shape(4, 64, 1, 16, 8, cut_layer=2),
        Shape(6, 64, 8, 32, 8, cut_layer=2),
        Shape(12, 768, 16, 80, 8, cut_layer=3, precision="tf32"),
        Shape(12, 768, 16, 80, 8, cut_layer=3, precision="bfloat16"),
        Shape(12, 768, 4, 512, 8, cut_layer=3),
        Shape(12, 768, 4, 512, 8, cut_layer=3, attention="sdpa"),
        Shape(12, 768, 16, 80, 8, cut_layer=3, attention="sdpa"),
        Shape(12, 768, 4, 512, 8, cut_layer=3, precision="bfloat16"),
        Shape(12, 768, 4, 512, 8, cut_layer=3, precision="bfloat16", attention="sdpa"),
        Shape(4, 768, 16, 80, 8, cut_layer=2, precision="bfloat16-autocast"),
        Shape(6, 1024, 8, 128, 8, cut_layer=2, precision="bfloat16-autocast"),
        Shape(3, 512, 16, 80, 8, precision="bfloat16-autocast"),
    ),
    num_passes=2,
    num_warm_ups=5,
    num_repeats=15,
)


def _head(name: str) -> Literal["classification", "language_model"]:
    return "language_model" if name == "language_model" else "classification"
