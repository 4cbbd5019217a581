"""The plain schedule: a field of everybody's plan has another value from some rounds on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import ScenarioError
from fedsim.spec.batch import TextLengths
from fedsim.spec.plan import ClientPlan
from fedsim.spec.schedule import Need
from fedsim.spec.view import ClientFacts, View

__all__ = ["ByRound"]


@dataclass(frozen=True)
class ByRound:
    """One field of everybody's plan changes at some rounds.

    Attributes
    ----------
    field : str
        Of :class:`fedsim.spec.plan.ClientPlan`: ``batch_size``, ``accumulation_steps``,
        ``distillation_epochs`` or ``codecs``; or ``local_epochs`` or ``num_samples``.
    first_rounds : tuple of int
        Rounds from which each value holds, rising; ahead of the first, the plan stays as it is.
    values : tuple
        One for each of ``first_rounds``.
    """

    field: str
    first_rounds: tuple[int, ...]
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if self.field not in _FIELDS:
            raise ScenarioError(
                f"schedule of '{self.field}': allowed: {', '.join(sorted(_FIELDS))}."
            )
        if len(self.first_rounds) != len(self.values) or not self.values:
            raise ScenarioError(
                f"schedule of {self.field}: {len(self.first_rounds)} rounds and "
                f"{len(self.values)} values; give one value for each round from which it holds."
            )
        rises = all(a < b for a, b in zip(self.first_rounds, self.first_rounds[1:], strict=False))
        if self.first_rounds[0] < 1 or not rises:
            raise ScenarioError(
                f"schedule of {self.field}: rounds {list(self.first_rounds)}; they begin at 1 or "
                "later, and each is later than the one before."
            )

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing but the round's number."""
        return frozenset()

    def groups(self, facts: ClientFacts, view: View) -> NDArray[np.int64]:  # noqa: ARG002
        """All clients are one group."""
        return np.zeros(len(facts), dtype=np.int64)

    def plan(self, base: ClientPlan, group: int, view: View) -> ClientPlan:  # noqa: ARG002
        """The plan with the value of the round."""
        place = bisect_right(self.first_rounds, view.round_index) - 1
        return base if place < 0 else _FIELDS[self.field](base, self.values[place])


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
