"""What was found for one result, ahead of its table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedsim.analytic import AnalyticResult
from fedsim.learning.store import Laws
from fedsim.protocol.step import Protocol
from fedsim.scenario.answer.engine_choice import Choice
from fedsim.scenario.answer.simulated import Simulated
from fedsim.scenario.build.privacy import Protection
from fedsim.spec.plan import ClientPlan

__all__ = ["Excluded", "Outcome"]


@dataclass(frozen=True, slots=True)
class Excluded:
    """A class of clients that cannot take part and was left out.

    Attributes
    ----------
    name : str
    num_clients : int
    reason : str
    """

    name: str
    num_clients: int
    reason: str


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was found for one result.

    Attributes
    ----------
    answer : AnalyticResult
        The closed form's: counts of a client and round, memory.
    setup_s : float
        One-off transfers of the slowest client, alone [s].
    choice : Choice
        Which engine answered.
    framework : callable
        Plan to protocol.
    simulated : Simulated or None
        None where the closed form answered, or nothing can run.
    draws : dict or None
        What a round takes in other draws, see :mod:`fedsim.scenario.answer.replication`; None where
        nothing can run.
    protection : Protection or None
        What ``[privacy]`` hides.
    laws : Laws or None
        Of learning, where the scenario names some.
    excluded : tuple of Excluded
    looks_further : tuple of str
        What schedules look at beside the round's number: the closed form then leaves them out.
    """

    answer: AnalyticResult
    setup_s: float
    choice: Choice
    framework: Callable[[ClientPlan], Protocol]
    simulated: Simulated | None = None
    draws: dict[str, Any] | None = None
    protection: Protection | None = None
    laws: Laws | None = None
    excluded: tuple[Excluded, ...] = ()
    looks_further: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """``infeasible``, ``failed`` (every round), ``partly`` (some rounds) or ``ok``."""
        if self.answer.infeasible:
            return "infeasible"
        if self.simulated is None or self.simulated.num_failed == 0:
            return "ok"
        return "failed" if self.num_succeeded == 0 else "partly"

    @property
    def num_succeeded(self) -> int:
        """Rounds to which somebody contributed, where they were simulated."""
        assert self.simulated is not None
        return len(self.simulated.round_s) - self.simulated.num_failed
