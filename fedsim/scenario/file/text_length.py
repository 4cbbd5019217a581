"""Token lengths of a client's samples, drawn from a histogram without any sampling noise.

A client's N lengths are the histogram's quantiles at ``(i + 0.5) / N``, so every client holds the
same mixture of short and long texts; a seeded order then says in which batch each one is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from itertools import accumulate
from typing import Annotated, Final

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from fedsim.draws import visiting_order

__all__ = ["LengthDistribution", "LengthSource", "drawn_lengths", "quantile_lengths"]

_MAX_ENTRIES: Final = 100_000
_MAX_TOKENS: Final = 1_048_576
_MAX_COUNT: Final = 1_000_000_000
_ALLOWED: Final = (
    "allowed: 'banking77', a list of lengths such as [12, 9, 30], or a histogram such as "
    "{ 9 = 120, 12 = 80 } (length = number of texts), all whole numbers of at least 1"
)


@dataclass(frozen=True, slots=True)
class LengthDistribution:
    """How long texts are.

    Attributes
    ----------
    name : str
        For reports.
    histogram : tuple of (int, int)
        Length [tokens] and number of texts, by rising length.
    """

    name: str
    histogram: tuple[tuple[int, int], ...]


def drawn_lengths(
    distribution: LengthDistribution, num_samples: int, seed: int, party: str, epoch: int
) -> tuple[int, ...]:
    """Lengths of a party's samples in the order in which it visits them [tokens].

    Parameters
    ----------
    distribution : LengthDistribution
    num_samples : int
    seed : int
        The scenario's.
    party : str
        A class of clients, or ``"public"``.
    epoch : int
        From 0; each has an order of its own.
    """
    lengths = quantile_lengths(distribution, num_samples)
    order = visiting_order(seed, 1, party, epoch, num_samples)
    return tuple(lengths[i] for i in order.tolist())


@lru_cache(maxsize=256)
def quantile_lengths(distribution: LengthDistribution, num_samples: int) -> tuple[int, ...]:
    """Quantiles of a histogram at ``(i + 0.5) / N``, in whole numbers throughout [tokens].

    Examples
    --------
    >>> quantile_lengths(LengthDistribution("two", ((5, 3), (9, 1))), 4)
    (5, 5, 5, 9)
    """
    ends = list(accumulate(count for _, count in distribution.histogram))
    lengths: list[int] = []
    row = 0
    for i in range(num_samples):
        while ends[row] * 2 * num_samples <= (2 * i + 1) * ends[-1]:
            row += 1
        lengths.append(distribution.histogram[row][0])
    return tuple(lengths)


def _read(value: object) -> LengthDistribution:
    if isinstance(value, LengthDistribution):
        return value
    if value == "banking77":
        return _banking77()
    histogram: Mapping[object, object]
    if isinstance(value, Mapping):
        name, histogram = "histogram", value
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if any(isinstance(length, (list, dict)) for length in value):
            raise _refusal()
        name, histogram = "list", Counter(value)
    else:
        raise _refusal()
    if not 1 <= len(histogram) <= _MAX_ENTRIES:
        raise _refusal()
    pairs = [
        (_whole(length, _MAX_TOKENS), _whole(count, _MAX_COUNT))
        for length, count in histogram.items()
    ]
    return LengthDistribution(name, tuple(sorted(pairs)))


def _whole(value: object, highest: int) -> int:
    # A table's keys are text in TOML, so a histogram's lengths arrive as text.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= highest:
        raise _refusal()
    return value


def _refusal() -> PydanticCustomError:
    return PydanticCustomError("lengths", "{reason}", {"reason": _ALLOWED})


@cache
def _banking77() -> LengthDistribution:
    file = files("fedsim.spec").joinpath("data", "banking77_gpt2_lengths.json")
    counts = json.loads(file.read_text(encoding="utf-8"))["histogram"]
    return LengthDistribution("banking77", tuple(sorted((int(n), c) for n, c in counts.items())))


def _written(distribution: LengthDistribution) -> str | dict[str, int]:
    if distribution.name == "banking77":
        return distribution.name
    return {str(length): count for length, count in distribution.histogram}


LengthSource = Annotated[
    LengthDistribution,
    PlainValidator(_read),
    PlainSerializer(_written),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "banking77"},
                {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
                {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
            ]
        }
    ),
]
"""A name, a list or a histogram of token lengths."""
