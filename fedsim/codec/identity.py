"""Tensors as they are: in the format in which they were computed, or are trained."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fedsim.spec.codec import Codec, CodecFacts, CodecWork
from fedsim.spec.message import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Identity"]


@dataclass(frozen=True, slots=True)
class Identity(Codec):
    """Changes nothing and takes no time."""

    facts: ClassVar[CodecFacts] = CodecFacts(needs_whole=False, is_summable=True)

    def on_wire(self, tensor: TensorSpec) -> tuple[TensorSpec, ...]:
        """The tensor itself."""
        return (tensor,)

    def encoding_work(self, tensor: TensorSpec) -> CodecWork:  # noqa: ARG002 - none for any
        """None."""
        return CodecWork()

    def decoding_work(self, tensor: TensorSpec) -> CodecWork:  # noqa: ARG002 - none for any
        """None."""
        return CodecWork()

    def encode(
        self, name: str, tensor: Tensor, memory: MutableMapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The tensor itself."""
        del memory
        return {name: tensor}

    def decode(
        self,
        name: str,
        wire: Mapping[str, Tensor],
        like: Tensor,
        memory: MutableMapping[str, Tensor],
    ) -> Tensor:
        """The tensor that came."""
        del like, memory
        return wire[name]
