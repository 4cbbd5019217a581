"""Turn a pass over a data set into ``Repeat`` words: equal batches are written once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from fedsim.protocol.step import Compute, Repeat, Step, Transfer
from fedsim.spec.batch import BatchShape, TextLengths, batch_shapes, run_lengths

__all__ = ["inference_batches", "training_batches"]

Steps = tuple[Compute | Transfer, ...]


def training_batches(
    epochs: tuple[TextLengths, ...],
    batch_size: int,
    accumulation_steps: int,
    steps: Callable[[BatchShape, bool], Steps],
) -> tuple[Step, ...]:
    """Steps of all mini-batches of some epochs.

    Parameters
    ----------
    epochs : tuple of TextLengths
        One entry a pass over the data.
    batch_size, accumulation_steps : int
        An optimizer step follows every ``accumulation_steps`` batches and ends every epoch.
    steps : callable
        ``(batch, is_update) -> steps`` of one mini-batch.
    """
    words: list[Step] = []
    for epoch, run in groupby(epochs):
        words.extend(
            _repeat(sum(1 for _ in run), _epoch(epoch, batch_size, accumulation_steps, steps))
        )
    return tuple(words)


def inference_batches(
    text: TextLengths, batch_size: int, steps: Callable[[BatchShape], Steps]
) -> tuple[Step, ...]:
    """Steps of one pass without updates."""
    words: list[Step] = []
    for times, shape in run_lengths(batch_shapes(text, batch_size)):
        words.extend(_repeat(times, steps(shape)))
    return tuple(words)


def _epoch(
    text: TextLengths,
    batch_size: int,
    accumulation_steps: int,
    steps: Callable[[BatchShape, bool], Steps],
) -> tuple[Step, ...]:
    shapes = batch_shapes(text, batch_size)
    groups = [
        shapes[start : start + accumulation_steps]
        for start in range(0, len(shapes), accumulation_steps)
    ]
    words: list[Step] = []
    for group, run in groupby(groups):
        body: list[Step] = []
        for times, shape in run_lengths(group[:-1]):
            body.extend(_repeat(times, steps(shape, False)))
        body.extend(steps(group[-1], True))
        words.extend(_repeat(sum(1 for _ in run), tuple(body)))
    return tuple(words)


def _repeat(times: int, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if not steps:
        return ()
    return steps if times == 1 else (Repeat(times, steps),)
