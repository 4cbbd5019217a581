"""What a message's codec does at its two ends, and what each end keeps for the next message.

A codec may be a user's own: whatever goes wrong in it is reported as theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from fedsim.errors import FedsimError, ProtocolError
from fedsim.protocol.step import Transfer
from fedsim.runtime.state import NamedTensors
from fedsim.spec.codec import SEPARATOR, Codec

__all__ = ["CodecMemories", "decoded", "encoded"]

_T = TypeVar("_T")


class CodecMemories:
    """What the codecs of one end keep of the messages with one client, by direction and content."""

    def __init__(self) -> None:
        self._known: dict[str, NamedTensors] = {}

    def of(self, transfer: Transfer) -> NamedTensors:
        """The memory for messages like this one; empty at first."""
        place = f"{transfer.direction.value}/{transfer.payload.content.value}"
        return self._known.setdefault(place, NamedTensors())

    def tensors(self) -> dict[str, Tensor]:
        """All of them, by ``DIRECTION/CONTENT/NAME``."""
        return {
            f"{place}/{name}": tensor
            for place, memory in self._known.items()
            for name, tensor in memory.items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """These, in the place of all that are there."""
        self._known = {}
        for key, tensor in tensors.items():
            direction, content, name = key.split("/", 2)
            place = f"{direction}/{content}"
            self._known.setdefault(place, NamedTensors())[name] = tensor


def encoded(
    transfer: Transfer, tensors: Mapping[str, Tensor], memories: CodecMemories
) -> dict[str, Tensor]:
    """The tensors of a message, from those that its sender has.

    Raises
    ------
    ProtocolError
        If the codec fails.
    """
    codec = transfer.payload.codec
    if codec is None:
        return dict(tensors)
    memory = memories.of(transfer)
    sent: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            sent[name] = tensor
            continue
        plain = tensor.detach()
        sent |= _guarded(codec, "encode", name, partial(codec.encode, name, plain, memory))
    return sent


def decoded(
    transfer: Transfer, wire: Mapping[str, Tensor], memories: CodecMemories
) -> dict[str, Tensor]:
    """The tensors that a receiver has, from those of a message.

    Raises
    ------
    ProtocolError
        If the codec fails.
    """
    codec = transfer.payload.codec
    if codec is None:
        return dict(wire)
    memory = memories.of(transfer)
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in wire.items():
        groups.setdefault(name.partition(SEPARATOR)[0], {})[name] = tensor
    encoded_names = {spec.name for spec in transfer.payload.encoded}
    found: dict[str, Tensor] = {}
    for spec in transfer.payload.plain_tensors:
        own = groups.get(spec.name, {})
        if spec.name not in encoded_names:
            found |= own
            continue
        like = torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device="meta")
        decode = partial(codec.decode, spec.name, own, like, memory)
        found[spec.name] = _guarded(codec, "decode", spec.name, decode)
    return found


def _guarded(codec: Codec, function: str, name: str, call: Callable[[], _T]) -> _T:
    # A user's codec may raise anything.
    try:
        return call()
    except FedsimError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise ProtocolError(f"codec {codec!r}: {function} fails on '{name}' ({reason}).") from error
