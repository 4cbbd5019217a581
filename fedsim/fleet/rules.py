"""Rules of waiting and giving up, and what is said then: the same whichever engine finds it.

What is asked, and not how it is answered: how long anything takes each engine works out for itself.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from fedsim.errors import ScenarioError
from fedsim.protocol.step import Each, Gather, Once, Segment

__all__ = [
    "FIRST_HORIZON_S",
    "HORIZON_GROWTH",
    "MAX_LOSSES",
    "PATIENCE_S",
    "RoundPath",
    "lost_in_a_row",
    "never_full",
    "nobody_left",
    "round_path",
    "too_few_available",
]

#: A server that waits longer than this for clients waits for ever [s].
PATIENCE_S: Final = 100 * 86400.0
#: After this many clients in a row that were lost, no contribution is hoped for any more.
MAX_LOSSES: Final = 10_000
#: How far availability is drawn at first, for stays of seconds make many intervals; and how much
#: farther each time a run gets there [s].
FIRST_HORIZON_S: Final = 3600.0
HORIZON_GROWTH: Final = 4.0


class RoundPath(NamedTuple):
    """The segments of a round in the order in which one client goes through them.

    Attributes
    ----------
    before, behind : tuple of int
        Numbers of the segments ahead of the gathering, and behind it.
    once : int or None
        Of the server's own work.
    """

    before: tuple[int, ...]
    behind: tuple[int, ...]
    once: int | None


def round_path(segments: tuple[Segment, ...]) -> RoundPath:
    """Read a round as one gathering with the server's work behind it.

    Raises
    ------
    ScenarioError
        If it is something else: then there is no way through it at one's own pace.
    """
    gathers = [i for i, s in enumerate(segments) if isinstance(s, Gather)]
    onces = [i for i, s in enumerate(segments) if isinstance(s, Once)]
    eachs = [i for i, s in enumerate(segments) if isinstance(s, Each)]
    if len(gathers) != 1 or len(onces) > 1 or (onces and onces[0] < gathers[0]):
        raise ScenarioError(
            "this framework's round has not one gathering with the server's work behind it, as "
            "modes without common rounds need; set policy.mode = 'synchronous'."
        )
    return RoundPath(
        before=tuple(i for i in eachs if i < gathers[0]),
        behind=tuple(i for i in eachs if i > gathers[0]),
        once=onces[0] if onces else None,
    )


def too_few_available(round_index: int, num_needed: int, now_s: float) -> ScenarioError:
    """What is said where a round can never start."""
    return ScenarioError(
        f"round {round_index}: {num_needed:,} available clients are needed, and within "
        f"{PATIENCE_S / 86400:g} days from {now_s:g} s on there are never as many; lower "
        "policy.min_available or policy.clients_per_round, or let clients be available more often."
    )


def never_full(buffer_size: int, num_slots: int) -> ScenarioError:
    """What is said where a buffer waits for clients that wait for it."""
    return ScenarioError(
        f"policy.buffer_size = {buffer_size} with {num_slots} clients at work: in this framework "
        "clients wait for the aggregation, so the buffer never fills; allowed: at most "
        f"{num_slots}. Lower policy.buffer_size or raise policy.clients_per_round."
    )


def lost_in_a_row() -> ScenarioError:
    """What is said after more than ``MAX_LOSSES`` clients in a row."""
    return ScenarioError(
        f"{MAX_LOSSES + 1} clients in a row were lost before they contributed: their work takes "
        "longer than they stay, or dropout_probability is too high for policy.mode = 'buffered'; "
        "lower it, or let clients be available for longer."
    )


def nobody_left(now_s: float) -> ScenarioError:
    """What is said where nothing will ever happen again."""
    return ScenarioError(
        f"at {now_s:g} s nobody works any more, and no client will be available again; let clients "
        "be available more often."
    )
