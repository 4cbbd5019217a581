"""The channel between a client and the server: a request, a reply, and serialized buffers.

The first channel is in-process and still serializes, so that what is metered is what a network
would carry. A networked one implements :class:`Channel`; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from safetensors.torch import load, save

__all__ = ["Channel", "InProcessChannel", "Message", "deserialize", "serialize"]


@dataclass(frozen=True, slots=True)
class Message:
    """What one side says to the other.

    Attributes
    ----------
    client_id : str
    label : str
        The protocol's step.
    content : str
        What it is about.
    body : bytes
        A safetensors buffer; empty in a request for a downlink message and in an acknowledgement.
    """

    client_id: str
    label: str
    content: str
    body: bytes = b""


class Channel(Protocol):
    """Carries a client's request to the server and brings back the reply."""

    def request(self, message: Message) -> Message:
        """Send ``message`` and wait for the answer."""


@dataclass(frozen=True, slots=True)
class InProcessChannel:
    """Hands requests to a server in the same process."""

    handle: Callable[[Message], Message]

    def request(self, message: Message) -> Message:
        """Send ``message`` and return the server's answer."""
        return self.handle(message)


def serialize(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """A safetensors buffer of ``tensors``.

    Tensors are detached and made contiguous on the CPU first: the format refuses views that share
    storage, and a view written with its whole storage would be a message of another size.
    """
    plain = {
        name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()
    }
    return bytes(save(plain))


def deserialize(body: bytes, device: torch.device) -> dict[str, torch.Tensor]:
    """The tensors of a buffer, on ``device``."""
    return {name: tensor.to(device) for name, tensor in load(body).items()}
