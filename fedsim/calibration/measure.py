"""Measure the phases of the three frameworks: real models, real batches, real optimizer steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from fedsim.calibration.plan import Phase, Shape
from fedsim.protocol.operation import Part
from fedsim.runtime.aggregation import weighted_average
from fedsim.runtime.build_model import build_model
from fedsim.runtime.meter import synchronize
from fedsim.runtime.options import RunOptions
from fedsim.runtime.text_batch import TextBatch
from fedsim.runtime.trainer import Trainer

__all__ = ["NUM_AGGREGATED", "ShapeTimes", "measure_shape", "sentinel_seconds"]

#: Clients whose adapters the aggregation phase averages.
NUM_AGGREGATED = 3
_SENTINEL_SIZE = 512
_SENTINEL_REPEATS = 5


@dataclass(frozen=True)
class ShapeTimes:
    """Seconds of every phase at one shape, one list entry a repetition [s]."""

    seconds: dict[Phase, list[float]]


def measure_shape(
    shape: Shape, device: torch.device, *, num_warm_ups: int, num_repeats: int, seed: int = 0
) -> ShapeTimes:
    """Time all phases at one shape.

    Parameters
    ----------
    shape : Shape
    device : torch.device
    num_warm_ups, num_repeats : int
        Repetitions that are dropped and kept.
    """
    bench = _Bench(shape, device, seed)
    seconds: dict[Phase, list[float]] = {}
    for repeat in range(num_warm_ups + num_repeats):
        for phase, value in bench.run_once().items():
            if repeat >= num_warm_ups:
                seconds.setdefault(phase, []).append(value)
    return ShapeTimes(seconds)


def sentinel_seconds(device: torch.device) -> float:
    """Median time of a fixed matrix product: what the machine can do right now [s]."""
    a = torch.ones(_SENTINEL_SIZE, _SENTINEL_SIZE, device=device)
    times = []
    for _ in range(_SENTINEL_REPEATS):
        times.append(_timed(device, lambda: torch.mm(a, a)))
    return median(times)


class _Bench:
    """One shape's models and batch."""

    def __init__(self, shape: Shape, device: torch.device, seed: int) -> None:
        self.shape = shape
        self.device = device
        training = shape.training()
        model = build_model(training, weights="random", pad_token_id=0, seed=seed, device=device)
        whole = Part.whole(shape.num_layers)
        position = 2 * shape.cut_layer
        options = RunOptions(seed=seed)
        self.whole = Trainer(model, whole, options)
        self.below = Trainer(model.clone(), Part.below(position), options)
        self.above = Trainer(model.clone(), Part.above(position, shape.num_layers), options)
        self.batch = _random_batch(shape, device, seed)
        is_classifier = shape.head == "classification"
        self.keeps_positions = not is_classifier
        self.teacher = self.whole.infer(self.batch, all_positions=self.keeps_positions)
        adapters = self.whole.adapters(with_head=True)
        ids = [f"client-{index}" for index in range(NUM_AGGREGATED)]
        self.contributions = {cid: {name: t.clone() for name, t in adapters.items()} for cid in ids}
        self.weights = dict.fromkeys(ids, 1.0)

    def run_once(self) -> dict[Phase, float]:
        """Every phase once [s]."""
        seconds: dict[Phase, float] = {
            "train": self._time(lambda: self.whole.train(self.batch, is_update=True)),
            "logits": self._time(
                lambda: self.whole.infer(self.batch, all_positions=self.keeps_positions)
            ),
            "distill": self._time(
                lambda: self.whole.distill(self.batch, self.teacher, is_update=True)
            ),
        }
        seconds.update(self._split_once())
        seconds["aggregate"] = self._time(
            lambda: self.whole.load(weighted_average(self.contributions, self.weights))
        )
        return seconds

    def _split_once(self) -> dict[Phase, float]:
        start = time.perf_counter()
        forward = self.below.forward_to_cut(self.batch)
        synchronize(self.device)
        c1 = time.perf_counter() - start
        received = [output.detach().clone() for output in forward.outputs]
        gradients: list[Tensor] = []

        def above() -> None:
            gradients.extend(
                self.above.train_above_cut(
                    received, self.batch, is_update=True, wants_gradient=True
                )
            )

        c3 = self._time(above)
        c5 = self._time(lambda: self.below.backward_from_cut(forward, gradients, is_update=True))
        return {"c1": c1, "c3": c3, "c5": c5}

    def _time(self, function: Callable[[], object]) -> float:
        return _timed(self.device, function)


def _timed(device: torch.device, function: Callable[[], object]) -> float:
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - start


def _random_batch(shape: Shape, device: torch.device, seed: int) -> TextBatch:
    generator = torch.Generator().manual_seed(seed)
    size = (shape.batch_size, shape.num_tokens)
    ids = torch.randint(1, shape.vocab_size, size, generator=generator)
    last = torch.full((shape.batch_size,), shape.num_tokens - 1)
    labels = None
    if shape.head == "classification":
        labels = torch.randint(0, 77, (shape.batch_size,), generator=generator).to(device)
    return TextBatch(ids.to(device), last.to(device), labels, is_padded=True)
