"""Whom the server asks and how long it waits, as values that the simulating engines act by."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Literal, Protocol

from fedsim.errors import ScenarioError
from fedsim.spec.schedule import Need
from fedsim.spec.view import View

__all__ = ["Mode", "PolicySchedule", "PolicySpec", "Selection"]

Mode = Literal["synchronous", "buffered", "windowed"]
Selection = Literal["random", "resource", "utility"]

_CENTURY_S = 100 * 365.25 * 86400.0


class PolicySchedule(Protocol):
    """How many clients each round asks: a frozen value, as schedules of plans are.

    Whom a round asks is not known yet when it is called, so ``view.asked`` is None.
    """

    @property
    def needs(self) -> frozenset[Need]:
        """What it looks at beside the round's number."""
        ...

    def policy(self, base: PolicySpec, view: View) -> PolicySpec:
        """The round's policy, made of the one that it has otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """How contributions are collected.

    Attributes
    ----------
    mode : {"synchronous", "buffered", "windowed"}
        Rounds with a common start; aggregation whenever ``buffer_size`` contributions are there
        (FedBuff, Nguyen et al. 2022, arXiv 2106.06639); aggregation every ``window_s`` seconds of
        what came in.
    clients_per_round : int or None
        m; how many work at once in the other two modes. None: all that are available.
    over_selection : float
        Asked beyond m, as a share of m: the round goes on with the first m (Bonawitz et al. 2019,
        arXiv 1902.01046).
    quorum : int or None
        Contributions that close a round's gathering. None: m where more were asked, else all.
    deadline_s : float or None
        Seconds from the start of the clients' work after which it closes anyway [s].
    min_available : int or None
        A round starts when this many clients are available. None: as many as are asked, or one.
    buffer_size : int or None
        Buffered mode.
    window_s : float or None
        Windowed mode [s].
    max_staleness : int or None
        Contributions to an older model than this many versions are thrown away.
    selection : {"random", "resource", "utility"}
        Uniformly; the fastest first (after FedCS, Nishio and Yonetani 2019, arXiv 1804.08333); by
        Oort's utility (Lai et al. 2021, arXiv 2010.06081).
    retries : int
        How often a client that failed starts over within a round.
    retry_after_s : float
        Pause ahead of that [s].
    failure_timeout_s : float or None
        From a failure to the server's noticing it [s]; 0 for one that knows at once. None: it is
        noticed when the client's work would have ended, had it been alone and not failed.
    simulates_setup : bool
        Whether the base weights are sent ahead of round 1 and take part in the makespan.
    overlap : bool
        Whether a client sends logits and activations while it computes them.
    schedules : tuple of PolicySchedule
        What changes ``clients_per_round`` by round, each on what the ones before made.
    """

    mode: Mode = "synchronous"
    clients_per_round: int | None = None
    over_selection: float = 0.0
    quorum: int | None = None
    deadline_s: float | None = None
    min_available: int | None = None
    buffer_size: int | None = None
    window_s: float | None = None
    max_staleness: int | None = None
    selection: Selection = "random"
    retries: int = 0
    retry_after_s: float = 0.0
    failure_timeout_s: float | None = None
    simulates_setup: bool = False
    overlap: bool = False
    schedules: tuple[PolicySchedule, ...] = ()

    def __post_init__(self) -> None:
        self._check_ranges()
        self._check_mode()

    def num_asked(self, num_clients: int) -> int:
        """Clients that a round asks, of ``num_clients``."""
        if self.clients_per_round is None:
            return num_clients
        # As it was typed: 100 and 10 % more are 110, and 100 * 1.1 is above that by a rounding.
        share = 1 + Fraction(str(self.over_selection))
        return min(num_clients, ceil(self.clients_per_round * share))

    def num_awaited(self, num_asked: int) -> int:
        """Contributions that close the gathering of a round that asked ``num_asked`` clients."""
        awaited = num_asked
        if self.clients_per_round is not None and self.over_selection > 0:
            awaited = min(awaited, self.clients_per_round)
        if self.quorum is not None:
            awaited = min(awaited, self.quorum)
        return awaited

    def _check_ranges(self) -> None:
        for name, lowest in (
            ("clients_per_round", 1),
            ("quorum", 1),
            ("min_available", 1),
            ("buffer_size", 1),
            ("max_staleness", 0),
            ("retries", 0),
            ("over_selection", 0),
            ("retry_after_s", 0),
            ("failure_timeout_s", 0),
        ):
            value = getattr(self, name)
            if value is not None and not lowest <= value < float("inf"):
                key = name.removesuffix("_s")
                raise ScenarioError(f"policy.{key} = {value}; at least {lowest} is needed.")
        for name in ("deadline_s", "window_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ScenarioError(f"policy.{name.removesuffix('_s')}: a positive time is needed.")
        for name in ("deadline_s", "window_s", "retry_after_s", "failure_timeout_s"):
            value = getattr(self, name)
            if value is not None and value > _CENTURY_S:
                raise ScenarioError(
                    f"policy.{name.removesuffix('_s')} = {value:.3g}; allowed: up to "
                    f"{_CENTURY_S:,.0f} s, a century."
                )

    def _check_mode(self) -> None:
        needs = {"buffered": "buffer_size", "windowed": "window_s"}
        for mode, name in needs.items():
            value = getattr(self, name)
            key = name.removesuffix("_s")
            if self.mode == mode and value is None:
                raise ScenarioError(f"policy.{key} is missing; mode = '{mode}' needs it.")
            if self.mode != mode and value is not None:
                raise ScenarioError(
                    f"policy.{key} has no meaning in mode = '{self.mode}'; leave it out, or set "
                    f"mode = '{mode}'."
                )
        if self.mode == "synchronous":
            if self.max_staleness is not None:
                raise ScenarioError(
                    "policy.max_staleness has no meaning in mode = 'synchronous', where nothing is "
                    "stale; leave it out."
                )
            return
        for name in ("quorum", "deadline_s", "min_available"):
            if getattr(self, name) is not None:
                raise ScenarioError(
                    f"policy.{name.removesuffix('_s')} has no meaning in mode = '{self.mode}'; "
                    "leave it out."
                )
        if self.over_selection:
            raise ScenarioError(
                f"policy.over_selection has no meaning in mode = '{self.mode}'; leave it out."
            )
        if self.selection == "utility" and self.mode == "buffered":
            raise ScenarioError(
                "policy.selection = 'utility' ranks clients once a round, and mode = 'buffered' "
                "has no rounds; set mode = 'windowed' or selection = 'random'."
            )
