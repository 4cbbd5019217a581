"""What some clients are asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.des.luck import Luck

__all__ = ["Assignment"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One segment of a round, or of a client's own iteration.

    Attributes
    ----------
    round_index : int
        The round, or the client's own iteration; 0 in the set-up.
    book_index : int
        Round under which it stands in the ledger.
    segment : int
    luck : Luck or None
        None in the set-up, which nobody's luck touches.
    may_fail : bool
        Whether drop-outs are drawn.
    """

    round_index: int
    book_index: int
    segment: int
    luck: Luck | None
    may_fail: bool
