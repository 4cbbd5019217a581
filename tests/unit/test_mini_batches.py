"""Passes over a data set as ``Repeat`` words: equal batches once, every batch in order."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fedsim.protocol.mini_batches import inference_batches, training_batches
from fedsim.protocol.operation import InferLogits, Part, Train
from fedsim.protocol.step import Compute, Repeat, Site, Step, leaf_steps
from fedsim.spec.batch import BatchShape, Padding, TextLengths, batch_shapes

WHOLE = Part.whole(3)

texts = st.builds(
    lambda lengths, padding: TextLengths(len(lengths), 9, padding, tuple(lengths)),
    st.lists(st.integers(1, 9), max_size=12),
    st.sampled_from(["max_tokens", "longest", "none"]),
)


def train(batch: BatchShape, is_update: bool) -> tuple[Compute, ...]:
    return (Compute("a2", Site.CLIENT, Train(WHOLE, batch, is_update)),)


def written_out(steps: tuple[Step, ...]) -> list[Any]:
    """The operations one by one, in the order in which they run."""
    found: list[Any] = []
    for step in steps:
        if isinstance(step, Repeat):
            found.extend(written_out(step.steps) * step.times)
        else:
            assert isinstance(step, Compute)
            found.append(step.operation)
    return found


def test_equal_batches_are_written_once() -> None:
    """Eight samples at batch size 2 are one step, four times."""
    steps = training_batches((TextLengths(8, 5),), 2, 1, train)

    assert steps == (Repeat(4, train(BatchShape.padded(2, 5), True)),)


def test_equal_epochs_are_written_once() -> None:
    """Three passes over the same text repeat the pass."""
    once = training_batches((TextLengths(3, 5),), 2, 1, train)

    assert training_batches((TextLengths(3, 5),) * 3, 2, 1, train) == (Repeat(3, once),)


def test_an_optimizer_step_ends_every_group_and_every_epoch() -> None:
    """Five batches in groups of two: update after the second, the fourth and the last."""
    steps = training_batches((TextLengths(5, 5),), 1, 2, train)

    assert [o.is_update for o in written_out(steps)] == [False, True, False, True, True]


def test_an_epoch_s_rest_is_no_part_of_the_next_group() -> None:
    """Three batches in groups of two, twice: gradients never cross the end of an epoch."""
    steps = training_batches((TextLengths(3, 5),) * 2, 1, 2, train)

    assert [o.is_update for o in written_out(steps)] == [False, True, True] * 2


def test_no_text_takes_no_step() -> None:
    """An empty data set has neither a pass nor a ``Repeat`` of nothing."""
    empty = TextLengths(0, 5)

    assert training_batches((empty, empty), 2, 1, train) == ()
    assert inference_batches(empty, 2, lambda batch: train(batch, False)) == ()


@given(st.lists(texts, min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 4))
def test_all_batches_come_in_order(
    epochs: list[TextLengths], batch_size: int, accumulation_steps: int
) -> None:
    """Written out, the words are the batches of each epoch one after the other."""
    steps = training_batches(tuple(epochs), batch_size, accumulation_steps, train)

    expected = [shape for epoch in epochs for shape in batch_shapes(epoch, batch_size)]
    assert [operation.batch for operation in written_out(steps)] == expected


@given(st.lists(texts, min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 4))
def test_each_epoch_takes_an_optimizer_step_for_each_group_of_batches(
    epochs: list[TextLengths], batch_size: int, accumulation_steps: int
) -> None:
    """The number of updates is the sum over epochs of ceil(batches / accumulation)."""
    steps = training_batches(tuple(epochs), batch_size, accumulation_steps, train)

    groups = [-(-len(batch_shapes(epoch, batch_size)) // accumulation_steps) for epoch in epochs]
    assert sum(operation.is_update for operation in written_out(steps)) == sum(groups)


@given(texts, st.integers(1, 5))
def test_inference_sees_every_sample_once(text: TextLengths, batch_size: int) -> None:
    """Batches of a pass without updates are those of the text."""
    steps = inference_batches(
        text, batch_size, lambda batch: (Compute("b2", Site.CLIENT, InferLogits(WHOLE, batch)),)
    )

    assert [o.batch for o in written_out(steps)] == list(batch_shapes(text, batch_size))


@given(st.lists(texts, min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 4))
def test_leaves_count_every_batch(
    epochs: list[TextLengths], batch_size: int, accumulation_steps: int
) -> None:
    """Times of the leaves add up to the number of batches, nested repeats multiplied."""
    steps = training_batches(tuple(epochs), batch_size, accumulation_steps, train)

    assert sum(times for times, _ in leaf_steps(steps)) == len(written_out(steps))


def test_a_long_pass_is_a_short_word() -> None:
    """A million equal batches take no more words than ten."""
    padding: Padding = "max_tokens"
    million = TextLengths(1_000_000, 80, padding)

    assert len(training_batches((million,) * 5, 10, 4, train)) == 1
