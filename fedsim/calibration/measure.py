"""Measure the phases of the three frameworks: real models, real batches, real optimizer steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

import torch
from torch import Tensor

from fedsim.calibration.measurements import Memory
from fedsim.calibration.plan import phases_of
from fedsim.calibration.shape import (
    CALIBRATED_CODEC,
    NUM_AGGREGATED,
    NUM_CLASSES,
    Phase,
    Shape,
)
from fedsim.protocol.operation import Part
from fedsim.runtime.aggregation import weighted_average
from fedsim.runtime.build_model import build_model
from fedsim.runtime.channel import deserialize, serialize
from fedsim.runtime.cut_exchange import activation_message
from fedsim.runtime.meter import MemoryMeter, synchronize
from fedsim.runtime.options import RunOptions
from fedsim.runtime.text_batch import TextBatch
from fedsim.runtime.trainer import Trainer

__all__ = ["Bench"]

_Coded = Literal["adapters", "activations"]
_ENCODE: Final[dict[_Coded, Phase]] = {
    "adapters": "encode_adapters",
    "activations": "encode_activations",
}
_DECODE: Final[dict[_Coded, Phase]] = {
    "adapters": "decode_adapters",
    "activations": "decode_activations",
}


class Bench:
    """One shape's models and batch.

    Parameters
    ----------
    shape : Shape
    device : torch.device
    seed : int
        Of weights and text.
    """

    def __init__(self, shape: Shape, device: torch.device, seed: int = 0) -> None:
        self.shape = shape
        self.device = device
        training = shape.training()
        model = build_model(
            training,
            weights="random",
            pad_token_id=0,
            seed=seed,
            device=device,
            attention=shape.attention,
        )
        position = 2 * shape.cut_layer
        options = RunOptions(seed=seed)
        self.whole = Trainer(model, Part.whole(shape.num_layers), options)
        self.below = Trainer(model.clone(), Part.below(position), options)
        self.above = Trainer(model.clone(), Part.above(position, shape.num_layers), options)
        self.batch = _random_batch(shape, device, seed)
        self.keeps_positions = shape.head != "classification" and shape.is_padded
        self.teacher = self._infer()
        self.adapters = self.whole.adapters(with_head=True)
        ids = [f"client-{index}" for index in range(NUM_AGGREGATED)]
        self.contributions = {
            cid: {name: tensor.clone() for name, tensor in self.adapters.items()} for cid in ids
        }
        self.weights = dict.fromkeys(ids, 1.0)
        self.plan = shape.plan()

    def run_once(self) -> dict[Phase, float]:
        """Every phase once [s]."""
        with _matmul_precision(self.shape):
            seconds: dict[Phase, float] = {
                "train": self._time(lambda: self.whole.train(self.batch, is_update=True)),
                "logits": self._time(self._infer),
                "distill": self._time(
                    lambda: self.whole.distill(self.batch, self.teacher, is_update=True)
                ),
            }
            outputs = self._split_once(seconds)
            seconds["aggregate"] = self._time(
                lambda: weighted_average(self.contributions, self.weights)
            )
            seconds["replace"] = self._time(lambda: self.whole.load(self.contributions["client-0"]))
        self._messages_once(seconds, outputs)
        return seconds

    def read_memory(self) -> dict[Phase, Memory]:
        """Peak and kept memory of the phases that hold a model."""
        run: dict[Phase, tuple[Trainer, Callable[[], object]]] = {
            "train": (self.whole, lambda: self.whole.train(self.batch, is_update=True)),
            "logits": (self.whole, self._infer),
            "distill": (
                self.whole,
                lambda: self.whole.distill(self.batch, self.teacher, is_update=True),
            ),
        }
        return {phase: self._memory(*what) for phase, what in run.items()}

    # --- private -----------------------------------------------------------------------------

    def _infer(self) -> Tensor:
        return self.whole.infer(self.batch, all_positions=self.keeps_positions)

    def _split_once(self, seconds: dict[Phase, float]) -> list[Tensor]:
        synchronize(self.device)
        start = time.perf_counter()
        forward = self.below.forward_to_cut(self.batch)
        synchronize(self.device)
        seconds["c1"] = time.perf_counter() - start
        received = [output.detach().clone() for output in forward.outputs]
        gradients: list[Tensor] = []

        def above() -> None:
            gradients.extend(
                self.above.train_above_cut(
                    received, self.batch, is_update=True, wants_gradient=True
                )
            )

        seconds["c3"] = self._time(above)
        seconds["c5"] = self._time(
            lambda: self.below.backward_from_cut(forward, gradients, is_update=True)
        )
        return received

    def _messages_once(self, seconds: dict[Phase, float], outputs: list[Tensor]) -> None:
        bodies: list[bytes] = []

        def pack(tensors: Callable[[], dict[str, Tensor]]) -> float:
            return self._time(lambda: bodies.append(serialize(tensors())))

        seconds["pack_adapters"] = pack(lambda: self.adapters)
        message = activation_message(outputs, self.batch, self.plan)
        crossing = {"activations": message["activations"]}
        # Of 32 bits in every format of the model: what a codec makes of them is measured below.
        written = {**message, "activations": crossing["activations"].to(torch.float32)}
        seconds["pack_activations"] = pack(lambda: written)
        seconds["unpack_adapters"] = self._time(lambda: deserialize(bodies[0], self.device))
        seconds["unpack_activations"] = self._time(lambda: deserialize(bodies[1], self.device))
        self._codecs_once(seconds, "adapters", self.adapters)
        self._codecs_once(seconds, "activations", crossing)
        if "to_host" in phases_of(self.device.type):
            on_device = crossing["activations"]
            on_host = on_device.to("cpu")
            seconds["to_host"] = self._time(lambda: on_device.to("cpu"))
            seconds["to_device"] = self._time(lambda: on_host.to(self.device))

    def _codecs_once(
        self, seconds: dict[Phase, float], what: _Coded, tensors: dict[str, Tensor]
    ) -> None:
        sent: dict[str, dict[str, Tensor]] = {}

        def encode() -> None:
            for name, tensor in tensors.items():
                sent[name] = CALIBRATED_CODEC.encode(name, tensor, {})

        def decode() -> None:
            for name, tensor in tensors.items():
                CALIBRATED_CODEC.decode(name, sent[name], tensor, {})

        seconds[_ENCODE[what]] = self._time(encode)
        seconds[_DECODE[what]] = self._time(decode)

    def _time(self, function: Callable[[], object]) -> float:
        synchronize(self.device)
        start = time.perf_counter()
        function()
        synchronize(self.device)
        return time.perf_counter() - start

    def _memory(self, trainer: Trainer, function: Callable[[], object]) -> Memory:
        with _matmul_precision(self.shape):
            saved = _saved_bytes(function, trainer)
            # Its optimizer's state exists by now; count it anew with everything else.
            trainer.reset_optimizer()
            if self.device.type == "cuda":
                peak = _cuda_peak(self.device, function) + trainer.resident_bytes
                return Memory(peak, saved, None)
            meter = MemoryMeter()
            with meter:
                function()
            before = _resident_bytes()
            function()
            highest = _peak_resident_bytes()
        grown = None if before is None or highest is None else max(0, highest - before)
        return Memory(meter.peak_bytes + trainer.resident_bytes, saved, grown)


@contextmanager
def _matmul_precision(shape: Shape) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if shape.precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _saved_bytes(function: Callable[[], object], trainer: Trainer) -> int:
    parameters = {
        parameter.untyped_storage().data_ptr() for parameter in trainer.model.module.parameters()
    }
    live: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            live[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return sum(live.values())


def _cuda_peak(device: torch.device, function: Callable[[], object]) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_stats(device)["active_bytes.all.current"]
    function()
    torch.cuda.synchronize(device)
    peak = torch.cuda.memory_stats(device)["active_bytes.all.peak"]
    return int(peak - before)


def _status_bytes(field: str) -> int | None:
    try:
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - a kernel file
            for line in status:
                if line.startswith(field):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None
    return None


def _resident_bytes() -> int | None:
    try:
        # Resets the peak of the resident set.
        with open("/proc/self/clear_refs", "w", encoding="ascii") as switch:  # noqa: PTH123
            switch.write("5")
    except OSError:
        return None
    return _status_bytes("VmRSS:")


def _peak_resident_bytes() -> int | None:
    return _status_bytes("VmHWM:")


def _random_batch(shape: Shape, device: torch.device, seed: int) -> TextBatch:
    generator = torch.Generator().manual_seed(seed)
    size = (shape.batch_size, shape.num_tokens)
    ids = torch.randint(1, shape.vocab_size, size, generator=generator)
    last = torch.tensor(shape.lengths) - 1
    labels = None
    if shape.head == "classification":
        labels = torch.randint(0, NUM_CLASSES, (shape.batch_size,), generator=generator)
        labels = labels.to(device)
    return TextBatch(ids.to(device), last.to(device), labels, is_padded=shape.is_padded)
