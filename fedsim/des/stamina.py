"""How much of its work an attempt does before it fails."""

from __future__ import annotations

from math import inf

__all__ = ["Failed", "Stamina"]


class Failed(Exception):  # noqa: N818 - a client failed, and not the program
    """The client fails at this very moment."""


class Stamina:
    """Seconds of work, measured by what it takes alone, that are left until a client fails.

    Parameters
    ----------
    work_s : float
        Infinite for a client that does not fail [s].
    """

    __slots__ = ("left_s",)

    def __init__(self, work_s: float) -> None:
        self.left_s = work_s

    @property
    def is_endless(self) -> bool:
        """Whether it does not fail."""
        return self.left_s == inf

    def share(self, alone_s: float) -> float:
        """How much of the next stretch of work is done: all of it (1), or less, and then it fails.

        Parameters
        ----------
        alone_s : float
            What the stretch takes with nobody else there [s].
        """
        if self.left_s < alone_s:
            return self.left_s / alone_s
        self.left_s -= alone_s
        return 1.0
