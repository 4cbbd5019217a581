"""How far a run has come, told to whoever wants to know."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "ProgressCallback"]

#: Is told rounds (or versions, or windows) that are done, and how many there are in all.
ProgressCallback = Callable[[int, int], None]


class Progress:
    """Tells of each round once, though a run may start over when it has to know more.

    Parameters
    ----------
    callback : callable or None
    num_rounds : int
    """

    def __init__(self, callback: ProgressCallback | None, num_rounds: int) -> None:
        self._callback = callback
        self._num_rounds = num_rounds
        self._num_done = 0

    def done(self, num: int) -> None:
        """So many rounds are over."""
        if self._callback is not None and num > self._num_done:
            self._num_done = num
            self._callback(num, self._num_rounds)
