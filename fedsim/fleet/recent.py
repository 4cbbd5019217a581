"""What was worked out last, of a few keys: the memory of runs whose rounds are all different."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

__all__ = ["NUM_RECENT", "Recent"]

#: Kinds of rounds that are remembered. Plans rise or alternate; those that are different in every
#: round are never met again, however many are kept.
NUM_RECENT: Final = 4

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Recent(Generic[_K, _V]):
    """Values by key; of more than ``size`` keys, the one that was asked for longest ago is dropped.

    Parameters
    ----------
    size : int
    """

    def __init__(self, size: int = NUM_RECENT) -> None:
        self._size = size
        self._known: OrderedDict[_K, _V] = OrderedDict()

    def of(self, key: _K, make: Callable[[], _V]) -> _V:
        """The value of a key, made where it is not remembered."""
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        value = self._known[key] = make()
        if len(self._known) > self._size:
            self._known.popitem(last=False)
        return value
