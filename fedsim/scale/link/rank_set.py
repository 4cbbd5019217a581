"""A set of small integers with the least and the largest at hand: a tree of 64-bit words.

Bit ``i`` of level 0 says whether ``i`` is in the set; bit ``j`` of a higher level whether word
``j`` below has any bit. A million members need four levels and 130 kB, which stay in the cache
where a binary heap of as many entries does not; adding and removing touch one word as a rule.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import compiled

__all__ = ["add", "empty_set", "largest", "least", "level_starts", "remove"]

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]


def level_starts(num: int) -> Integers:
    """First word of each level for members below ``num``; the last entry is the number of words."""
    starts = [0]
    size = max(num, 1)
    while True:
        size = (size + 63) // 64
        starts.append(starts[-1] + size)
        if size == 1:
            return np.array(starts, dtype=np.int64)


def empty_set(starts: Integers) -> Words:
    """A set without members."""
    return np.zeros(int(starts[-1]), dtype=np.uint64)


@compiled
def add(words: Words, starts: Integers, member: int) -> None:
    """Put a member in; nothing happens if it is there."""
    for level in range(len(starts) - 1):
        word = starts[level] + (member >> 6)
        bit = np.uint64(1) << np.uint64(member & 63)
        was = words[word]
        words[word] = was | bit
        if was != np.uint64(0):
            return
        member >>= 6


@compiled
def remove(words: Words, starts: Integers, member: int) -> None:
    """Take a member out; nothing happens if it is not there."""
    for level in range(len(starts) - 1):
        word = starts[level] + (member >> 6)
        bit = np.uint64(1) << np.uint64(member & 63)
        words[word] &= ~bit
        if words[word] != np.uint64(0):
            return
        member >>= 6


@compiled
def least(words: Words, starts: Integers) -> int:
    """The smallest member; -1 where there is none."""
    top = len(starts) - 2
    if words[starts[top]] == np.uint64(0):
        return -1
    member = np.int64(0)
    for level in range(top, -1, -1):
        member = (member << 6) | _lowest_bit(words[starts[level] + member])
    return member


@compiled
def largest(words: Words, starts: Integers) -> int:
    """The largest member; -1 where there is none."""
    top = len(starts) - 2
    if words[starts[top]] == np.uint64(0):
        return -1
    member = np.int64(0)
    for level in range(top, -1, -1):
        member = (member << 6) | _highest_bit(words[starts[level] + member])
    return member


@compiled
def _lowest_bit(word: np.uint64) -> int:
    return _highest_bit(word & (~word + np.uint64(1)))


@compiled
def _highest_bit(word: np.uint64) -> int:
    """Number of the highest bit of a word that is not 0, by halving."""
    bit = np.int64(0)
    for shift in (32, 16, 8, 4, 2, 1):
        upper = word >> np.uint64(shift)
        if upper != np.uint64(0):
            word = upper
            bit += shift
    return bit
