"""Values in another floating-point format: half the bytes in 16 bits, with their rounding."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from fedsim.spec.codec import Codec, CodecFacts, CodecWork
from fedsim.spec.dtype import FloatDtype
from fedsim.spec.message import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Cast"]


@dataclass(frozen=True, slots=True)
class Cast(Codec):
    """Every value is converted, at both ends; what has the format already is not touched.

    Attributes
    ----------
    dtype : {"float32", "float16", "bfloat16"}
        On the wire. 16-bit floats keep 11 and 8 significant bits, and ``float16`` reaches from
        6e-8 to 65504 only.
    """

    dtype: FloatDtype
    facts: ClassVar[CodecFacts] = CodecFacts(needs_whole=False, is_summable=True)

    def on_wire(self, tensor: TensorSpec) -> tuple[TensorSpec, ...]:
        """One tensor of the same shape."""
        return (replace(tensor, dtype=self.dtype),)

    def encoding_work(self, tensor: TensorSpec) -> CodecWork:
        """One operator that reads every value and writes it."""
        if tensor.dtype == self.dtype:
            return CodecWork()
        (sent,) = self.on_wire(tensor)
        return CodecWork(tensor.num_bytes + sent.num_bytes, 1)

    def decoding_work(self, tensor: TensorSpec) -> CodecWork:
        """As :meth:`encoding_work`: the same conversion the other way."""
        return self.encoding_work(tensor)

    def encode(
        self, name: str, tensor: Tensor, memory: MutableMapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The converted tensor."""
        import torch

        del memory
        return {name: tensor.to(getattr(torch, self.dtype))}

    def decode(
        self,
        name: str,
        wire: Mapping[str, Tensor],
        like: Tensor,
        memory: MutableMapping[str, Tensor],
    ) -> Tensor:
        """The values in the receiver's format."""
        del memory
        return wire[name].to(like.dtype)
