"""Mini-batches of real text: padding, groups of equal length, labels and last tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedsim.runtime.data import EncodedDataset
from fedsim.spec.batch import Padding
from fedsim.spec.dtype import index_dtype

__all__ = ["TextBatch", "TextSource", "equal_length_groups", "received_text", "text_message"]


@dataclass(frozen=True)
class TextBatch:
    """Samples that go through the model at once.

    Attributes
    ----------
    token_ids : Tensor
        ``(B, T)`` padded, int64.
    last_index : Tensor
        ``(B,)`` position of each sample's last real token.
    labels : Tensor or None
        ``(B,)`` classes; None where there are none (language modeling, public text).
    is_padded : bool
        Whether all samples are computed at length T; else each at its own.
    """

    token_ids: Tensor
    last_index: Tensor
    labels: Tensor | None
    is_padded: bool

    @property
    def num_samples(self) -> int:
        """B."""
        return int(self.token_ids.shape[0])

    @property
    def num_positions(self) -> int:
        """Token positions that are computed: padding counts where there is padding."""
        if self.is_padded:
            return self.token_ids.numel()
        return int((self.last_index + 1).sum())


@dataclass(frozen=True)
class TextSource:
    """Turns rows of a data set into batches.

    Attributes
    ----------
    data : EncodedDataset
    padding : {"max_tokens", "longest", "none"}
    pad_token_id : int
    """

    data: EncodedDataset
    padding: Padding
    pad_token_id: int

    def batch(self, rows: Sequence[int], device: torch.device) -> TextBatch:
        """The batch of the given rows, in their order."""
        texts = [self.data.token_ids[row] for row in rows]
        longest = max(len(text) for text in texts)
        width = self.data.max_tokens if self.padding == "max_tokens" else longest
        ids = np.full((len(texts), width), self.pad_token_id, dtype=np.int64)
        for i, text in enumerate(texts):
            ids[i, : len(text)] = text
        last = torch.tensor([len(text) - 1 for text in texts], device=device)
        labels = None
        if len(self.data.labels):
            labels = torch.tensor(self.data.labels[list(rows)], device=device)
        return TextBatch(
            torch.from_numpy(ids).to(device), last, labels, is_padded=self.padding != "none"
        )


def text_message(source: TextSource, vocab_size: int) -> dict[str, Tensor]:
    """A whole data set's token ids and last-token indices as tensors of one message.

    Padded to ``max_tokens`` where batches are; else one text after the other. Ids travel in the
    smallest format that holds the *model's* vocabulary.
    """
    data = source.data
    if data.num_rows == 0:
        return {}
    lengths = torch.from_numpy(data.lengths)
    if source.padding == "max_tokens":
        ids = torch.full((data.num_rows, data.max_tokens), source.pad_token_id)
        for row, text in enumerate(data.token_ids):
            ids[row, : len(text)] = torch.from_numpy(text)
    else:
        ids = torch.from_numpy(np.concatenate(data.token_ids))
    return {
        "token_ids": ids.to(getattr(torch, index_dtype(vocab_size))),
        "last_index": (lengths - 1).to(getattr(torch, index_dtype(data.max_tokens))),
    }


def received_text(tensors: dict[str, Tensor], like: TextSource) -> TextSource:
    """The data set of :func:`text_message`, without labels, batched like another one."""
    texts: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    if tensors:
        ids = tensors["token_ids"].to(torch.int64).cpu().numpy()
        lengths = tensors["last_index"].to(torch.int64).cpu().numpy() + 1
        starts = np.cumsum(lengths) - lengths
        for row, length in enumerate(lengths):
            flat = ids[row] if ids.ndim == 2 else ids[starts[row] :]
            texts.append(flat[:length].copy())
    data = EncodedDataset(
        token_ids=tuple(texts),
        labels=np.empty(0, dtype=np.int64),
        vocab_size=like.data.vocab_size,
        num_labels=0,
        max_tokens=like.data.max_tokens,
    )
    return TextSource(data, like.padding, like.pad_token_id)


def equal_length_groups(last_index: Tensor) -> list[tuple[int, Tensor]]:
    """Samples grouped by length, so that unpadded text is computed without any padding.

    Returns
    -------
    list of (int, Tensor)
        Length and the indices of the samples that have it, by ascending length.
    """
    lengths = last_index + 1
    return [
        (int(length), torch.nonzero(lengths == length).flatten())
        for length in torch.unique(lengths, sorted=True)
    ]
