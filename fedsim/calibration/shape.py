"""What a calibration measures: phases of the protocols at shapes of model and batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fedsim.codec import Cast
from fedsim.cost.work import (
    Work,
    decoding_work,
    encoding_work,
    operation_work,
    pack_work,
    unpack_work,
)
from fedsim.errors import CalibrationError
from fedsim.protocol import FEDLLM, KD_FEDLLM, SPLIT_FEDLLM
from fedsim.protocol.encoding import encoded_payload
from fedsim.protocol.operation import (
    Aggregate,
    BackwardFromCut,
    Content,
    Distill,
    ForwardToCut,
    InferLogits,
    Operation,
    Part,
    Replace,
    Train,
    TrainAboveCut,
)
from fedsim.protocol.payload import Payload, activation_payload, adapter_payload
from fedsim.spec.batch import BatchShape, TextLengths
from fedsim.spec.codec import Encoding
from fedsim.spec.device import Regime
from fedsim.spec.dtype import FloatDtype
from fedsim.spec.message import Direction
from fedsim.spec.model import HeadSpec, ModelSpec
from fedsim.spec.plan import ClientPlan, Cut, Numerics, TrainingSpec
from fedsim.spec.tuning import LoraTuning

__all__ = [
    "CALIBRATED_CODEC",
    "COPY_PHASES",
    "NUM_AGGREGATED",
    "NUM_CLASSES",
    "PHASES",
    "PRECISIONS",
    "Attention",
    "Phase",
    "Point",
    "Precision",
    "Shape",
    "framework_of",
    "regime_of",
]

Phase = Literal[
    "train",
    "logits",
    "distill",
    "c1",
    "c3",
    "c5",
    "aggregate",
    "replace",
    "pack_adapters",
    "unpack_adapters",
    "pack_activations",
    "unpack_activations",
    "encode_adapters",
    "decode_adapters",
    "encode_activations",
    "decode_activations",
    "to_host",
    "to_device",
]
Precision = Literal["float32", "tf32", "bfloat16", "bfloat16-autocast"]
Attention = Literal["eager", "sdpa"]

PHASES: Final[tuple[Phase, ...]] = (
    "train",
    "logits",
    "distill",
    "c1",
    "c3",
    "c5",
    "aggregate",
    "replace",
    "pack_adapters",
    "unpack_adapters",
    "pack_activations",
    "unpack_activations",
    "encode_adapters",
    "decode_adapters",
    "encode_activations",
    "decode_activations",
)
#: Only where the device has a memory of its own.
COPY_PHASES: Final[tuple[Phase, ...]] = ("to_host", "to_device")
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "tf32", "bfloat16", "bfloat16-autocast")

#: What is measured of codecs: a format that no model computes in, so that every value is converted.
CALIBRATED_CODEC: Final = Cast("float16")
#: Of the tensors of messages that are written and read.
_MESSAGE_DTYPE: Final = "float32"
#: Clients whose adapters the aggregation phase averages.
NUM_AGGREGATED: Final = 3
#: Of Banking77, the article's data set.
NUM_CLASSES: Final = 77
_MAX_POSITIONS: Final = 4096

#: Phases that are one framework's own. The others (averages, messages) belong to several.
_FRAMEWORKS: Final[dict[str, str]] = {
    "train": FEDLLM.name,
    "logits": KD_FEDLLM.name,
    "distill": KD_FEDLLM.name,
    "c1": SPLIT_FEDLLM.name,
    "c3": SPLIT_FEDLLM.name,
    "c5": SPLIT_FEDLLM.name,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A GPT-2-shaped model with adapters, and a batch.

    Attributes
    ----------
    num_layers, hidden_size, head_size : int
    batch_size, num_tokens : int
        Samples and the positions of the longest one.
    r : int
    head : {"classification", "language_model"}
    vocab_size : int
        Small on purpose for classifiers: the embedding costs no FLOPs, and a language-model head's
        cost is a feature of its own.
    cut_layer : int
    is_checkpointed : bool
    is_padded : bool
        False: samples of a quarter of ``num_tokens`` up to it, each computed at its own length.
    precision : str
        See :func:`fedsim.spec.dtype.precision_name`.
    attention : {"eager", "sdpa"}
        What the runtime trains with is eager; fused attention is measured for comparison and never
        fitted.
    """

    num_layers: int
    hidden_size: int
    batch_size: int
    num_tokens: int
    r: int
    head: Literal["classification", "language_model"] = "classification"
    vocab_size: int = 512
    cut_layer: int = 1
    is_checkpointed: bool = False
    is_padded: bool = True
    precision: Precision = "float32"
    attention: Attention = "eager"
    head_size: int = 64

    def __post_init__(self) -> None:
        for field, allowed in (
            ("head", ("classification", "language_model")),
            ("precision", PRECISIONS),
            ("attention", ("eager", "sdpa")),
        ):
            if getattr(self, field) not in allowed:
                raise CalibrationError(
                    f"a shape has {field} = '{getattr(self, field)}'; allowed: "
                    f"{', '.join(allowed)}."
                )
        for field in ("num_layers", "hidden_size", "head_size", "batch_size", "num_tokens", "r"):
            if getattr(self, field) < 1:
                raise CalibrationError(
                    f"a shape has {field} = {getattr(self, field)}; allowed: 1 or more."
                )
        if self.hidden_size % self.head_size:
            raise CalibrationError(
                f"shape {self.name}: hidden_size = {self.hidden_size} is no multiple of "
                f"head_size = {self.head_size}."
            )
        if not 1 <= self.cut_layer < self.num_layers:
            raise CalibrationError(
                f"shape {self.name}: cut_layer = {self.cut_layer}; allowed: 1 to "
                f"{self.num_layers - 1}."
            )
        if self.num_tokens > _MAX_POSITIONS:
            raise CalibrationError(
                f"shape {self.name}: num_tokens = {self.num_tokens}; allowed: up to "
                f"{_MAX_POSITIONS}."
            )

    @property
    def name(self) -> str:
        """A short name that tells all."""
        head = f"C{NUM_CLASSES}" if self.head == "classification" else f"V{self.vocab_size}"
        parts = [
            f"L{self.num_layers}-d{self.hidden_size}x{self.head_size}-B{self.batch_size}"
            f"-T{self.num_tokens}-r{self.r}-{head}-s{self.cut_layer}"
        ]
        if self.is_checkpointed:
            parts.append("ckpt")
        if not self.is_padded:
            parts.append("unpadded")
        if self.precision != "float32":
            parts.append(self.precision)
        if self.attention != "eager":
            parts.append(self.attention)
        return "-".join(parts)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Number of positions of each sample that are computed."""
        if self.is_padded:
            return (self.num_tokens,) * self.batch_size
        shortest = max(1, self.num_tokens // 4)
        steps = max(1, self.batch_size - 1)
        return tuple(
            self.num_tokens - (self.num_tokens - shortest) * i // steps
            for i in range(self.batch_size)
        )

    def training(self) -> TrainingSpec:
        """The function that is trained."""
        num_heads = self.hidden_size // self.head_size
        model = ModelSpec(
            name=self.name,
            family="gpt2",
            num_layers=self.num_layers,
            hidden_size=self.hidden_size,
            num_heads=num_heads,
            num_kv_heads=num_heads,
            head_size=self.head_size,
            intermediate_size=4 * self.hidden_size,
            vocab_size=self.vocab_size,
            max_positions=self.num_tokens,
            is_tied=True,
            activation="gelu_new",
        )
        compute: FloatDtype = "bfloat16" if self.precision.startswith("bfloat16") else "float32"
        weights: FloatDtype = "bfloat16" if self.precision == "bfloat16" else "float32"
        return TrainingSpec(
            model=model,
            head=HeadSpec(self.head, NUM_CLASSES),
            tuning=LoraTuning(r=self.r),
            numerics=Numerics(weights, compute, is_checkpointed=self.is_checkpointed),
        )

    def batch(self) -> BatchShape:
        """The batch's counts."""
        if self.is_padded:
            return BatchShape.padded(self.batch_size, self.num_tokens)
        return BatchShape.unpadded(self.lengths)

    def plan(self) -> ClientPlan:
        """A client that trains on this one batch."""
        text = TextLengths(
            self.batch_size,
            self.num_tokens,
            "max_tokens" if self.is_padded else "none",
            None if self.is_padded else self.lengths,
        )
        return ClientPlan(
            self.training(), (text,), batch_size=self.batch_size, cut=Cut(self.cut_layer)
        )


