"""Bytes that others published, and fedsim's count of the same messages.

Both sources were read as they stand at the commits named. They send tensors as NumPy files, whose
header has 80 or 128 bytes for each, where fedsim frames messages as safetensors; so payloads are
held against the published sums without those headers.

EdgeFlowerTune (Geng, Lu, Zhao, Gao, Lane, Luo 2026, arXiv 2605.08636), phones and boards that
fine-tune Gemma-3-270M: github.com/Edge-Intelligence-Lab/EdgeFlowerTune, commit c5f9bdd,
docs/original/current_system_and_device_profile_20260421.md, section 5.2: with LoRA of rank 8 on
q, k, v and o eight clients upload 23,650,560 B a round, 2.949 MB each of the three boards and 2.961
MB each of the five phones; with a model cut after two blocks, 10 steps of 8 texts of 64 tokens,
13.353 MB a client.

TNI's entries to the FlowerTune leaderboard, medical: github.com/TNI-playground/
TNI-FlowerTune-LLM-Leaderboard-Medical-SmolLM2-Series, commit bc49d9f, README.md and
pyproject.toml: SmolLM2-135M communicates 1417.97 MB and SmolLM2-360M 2512.50 MB (of 2^20 B), with
LoRA of rank 8 on q and v, in 200 rounds of a tenth of 20 clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedsim.protocol.operation import Part
from fedsim.protocol.payload import activation_payload, adapter_payload
from fedsim.spec.batch import BatchShape, TextLengths
from fedsim.spec.model import HeadSpec, ModelSpec
from fedsim.spec.plan import ClientPlan, Cut, TrainingSpec
from fedsim.spec.tuning import LoraTuning

__all__ = ["ATTENTION", "GEMMA_270M", "PUBLISHED", "Published", "adapters", "split_upload_bytes"]

_MIB = 2**20
#: Of one tensor in a NumPy file: written by C++ on the phones, and by NumPy.
PHONE_HEADER, NUMPY_HEADER = 80, 128


def _shape(name: str, family: Any, layers: int, hidden: int, heads: int, kv: int, head: int,
           inner: int, vocab: int) -> ModelSpec:  # fmt: skip
    return ModelSpec(
        name, family, layers, hidden, heads, kv, head, inner, vocab, 2048, True, "silu"
    )


#: fedsim knows no Gemma 3; its blocks have the linear layers of Gemma's.
GEMMA_270M = _shape("gemma-3-270m", "gemma", 18, 640, 4, 1, 256, 2048, 262_144)
SMOLLM2_135M = _shape("smollm2-135m", "llama", 30, 576, 9, 3, 64, 1536, 49_152)
SMOLLM2_360M = _shape("smollm2-360m", "llama", 32, 960, 15, 5, 64, 2560, 49_152)


def adapters(shape: ModelSpec, targets: tuple[str, ...], rank: int = 8) -> tuple[int, int]:
    """Bytes of the adapters' values, and how many tensors they are."""
    training = _training(shape, targets, rank)
    payload = adapter_payload(training, Part.whole(shape.num_layers))
    return payload.payload_bytes, len(payload.tensors)


def _training(shape: ModelSpec, targets: tuple[str, ...], rank: int = 8) -> TrainingSpec:
    return TrainingSpec(
        shape, HeadSpec("language_model"), LoraTuning(r=rank, target_modules=targets)
    )


@dataclass(frozen=True)
class Published:
    """A published sum of bytes, and fedsim's.

    Attributes
    ----------
    name : str
    published : float
        In units of ``unit`` [B].
    counted : int
        [B].
    unit : int
    """

    name: str
    published: float
    counted: int
    unit: int = 1

    def __str__(self) -> str:
        return self.name


#: What EdgeFlowerTune adapts.
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


def _edge() -> Published:
    """Three boards send bare values, five phones a header with each tensor."""
    values, tensors = adapters(GEMMA_270M, ATTENTION)
    counted = 3 * values + 5 * (values + PHONE_HEADER * tensors)
    return Published("EdgeFlowerTune, 8 clients' uploads a round", 23_650_560, counted)


def _medical(shape: ModelSpec, published: float) -> Published:
    """200 rounds of two clients, up and down."""
    values, tensors = adapters(shape, ("q_proj", "v_proj"))
    counted = 200 * 2 * 2 * (values + NUMPY_HEADER * tensors)
    return Published(f"FlowerTune medical, {shape.name}", published, counted, _MIB)


PUBLISHED = (_edge(), _medical(SMOLLM2_135M, 1417.97), _medical(SMOLLM2_360M, 2512.50))


def split_upload_bytes() -> tuple[int, int]:
    """Ten uploads of EdgeFlowerTune's cut model: activations alone, and all that fedsim sends."""
    training = _training(GEMMA_270M, ("q_proj", "v_proj"))
    plan = ClientPlan(training, (TextLengths(80, 64),), batch_size=8, cut=Cut(2))
    payload = activation_payload(plan, BatchShape.padded(8, 64))
    activations = next(t for t in payload.tensors if t.name == "activations")
    return 10 * activations.num_bytes, 10 * payload.payload_bytes
