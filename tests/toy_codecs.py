"""Codecs for tests: one that keeps the last message, one that sends few values with their places.

Torch is imported inside their tensor functions, as in every codec.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from fedsim.codec import CODECS
from fedsim.spec.codec import Codec, CodecFacts, Codecs, CodecWork, Encoding
from fedsim.spec.message import Content, Direction, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TOY_CODECS", "Delta", "Largest", "named_codecs"]


@dataclass(frozen=True)
class Delta(Codec):
    """The difference to the last message, which both ends keep; the whole after a change of shape.

    What the sender keeps is what the receiver has, rounding included.
    """

    facts: ClassVar[CodecFacts] = CodecFacts(is_stateful=True)

    def on_wire(self, tensor: TensorSpec) -> tuple[TensorSpec, ...]:
        return (tensor,)

    def encoding_work(self, tensor: TensorSpec) -> CodecWork:
        return CodecWork(6 * tensor.num_bytes, 2)

    def decoding_work(self, tensor: TensorSpec) -> CodecWork:
        return CodecWork(3 * tensor.num_bytes, 1)

    def encode(
        self, name: str, tensor: Tensor, memory: MutableMapping[str, Tensor]
    ) -> dict[str, Tensor]:
        last = memory.get(name)
        known = last is not None and last.shape == tensor.shape
        difference = tensor - last if known and last is not None else tensor.clone()
        memory[name] = last + difference if known and last is not None else difference.clone()
        return {name: difference}

    def decode(
        self,
        name: str,
        wire: Mapping[str, Tensor],
        like: Tensor,
        memory: MutableMapping[str, Tensor],
    ) -> Tensor:
        last, difference = memory.get(name), wire[name]
        known = last is not None and last.shape == difference.shape
        memory[name] = last + difference if known and last is not None else difference.clone()
        return memory[name].clone()


@dataclass(frozen=True)
class Largest(Codec):
    """Every so manieth value, the largest ones, and where they stand; the others are zero."""

    every: int = 4

    def on_wire(self, tensor: TensorSpec) -> tuple[TensorSpec, ...]:
        kept = (-(-tensor.num_values // self.every),)
        places = TensorSpec(f"{tensor.name}:places", kept, "int32")
        return (replace(tensor, shape=kept), places)

    def encode(
        self, name: str, tensor: Tensor, memory: MutableMapping[str, Tensor]
    ) -> dict[str, Tensor]:
        import torch

        flat = tensor.flatten()
        places = flat.abs().topk(-(-flat.numel() // self.every)).indices
        return {name: flat[places], f"{name}:places": places.to(torch.int32)}

    def decode(
        self,
        name: str,
        wire: Mapping[str, Tensor],
        like: Tensor,
        memory: MutableMapping[str, Tensor],
    ) -> Tensor:
        import torch

        values = wire[name]
        flat = torch.zeros(like.numel(), dtype=like.dtype, device=values.device)
        flat[wire[f"{name}:places"].long()] = values.to(like.dtype)
        return flat.reshape(like.shape)


TOY_CODECS: dict[str, Codec] = {"delta": Delta(), "largest": Largest()}


def named_codecs(**ways: tuple[str | None, str | None]) -> Codecs:
    """Codecs by content, up and down, each shipped or of this file; None names none."""
    every = {**CODECS, **TOY_CODECS}
    return Codecs(
        tuple(
            Encoding(Content(content), direction, name, every[name])
            for content, names in ways.items()
            for direction, name in zip((Direction.UP, Direction.DOWN), names, strict=True)
            if name is not None
        )
    )
