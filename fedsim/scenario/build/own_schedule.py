"""A schedule of a user's own, by ``module:NAME``.

It is their code: whatever goes wrong in it is reported as theirs, with its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import FedsimError, ScenarioError
from fedsim.planning import ClientFacts, Need, PolicySchedule, Schedule, View
from fedsim.scenario.build.own_module import own_attribute, reason
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySpec

__all__ = ["own_schedule"]

_T = TypeVar("_T")


def own_schedule(name: str, folder: Path) -> tuple[list[Schedule], list[PolicySchedule]]:
    """What a user's schedule plans: clients, how many are asked, or both.

    Parameters
    ----------
    name : str
        ``module:NAME``, a frozen dataclass's instance with ``needs`` and with ``groups`` and
        ``plan``, or ``policy``, or all three.
    folder : Path
        The scenario's: a module beside it is found.

    Raises
    ------
    ScenarioError
        If there is none; the message names no table.
    """
    found = own_attribute(name, folder, "module:NAME, such as my_schedule:growing")
    attribute = name.partition(":")[2]
    if isinstance(found, type) or not _is_frozen(found):
        raise ScenarioError(
            f"'{attribute}' is {_kind(found)}; a schedule is a value: an instance of a class with "
            "@dataclass(frozen=True)."
        )
    own = _Guarded(name, found)
    own.check_needs()
    plans = all(callable(getattr(found, method, None)) for method in ("groups", "plan"))
    asks = callable(getattr(found, "policy", None))
    if not plans and not asks:
        raise ScenarioError(
            f"'{attribute}' plans nothing; give it groups(facts, view) and plan(base, group, "
            "view), or policy(base, view)."
        )
    return [OwnSchedule(name, found)] if plans else [], [OwnPolicy(name, found)] if asks else []


def _is_frozen(found: object) -> bool:
    parameters = getattr(found, "__dataclass_params__", None)
    return is_dataclass(found) and bool(getattr(parameters, "frozen", False))


def _kind(found: object) -> str:
    if isinstance(found, type):
        return f"the class {found.__name__} itself"
    return f"a {type(found).__name__}"


@dataclass(frozen=True)
class _Guarded:
    """A user's value by its name: what it raises is said in one line.

    Attributes
    ----------
    name : str
    given : object
    """

    name: str
    given: Any

    @property
    def needs(self) -> frozenset[Need]:
        """What it says that it looks at."""
        found: frozenset[Need] = self.given.needs
        return found

    def check_needs(self) -> None:
        """Refuse what is no set of needs."""
        needs = self._tried(lambda: self.given.needs)
        if not isinstance(needs, frozenset) or not all(isinstance(n, Need) for n in needs):
            raise ScenarioError(
                f"needs are {needs!r}; a frozenset of fedsim.planning.Need is needed, empty where "
                "it looks at the round's number alone."
            )

    def _tried(self, work: Callable[[], _T]) -> _T:
        # A user's method may raise anything.
        try:
            return work()
        except FedsimError:
            raise
        except Exception as error:
            raise ScenarioError(f"schedule '{self.name}' fails: {reason(error)}.") from error

    def __repr__(self) -> str:
        return f"'{self.name}'"


class OwnSchedule(_Guarded):
    """A user's schedule of plans."""

    def groups(self, facts: ClientFacts, view: View) -> NDArray[np.int64]:
        """As the user's does."""
        return np.asarray(self._tried(lambda: self.given.groups(facts, view)))

    def plan(self, base: ClientPlan, group: int, view: View) -> ClientPlan:
        """As the user's does."""
        found = self._tried(lambda: self.given.plan(base, group, view))
        if not isinstance(found, ClientPlan):
            raise ScenarioError(
                f"schedule '{self.name}' gives {type(found).__name__}; a ClientPlan is needed: "
                "dataclasses.replace(base, batch_size=8), say."
            )
        return found


class OwnPolicy(_Guarded):
    """A user's schedule of how many are asked."""

    def policy(self, base: PolicySpec, view: View) -> PolicySpec:
        """As the user's does."""
        found = self._tried(lambda: self.given.policy(base, view))
        if not isinstance(found, PolicySpec):
            raise ScenarioError(
                f"schedule '{self.name}' gives {type(found).__name__}; a PolicySpec is needed: "
                "dataclasses.replace(base, clients_per_round=8), say."
            )
        return found
