"""Laws of the keyed random streams."""

import pytest

from fedsim.runtime.data.random_stream import MAX_SEED, random_stream, seed_mistakes


@pytest.mark.parametrize("seed", [0, 1, MAX_SEED])
def test_seed_and_purpose_decide_the_stream(seed: int) -> None:
    """The same key gives the same numbers, and another purpose gives others."""
    draws = random_stream(seed, 1).random(4).tolist()
    assert draws == random_stream(seed, 1).random(4).tolist()
    assert draws != random_stream(seed, 2).random(4).tolist()


def test_seed_and_purpose_are_not_interchangeable() -> None:
    """Seed 1 for purpose 2 is another stream than seed 2 for purpose 1."""
    assert random_stream(1, 2).random() != random_stream(2, 1).random()


@pytest.mark.parametrize(("seed", "num_mistakes"), [(-1, 1), (0, 0), (MAX_SEED, 0), (2**64, 1)])
def test_seeds_are_unsigned_64_bit(seed: int, num_mistakes: int) -> None:
    """A seed that would not fit the key is a mistake and is not folded into the range."""
    assert num_mistakes == len(list(seed_mistakes(seed)))
