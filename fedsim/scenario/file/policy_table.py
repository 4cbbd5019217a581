"""``[policy]``: how contributions are collected."""

from __future__ import annotations

from typing import Final

from fedsim.scenario.file.key import Affects, Table, key
from fedsim.spec.policy import Mode, Selection
from fedsim.spec.quantity import Seconds

__all__ = ["PolicyTable"]

_EVERYTHING: Final[tuple[Affects, ...]] = ("cost", "time", "learning")
_MAX_CLIENTS = 1_000_000_000


class PolicyTable(Table):
    """``[policy]``: whom the server asks, and how long it waits."""

    mode: Mode = key(
        *_EVERYTHING,
        default="synchronous",
        description="Rounds; aggregation at every buffer_size contributions, or every window",
    )
    clients_per_round: int | None = key(
        *_EVERYTHING,
        when="fewer are asked than there are",
        default=None,
        ge=1,
        le=_MAX_CLIENTS,
        description="m; at work at once in the other modes; all who are available without it",
    )
    over_selection: float = key(
        *_EVERYTHING,
        when="fewer are asked than there are",
        default=0.0,
        ge=0,
        le=100,
        description="Asked beyond m, as a share of m",
    )
    quorum: int | None = key(
        *_EVERYTHING,
        when="fewer are awaited than are asked",
        default=None,
        ge=1,
        description="Contributions that the server waits for",
    )
    deadline: Seconds | None = key(
        *_EVERYTHING,
        when="contributions come late",
        default=None,
        gt=0,
        description="After which it waits no longer",
    )
    min_available: int | None = key(
        *_EVERYTHING,
        when="clients are away at times",
        default=None,
        ge=1,
        description="A round starts when so many are available",
    )
    buffer_size: int | None = key(
        *_EVERYTHING,
        when="mode is not synchronous",
        default=None,
        ge=1,
        le=_MAX_CLIENTS,
        description="Of mode 'buffered'",
    )
    window: Seconds | None = key(
        *_EVERYTHING,
        when="mode is not synchronous",
        default=None,
        gt=0,
        description="Of mode 'windowed'",
    )
    max_staleness: int | None = key(
        *_EVERYTHING,
        when="mode is not synchronous",
        default=None,
        ge=0,
        description="Versions; older contributions are thrown away",
    )
    selection: Selection = key(
        *_EVERYTHING,
        when="fewer are asked than there are",
        default="random",
        description="At random, the fastest, or by Oort's utility",
    )
    retries: int = key(
        *_EVERYTHING,
        when="clients fail",
        default=0,
        ge=0,
        le=100,
        description="How often a client that failed starts over",
    )
    retry_after: Seconds = key("cost", "time", default=0.0, description="Pause ahead of that")
    exclude_unfit: bool = key(
        "cost",
        "time",
        default=False,
        description="Leave out classes whose clients cannot hold the plan, and name them",
    )
    failure_timeout: Seconds | None = key(
        "cost",
        "time",
        default=None,
        description="From a failure to the server's noticing it; when the work would have ended "
        "without it",
    )
    simulates_setup: bool = key(
        "time", default=False, description="Send the base weights ahead of round 1, in the makespan"
    )
    overlap: bool = key(
        "time", default=False, description="Send logits and activations while computing them"
    )
