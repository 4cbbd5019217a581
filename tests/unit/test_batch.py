"""Mini-batches as counts: samples, tokens and token pairs."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.errors import ScenarioError
from fedsim.spec.batch import BatchShape, Padding, TextLengths, batch_shapes, run_lengths

lengths = st.lists(st.integers(1, 60), max_size=30)
batch_sizes = st.integers(1, 12)
max_tokens = st.integers(1, 50)


def text(found: list[int], limit: int, padding: Padding) -> TextLengths:
    return TextLengths(len(found), limit, padding, tuple(found))


def test_padding_to_the_limit_makes_all_batches_alike() -> None:
    """7 samples at batch size 3 and 5 tokens are two batches of 15 tokens and one of 5."""
    shapes = batch_shapes(TextLengths(7, 5), 3)

    assert shapes == (BatchShape(3, 15, 75, 5), BatchShape(3, 15, 75, 5), BatchShape(1, 5, 25, 5))


def test_padding_to_the_longest_follows_each_batch() -> None:
    """Lengths 2, 4 | 1, 3 make batches of 2 x 4 and 2 x 3 tokens."""
    shapes = batch_shapes(text([2, 4, 1, 3], 9, "longest"), 2)

    assert [shape.num_tokens for shape in shapes] == [8, 6]
    assert [shape.num_token_pairs for shape in shapes] == [2 * 16, 2 * 9]


def test_without_padding_each_sample_keeps_its_length() -> None:
    """Lengths 2, 4 | 1, 3 make 6 and 4 tokens, and 4 + 16 and 1 + 9 token pairs."""
    shapes = batch_shapes(text([2, 4, 1, 3], 9, "none"), 2)

    assert shapes == (
        BatchShape(2, 6, 20, None, num_groups=2),
        BatchShape(2, 4, 10, None, num_groups=2),
    )


@given(lengths, max_tokens, batch_sizes, st.sampled_from(["max_tokens", "longest", "none"]))
def test_every_sample_is_in_one_batch(
    found: list[int], limit: int, size: int, padding: Padding
) -> None:
    """Batches hold all samples, are full but for the last, and are none where there is no text."""
    sizes = [shape.num_samples for shape in batch_shapes(text(found, limit, padding), size)]

    assert sum(sizes) == len(found)
    assert all(number == size for number in sizes[:-1])
    assert all(number > 0 for number in sizes)


@given(lengths, max_tokens, batch_sizes)
def test_less_padding_never_takes_more_tokens(found: list[int], limit: int, size: int) -> None:
    """Real tokens <= padded to the longest of a batch <= padded to the limit."""
    paddings: tuple[Padding, ...] = ("none", "longest", "max_tokens")
    for count in ("num_tokens", "num_token_pairs"):
        sums = [
            sum(getattr(shape, count) for shape in batch_shapes(text(found, limit, padding), size))
            for padding in paddings
        ]
        assert sums == sorted(sums)


@given(lengths, max_tokens, batch_sizes)
def test_without_padding_the_batch_size_changes_no_token(
    found: list[int], limit: int, size: int
) -> None:
    """Tokens are the truncated lengths, however samples are grouped."""
    shapes = batch_shapes(text(found, limit, "none"), size)

    assert sum(shape.num_tokens for shape in shapes) == sum(min(n, limit) for n in found)


@given(st.integers(1, 9), st.integers(1, 9))
def test_padded_samples_cost_what_equal_samples_cost(num_samples: int, length: int) -> None:
    """B samples of T tokens count the same padded and unpadded; only the tensor's shape differs."""
    padded, unpadded = (
        BatchShape.padded(num_samples, length),
        BatchShape.unpadded([length] * num_samples),
    )

    assert padded.num_tokens == unpadded.num_tokens
    assert padded.num_token_pairs == unpadded.num_token_pairs
    assert padded.token_shape == (num_samples, length)
    assert unpadded.token_shape == (num_samples * length,)


@given(st.lists(st.integers(1, 3).map(lambda n: BatchShape.padded(n, 4))))
def test_runs_of_equal_batches_say_how_many(shapes: list[BatchShape]) -> None:
    """Written out again, the runs are the batches in order, and neighbors differ."""
    runs = run_lengths(shapes)

    assert [shape for times, shape in runs for _ in range(times)] == shapes
    assert all(one[1] != other[1] for one, other in pairwise(runs))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, 5), "number of samples = -1"),
        ((3, 0), "max_tokens = 0"),
        ((3, 5, "none"), "padding = 'none' needs the lengths"),
        ((3, 5, "longest"), "padding = 'longest' needs the lengths"),
        ((3, 5, "none", (1, 2)), "2 text lengths for 3 samples"),
    ],
)
def test_texts_that_cannot_be_are_refused(arguments: tuple[object, ...], words: str) -> None:
    """The message names the value and what is needed."""
    with pytest.raises(ScenarioError, match=words):
        TextLengths(*arguments)  # type: ignore[arg-type]


def test_a_batch_of_nothing_is_refused() -> None:
    """A batch size of 0 would never end."""
    with pytest.raises(ScenarioError, match="batch_size = 0"):
        batch_shapes(TextLengths(3, 5), 0)
