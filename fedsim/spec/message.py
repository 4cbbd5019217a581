"""What a message is about, which way it goes, and the tensors that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import prod

from fedsim.spec.dtype import dtype_bytes

__all__ = ["Content", "Direction", "TensorSpec"]


class Content(StrEnum):
    """What a message or an aggregation is about."""

    BASE_WEIGHTS = "base_weights"
    PUBLIC_TEXT = "public_text"
    ADAPTERS = "adapters"
    LOGITS = "logits"
    ACTIVATIONS = "activations"
    ACTIVATION_GRADIENTS = "activation_gradients"
    PUBLIC_KEYS = "public_keys"
    ENCRYPTED_SHARES = "encrypted_shares"
    MASKED_ADAPTERS = "masked_adapters"
    MASKED_LOGITS = "masked_logits"
    SURVIVORS = "survivors"
    SHARES = "shares"


class Direction(StrEnum):
    """Way of a transfer, always seen from the client."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a payload."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def num_values(self) -> int:
        """How many values it has."""
        return prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes of the tensor's data [B]."""
        return self.num_values * dtype_bytes(self.dtype)
