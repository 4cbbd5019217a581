"""Dropout masks by name: what is dropped does not depend on what is computed together.

A mask's bit is a function of (seed, round, client, batch, sample, layer, token position, channel),
hashed by integer arithmetic that is the same on every device. torch's own generator hands out bits
in the order of the calls, and so a client's masks would depend on its neighbours in a cohort.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor, nn

from fedsim.draws import GOLDEN, MIX_1, MIX_2, purpose_key
from fedsim.errors import ScenarioError
from fedsim.runtime.staged_model import StagedModel

__all__ = [
    "KeyedDropout",
    "MaskStream",
    "SequentialMasks",
    "dropout_threshold",
    "keep_mask",
    "kept_scale",
    "layer_key",
    "token_keys",
]

#: Bits that decide one channel: a rate is met to within 1 / 131,072.
_BITS: Final = 16
_VALUES: Final = 1 << _BITS
_CHANNELS_PER_WORD: Final = 64 // _BITS


class MaskStream:
    """Names the batches of one client, so that each has masks of its own.

    Parameters
    ----------
    seed : int
    client_id : str
    """

    def __init__(self, seed: int, client_id: str) -> None:
        self.seed = seed
        self.client_id = client_id
        self._round_index = 0
        self._batch_index = 0

    def begin_round(self, round_index: int) -> None:
        """Count the batches of another round, from 0."""
        self._round_index, self._batch_index = round_index, 0

    def next_key(self) -> int:
        """64-bit key of the next batch that is trained on."""
        name = f"lora_dropout/{self._round_index}/{self.client_id}/{self._batch_index}"
        self._batch_index += 1
        return purpose_key(self.seed, name)


@lru_cache(maxsize=4096)
def layer_key(layer_index: int, path: str) -> int:
    """64-bit key of an adapted linear layer."""
    return purpose_key(layer_index, f"layer/{path}")


def token_keys(batch_key: int | Tensor, rows: Tensor, positions: Tensor) -> Tensor:
    """64-bit keys of tokens, as int64.

    Parameters
    ----------
    batch_key : int or Tensor
        Of the batch, or one for each token.
    rows, positions : Tensor
        Sample of the batch and place in the sample, broadcast against each other.
    """
    key = batch_key if isinstance(batch_key, Tensor) else _signed(batch_key)
    by_row = _mixed((rows + 1) * _signed(GOLDEN) + key)
    return _mixed((positions + 1) * _signed(GOLDEN) + by_row)


def keep_mask(keys: Tensor, layer: int, threshold: int | Tensor, num_channels: int) -> Tensor:
    """Which channels are kept.

    Parameters
    ----------
    keys : Tensor
        ``(...)`` of :func:`token_keys`.
    layer : int
        Of :func:`layer_key`.
    threshold : int or Tensor
        Of :func:`dropout_threshold`; as a tensor one a token, ``(..., 1)`` int16.
    num_channels : int

    Returns
    -------
    Tensor
        ``(..., num_channels)``, bool.

    Notes
    -----
    SplitMix64 with the token's key as its state: one word decides four channels, 16 bits each.
    """
    num_words = -(-num_channels // _CHANNELS_PER_WORD)
    counters = torch.arange(1, num_words + 1, device=keys.device) * _signed(GOLDEN)
    by_layer = _mixed(keys ^ _signed(layer))
    words = _mixed(by_layer.unsqueeze(-1) + counters)
    return words.view(torch.int16)[..., :num_channels] >= threshold


def dropout_threshold(rate: float) -> int:
    """Lowest 16-bit value, as a signed integer, that keeps a channel."""
    return _dropped_values(rate) - _VALUES // 2


def kept_scale(rate: float) -> float:
    """Factor on what is kept; exact for the rate as it is met."""
    return _VALUES / (_VALUES - _dropped_values(rate))


class KeyedDropout(nn.Module):
    """LoRA dropout of one layer of a model that trains one client at a time."""

    def __init__(self, masks: SequentialMasks, layer: int, rate: float) -> None:
        super().__init__()
        self.masks = masks
        self.layer = layer
        self.rate = rate

    def forward(self, hidden: Tensor) -> Tensor:
        """Drop channels of ``(n, T, d)`` in training."""
        if not self.training:
            return hidden
        threshold = dropout_threshold(self.rate)
        mask = keep_mask(self.masks.keys, self.layer, threshold, hidden.shape[-1])
        return hidden * mask * kept_scale(self.rate)


class SequentialMasks:
    """Puts keyed masks in the place of a model's LoRA dropout.

    Parameters
    ----------
    model : StagedModel
        Changed: its dropout modules are replaced.
    stream : MaskStream

    Raises
    ------
    ScenarioError
        With gradient checkpointing, whose second forward pass comes when the masks' keys are gone.
    """

    def __init__(self, model: StagedModel, stream: MaskStream) -> None:
        if model.training.numerics.is_checkpointed:
            raise ScenarioError(
                "keyed dropout masks with is_checkpointed = true: a recomputed block would draw "
                "other masks; set is_checkpointed = false."
            )
        self.stream = stream
        self.keys = torch.empty(0, dtype=torch.int64)
        self._batch_key = 0
        lora = model.training.lora
        if lora is None or lora.dropout == 0:
            return
        for index, block in enumerate(model.blocks):
            for linear in lora.adapted(model.training.model):
                module: Any = block.get_submodule(linear.path)
                if hasattr(module, "lora_dropout"):
                    key = layer_key(index, linear.path)
                    module.lora_dropout["default"] = KeyedDropout(self, key, lora.dropout)

    def begin_batch(self) -> None:
        """Name the masks of the next batch."""
        self._batch_key = self.stream.next_key()

    def begin_group(self, chosen: Tensor, length: int) -> None:
        """Name the masks of some samples of the batch, ``(n, length)`` tokens."""
        positions = torch.arange(length, device=chosen.device)
        self.keys = token_keys(self._batch_key, chosen[:, None], positions[None, :])


def _dropped_values(rate: float) -> int:
    return min(_VALUES - 1, round(rate * _VALUES))


def _signed(key: int) -> int:
    """The 64-bit word as the signed integer of the same bits, which is what torch computes with."""
    return key - (1 << 64) if key >= 1 << 63 else key


def _mixed(words: Tensor) -> Tensor:
    """SplitMix64's finalizer; ``>>`` of a signed word copies its sign, which the masks undo."""
    words = (words ^ ((words >> 30) & ((1 << 34) - 1))) * _signed(MIX_1)
    words = (words ^ ((words >> 27) & ((1 << 37) - 1))) * _signed(MIX_2)
    return words ^ ((words >> 31) & ((1 << 33) - 1))
