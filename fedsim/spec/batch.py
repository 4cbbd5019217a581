"""Mini-batches as counts: how many samples, tokens and token pairs a model sees at once.

Padded, unpadded and dynamically padded text differ here and nowhere else. Costs depend on a batch
through three sums only: samples, tokens (linear layers) and squared lengths (attention).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from fedsim.errors import ScenarioError

__all__ = ["BatchShape", "Padding", "TextLengths", "batch_shapes", "run_lengths"]

Padding = Literal["max_tokens", "longest", "none"]


@dataclass(frozen=True, slots=True)
class BatchShape:
    """Counts of one mini-batch.

    Attributes
    ----------
    num_samples : int
        B.
    num_tokens : int
        Positions that are computed and sent: padding counts where there is padding.
    num_token_pairs : int
        Sum over samples of the squared number of positions.
    padded_tokens : int or None
        Common length of all samples; None where each sample keeps its own.
    num_groups : int
        Times that the model is called: once for all samples of one length. It changes seconds only.
    """

    num_samples: int
    num_tokens: int
    num_token_pairs: int
    padded_tokens: int | None
    num_groups: int = 1

    @property
    def token_shape(self) -> tuple[int, ...]:
        """Leading dimensions of a per-token tensor: ``(B, T)``, or ``(tokens,)`` unpadded."""
        if self.padded_tokens is None:
            return (self.num_tokens,)
        return (self.num_samples, self.padded_tokens)

    @classmethod
    def padded(cls, num_samples: int, padded_tokens: int) -> BatchShape:
        """``num_samples`` samples of one common length."""
        return cls(
            num_samples,
            num_samples * padded_tokens,
            num_samples * padded_tokens * padded_tokens,
            padded_tokens,
        )

    @classmethod
    def unpadded(cls, lengths: Sequence[int]) -> BatchShape:
        """Samples that keep their own lengths."""
        pairs = sum(n * n for n in lengths)
        return cls(len(lengths), sum(lengths), pairs, None, num_groups=len(set(lengths)))


@dataclass(frozen=True, slots=True)
class TextLengths:
    """Numbers of tokens of the samples of one data set, in the order in which they are visited.

    Attributes
    ----------
    num_samples : int
        N.
    max_tokens : int
        Longer texts are truncated to it, shorter ones padded to it where padding says so.
    padding : {"max_tokens", "longest", "none"}
        Pad all to ``max_tokens``; each batch to its longest sample; or not at all.
    lengths : tuple of int or None
        Needed unless everything is padded to ``max_tokens``.
    """

    num_samples: int
    max_tokens: int
    padding: Padding = "max_tokens"
    lengths: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.num_samples < 0:
            raise ScenarioError(f"number of samples = {self.num_samples}; allowed: 0 or more.")
        if self.max_tokens < 1:
            raise ScenarioError(f"max_tokens = {self.max_tokens}; at least 1 is needed.")
        if self.padding != "max_tokens" and self.lengths is None and self.num_samples:
            raise ScenarioError(
                f"padding = '{self.padding}' needs the lengths of the texts; "
                "give a length distribution or pad to max_tokens."
            )
        if self.lengths is not None and len(self.lengths) != self.num_samples:
            raise ScenarioError(
                f"{len(self.lengths)} text lengths for {self.num_samples} samples; give one each."
            )


def batch_shapes(text: TextLengths, batch_size: int) -> tuple[BatchShape, ...]:
    """Mini-batches of one pass over ``text``, the last one possibly smaller.

    Parameters
    ----------
    text : TextLengths
        The samples in visiting order.
    batch_size : int
        B, samples that go through the model at once.
    """
    if batch_size < 1:
        raise ScenarioError(f"batch_size = {batch_size}; at least 1 is needed.")
    return tuple(_shapes(text, batch_size))


def _shapes(text: TextLengths, batch_size: int) -> Iterator[BatchShape]:
    if text.padding == "max_tokens" or text.lengths is None:
        full, rest = divmod(text.num_samples, batch_size)
        whole = BatchShape.padded(batch_size, text.max_tokens)
        for _ in range(full):
            yield whole
        if rest:
            yield BatchShape.padded(rest, text.max_tokens)
        return
    lengths = [min(n, text.max_tokens) for n in text.lengths]
    for start in range(0, len(lengths), batch_size):
        batch = lengths[start : start + batch_size]
        if text.padding == "longest":
            yield BatchShape.padded(len(batch), max(batch))
        else:
            yield BatchShape.unpadded(batch)


def run_lengths(shapes: Sequence[BatchShape]) -> tuple[tuple[int, BatchShape], ...]:
    """Runs of equal neighbors as ``(times, shape)``, so that a protocol stays short."""
    return tuple((sum(1 for _ in run), shape) for shape, run in groupby(shapes))
