"""Random streams of the data: same seed and purpose, same numbers.

Decides the generator and how it is keyed. Refuses to share one stream between two purposes: if it
did, a change to one draw would shift all that come after it.
"""

from collections.abc import Iterator

import numpy as np

MAX_SEED = 2**64 - 1


def random_stream(seed: int, purpose: int) -> np.random.Generator:
    """Generator keyed by seed and purpose.

    Parameters
    ----------
    seed
        The user's seed, 0 to ``MAX_SEED``.
    purpose
        Small number that the caller gives to each thing it draws.

    Notes
    -----
    Philox is counter-based: its two 64-bit keys are seed and purpose themselves, so that streams
    are distinct by construction and not with high probability only.

    References
    ----------
    Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC'11.
    """
    return np.random.Generator(np.random.Philox(key=np.array([seed, purpose], dtype=np.uint64)))


def seed_mistakes(seed: int) -> Iterator[str]:
    """What is wrong with a seed, or nothing.

    Parameters
    ----------
    seed
        What the user gave.
    """
    if not 0 <= seed <= MAX_SEED:
        yield f"seed = {seed}: allowed is 0 to {MAX_SEED}"
