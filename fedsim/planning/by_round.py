"""The plain schedules: a value of plans, or of the policy, is another from some round on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import ScenarioError
from fedsim.spec.batch import TextLengths
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySchedule, PolicySpec
from fedsim.spec.schedule import Need, Schedule
from fedsim.spec.view import ClientFacts, View

__all__ = ["ByRound", "ParticipationByRound", "rounds_to_plan"]


@dataclass(frozen=True)
class ByRound:
    """One field of plans changes at some rounds.

    Attributes
    ----------
    field : str
        Of :class:`fedsim.spec.plan.ClientPlan`: ``batch_size``, ``accumulation_steps``,
        ``distillation_epochs`` or ``codecs``; or ``local_epochs`` or ``num_samples``.
    first_rounds : tuple of int
        Rounds from which each value holds, rising; ahead of the first, the plan stays as it is.
    values : tuple
        One for each of ``first_rounds``.
    classes : tuple of str or None
        Whose plans change; the server's own then stays as it is. None: everybody's, the server's
        among them.
    """

    field: str
    first_rounds: tuple[int, ...]
    values: tuple[Any, ...]
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.field not in _FIELDS:
            raise ScenarioError(
                f"schedule of '{self.field}': allowed: {', '.join(sorted(_FIELDS))}."
            )
        _check_steps(self.field, self.first_rounds, self.values)

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing but the round's number."""
        return frozenset()

    def groups(self, facts: ClientFacts, view: View) -> NDArray[np.int64]:  # noqa: ARG002
        """All clients are one group, or those of the classes are the second."""
        if self.classes is None:
            return np.zeros(len(facts), dtype=np.int64)
        is_meant = np.array([name in self.classes for name in facts.class_names], dtype=np.int64)
        return is_meant[facts.class_index]

    def plan(self, base: ClientPlan, group: int, view: View) -> ClientPlan:
        """The plan with the value of the round."""
        if self.classes is not None and group == 0:
            return base
        place = _place(self.first_rounds, view)
        return base if place < 0 else _FIELDS[self.field](base, self.values[place])


@dataclass(frozen=True)
class ParticipationByRound:
    """How many clients a round asks changes at some rounds.

    Attributes
    ----------
    first_rounds : tuple of int
        Rounds from which each value holds, rising; ahead of the first, the policy stays as it is.
    values : tuple of int
        ``clients_per_round``, one for each of ``first_rounds``.
    """

    first_rounds: tuple[int, ...]
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_steps("clients_per_round", self.first_rounds, self.values)

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing but the round's number."""
        return frozenset()

    def policy(self, base: PolicySpec, view: View) -> PolicySpec:
        """The policy with the number of the round."""
        place = _place(self.first_rounds, view)
        return base if place < 0 else replace(base, clients_per_round=self.values[place])


def rounds_to_plan(
    schedules: Sequence[Schedule | PolicySchedule], num_rounds: int
) -> Sequence[int]:
    """Rounds, rising from 1, between which nobody's plan changes; of unknown schedules, all.

    Parameters
    ----------
    schedules : sequence of Schedule or PolicySchedule
        That look at the round's number alone.
    num_rounds : int
    """
    found = {1}
    for schedule in schedules:
        if not isinstance(schedule, (ByRound, ParticipationByRound)):
            return range(1, num_rounds + 1)
        found.update(schedule.first_rounds)
    return sorted(number for number in found if number <= num_rounds)


def _check_steps(name: str, first_rounds: Sequence[int], values: Sequence[Any]) -> None:
    if len(first_rounds) != len(values) or not values:
        raise ScenarioError(
            f"schedule of {name}: {len(first_rounds)} rounds and {len(values)} values; give one "
            "value for each round from which it holds."
        )
    rises = all(a < b for a, b in pairwise(first_rounds))
    if first_rounds[0] < 1 or not rises:
        raise ScenarioError(
            f"schedule of {name}: rounds {list(first_rounds)}; they begin at 1 or later, and each "
            "is later than the one before."
        )


def _place(first_rounds: Sequence[int], view: View) -> int:
    """Which value holds in a round; -1 ahead of the first."""
    return bisect_right(first_rounds, view.round_index) - 1


def _field(name: str) -> Callable[[ClientPlan, Any], ClientPlan]:
    return lambda plan, value: replace(plan, **{name: value})


def _with_epochs(plan: ClientPlan, number: int) -> ClientPlan:
    epochs = plan.train_epochs
    # Further epochs visit the texts in the orders that are there, over and over.
    return replace(plan, train_epochs=tuple(epochs[i % len(epochs)] for i in range(number)))


def _with_samples(plan: ClientPlan, number: int) -> ClientPlan:
    return replace(plan, train_epochs=tuple(_resized(text, number) for text in plan.train_epochs))


def _resized(text: TextLengths, number: int) -> TextLengths:
    lengths = text.lengths
    if lengths is not None:
        lengths = tuple(lengths[i % len(lengths)] for i in range(number))
    return replace(text, num_samples=number, lengths=lengths)


_FIELDS: Final[Mapping[str, Callable[[ClientPlan, Any], ClientPlan]]] = {
    "batch_size": _field("batch_size"),
    "accumulation_steps": _field("accumulation_steps"),
    "distillation_epochs": _field("distillation_epochs"),
    "codecs": _field("codecs"),
    "local_epochs": _with_epochs,
    "num_samples": _with_samples,
}
