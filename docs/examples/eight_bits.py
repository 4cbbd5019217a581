"""Eight bits a value: the nearest of 256 even steps between a tensor's smallest and largest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedsim import Codec, CodecWork, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from torch import Tensor


@dataclass(frozen=True)
class EightBits(Codec):
    def on_wire(self, tensor: TensorSpec) -> tuple[TensorSpec, ...]:
        ends = TensorSpec(f"{tensor.name}:ends", (2,), "float32")
        return (replace(tensor, dtype="uint8"), ends)

    def encoding_work(self, tensor: TensorSpec) -> CodecWork:
        # Read for the ends; four passes of 32 bits in and out, of which the last writes one byte.
        return CodecWork((4 + 3 * 8 + 5) * tensor.num_values, 8)

    def decoding_work(self, tensor: TensorSpec) -> CodecWork:
        # One byte in; widened, scaled up, scaled down and shifted.
        return CodecWork((5 + 3 * 8) * tensor.num_values, 5)

    def encode(
        self, name: str, tensor: Tensor, memory: MutableMapping[str, Tensor]
    ) -> dict[str, Tensor]:
        import torch

        low, high = tensor.float().aminmax()
        step = ((high - low) / 255).clamp(min=1e-30)
        codes = ((tensor.float() - low) / step).round().to(torch.uint8)
        return {name: codes, f"{name}:ends": torch.stack([low, high])}

    def decode(
        self,
        name: str,
        wire: Mapping[str, Tensor],
        like: Tensor,
        memory: MutableMapping[str, Tensor],
    ) -> Tensor:
        low, high = wire[f"{name}:ends"]
        return (low + wire[name].float() * (high - low) / 255).to(like.dtype)
