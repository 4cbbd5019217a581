"""A data set as token ids.

Decides truncation and what an empty text becomes. Refuses to pad: how many positions a batch is
filled up to is a choice of the run and has a price, so the unpadded lengths stay visible here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedsim.errors import ScenarioError
from fedsim.runtime.data.text_dataset import TextDataset
from fedsim.runtime.data.tokenizer import Tokenizer
from fedsim.spec.batch import Padding, TextLengths

IntArray = npt.NDArray[np.int64]


# Compared by identity: equality of arrays is elementwise, and a data set is large.
@dataclass(frozen=True, eq=False)
class EncodedDataset:
    """Token ids of every row, unpadded, with the rows' labels.

    Parameters
    ----------
    token_ids
        One array a row, shape ``(length,)``, with 1 to `max_tokens` ids each. [tokens]
    labels
        Shape ``(num_rows,)``; shape ``(0,)`` for pure language modeling.
    vocab_size
        Number of ids that the tokenizer can give.
    num_labels
        Number of labels that exist; 0 for pure language modeling.
    max_tokens
        Length at which rows were cut. [tokens]
    """

    token_ids: tuple[IntArray, ...]
    labels: IntArray
    vocab_size: int
    num_labels: int
    max_tokens: int

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.token_ids)

    @cached_property
    def lengths(self) -> IntArray:
        """Unpadded length of every row [tokens], shape ``(num_rows,)``."""
        return np.array([len(ids) for ids in self.token_ids], dtype=np.int64)

    @property
    def spread_labels(self) -> IntArray:
        """Labels to spread rows over clients by: all alike where rows have none."""
        return self.labels if self.labels.size else np.zeros(self.num_rows, dtype=np.int64)

    def text(self, padding: Padding) -> TextLengths:
        """The rows as a plan has them: their lengths, in their order."""
        lengths = tuple(int(number) for number in self.lengths)
        return TextLengths(self.num_rows, self.max_tokens, padding, lengths)

    def take(self, indices: Sequence[int] | IntArray) -> "EncodedDataset":
        """The rows of these indices, in their order; the arrays are shared, not copied.

        Parameters
        ----------
        indices
            Row numbers; one may come twice.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        return EncodedDataset(
            token_ids=tuple(self.token_ids[index] for index in chosen.tolist()),
            labels=self.labels[chosen] if self.labels.size else self.labels,
            vocab_size=self.vocab_size,
            num_labels=self.num_labels,
            max_tokens=self.max_tokens,
        )


def encode_dataset(dataset: TextDataset, tokenizer: Tokenizer, max_tokens: int) -> EncodedDataset:
    """Token ids of a data set's texts.

    Parameters
    ----------
    dataset
        Texts and labels.
    tokenizer
        Turns a text into ids.
    max_tokens
        Longer rows keep their first `max_tokens` ids. [tokens]

    Returns
    -------
    EncodedDataset
        Rows in the order of the data set.

    Raises
    ------
    ScenarioError
        If `max_tokens` is below 1.

    Notes
    -----
    A text without a token becomes one pad token, for a model can neither run on zero positions
    nor pick a last one. Classifiers pool the first position of an all-pad row.
    """
    if max_tokens < 1:
        raise ScenarioError(f"max_tokens = {max_tokens}: a row needs at least 1 token")
    rows = (tokenizer.encode(text)[:max_tokens] for text in dataset.texts)
    return EncodedDataset(
        token_ids=tuple(np.array(ids or [tokenizer.pad_token_id], dtype=np.int64) for ids in rows),
        labels=np.array(dataset.labels, dtype=np.int64),
        vocab_size=tokenizer.vocab_size,
        num_labels=dataset.num_labels,
        max_tokens=max_tokens,
    )