@dataclass(frozen=True, slots=True)
class Point:
    """One phase at one shape."""

    phase: Phase
    shape: Shape

    @property
    def name(self) -> str:
        """``phase@shape``."""
        return f"{self.phase}@{self.shape.name}"

    def operation(self) -> Operation | None:
        """The protocol's operation that the phase is; None for messages and copies."""
        shape, batch = self.shape, self.shape.batch()
        whole = Part.whole(shape.num_layers)
        below = Part.below(2 * shape.cut_layer)
        above = Part.above(2 * shape.cut_layer, shape.num_layers)
        operations: dict[str, Operation] = {
            "train": Train(whole, batch),
            "logits": InferLogits(whole, batch),
            "distill": Distill(whole, batch),
            "c1": ForwardToCut(below, batch),
            "c3": TrainAboveCut(above, batch),
            "c5": BackwardFromCut(below, batch),
            "aggregate": Aggregate(Content.ADAPTERS, whole),
            "replace": Replace(Content.ADAPTERS, whole),
        }
        return operations.get(self.phase)

    def payload(self) -> Payload:
        """The message that a phase writes or reads, encodes or decodes."""
        payload = activation_payload(self.shape.plan(), self.shape.batch())
        if self.phase.endswith("adapters"):
            whole = Part.whole(self.shape.num_layers)
            payload = adapter_payload(self.shape.training(), whole)
        is_coded = self.phase.startswith(("encode", "decode"))
        codec = CALIBRATED_CODEC if is_coded else Cast(_MESSAGE_DTYPE)
        encoding = Encoding(payload.content, Direction.UP, codec.dtype, codec)
        found = encoded_payload(payload, encoding)
        # A message is written after it was encoded: the one is not the other's time.
        return found if is_coded else Payload(found.content, found.tensors)

    def work(self) -> Work:
        """Features of the point."""
        operation = self.operation()
        if operation is not None:
            return operation_work(operation, self.shape.training(), NUM_AGGREGATED)
        if self.phase in COPY_PHASES:
            return Work(copied_bytes=float(self.payload().payload_bytes), num_messages=1.0)
        if self.phase.startswith("encode"):
            return encoding_work(self.payload())
        if self.phase.startswith("decode"):
            return decoding_work(self.payload())
        if self.phase.startswith("unpack"):
            return unpack_work(self.payload())
        return pack_work(self.payload())


def regime_of(phase: Phase) -> Regime:
    """Which of the time model's regimes a phase belongs to."""
    if phase in _FRAMEWORKS:
        return "model"
    if phase.startswith(("encode", "decode")):
        return "codec"
    return "parameters" if phase in ("aggregate", "replace") else "message"


def framework_of(phase: Phase) -> str | None:
    """The framework that a phase is of; None where several share it."""
    return _FRAMEWORKS.get(phase)
