"""Segment, round and draws that an attempt runs under."""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.des.round_draws import RoundDraws

__all__ = ["Assignment"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One segment of a round, or of a client's own iteration.

    Attributes
    ----------
    round_index : int
        The round, or the client's own iteration; 0 in the set-up.
    ledger_round : int
        Round under which it stands in the ledger.
    segment : int
    draws : RoundDraws or None
        None in the set-up, for which nothing is drawn.
    may_fail : bool
        Whether drop-outs are drawn.
    """

    round_index: int
    ledger_round: int
    segment: int
    draws: RoundDraws | None
    may_fail: bool
