"""``[goal]``: what a question asks for, said so that a program can answer it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from fedsim.scenario.file.key import Table, alone, key
from fedsim.spec.quantity import Seconds

__all__ = ["GoalTable"]

_Metric = Literal["time", "bytes", "energy", "money", "memory", "flop"]


_Metrics = Annotated[
    tuple[_Metric, ...],
    Field(strict=False, min_length=1, max_length=6),
    BeforeValidator(alone, json_schema_input_type=str | list[str]),
]


class GoalTable(Table):
    """``[goal]``: least of what, first value at which, does it fit, or how much it changes."""

    least: _Metrics = key(
        "label",
        default=("time", "bytes"),
        description="Which case takes least of these: time, bytes, energy, money, memory, flop",
    )
    of: Literal["round", "all"] = key(
        "label", default="round", description="Of one round, or of all rounds without the set-up"
    )
    within: Seconds | None = key(
        "label", default=None, gt=0, description="Do all rounds and the set-up end by then?"
    )
    first: str | None = key(
        "label",
        default=None,
        min_length=1,
        description="Swept key: the first of its values from which on 'waiting' or 'slower' holds",
    )
    waiting: float | None = key(
        "label", default=None, gt=0, lt=1, description="So much of a round is waiting (with first)"
    )
    slower: float | None = key(
        "label", default=None, gt=1, description="So many times the time of 'than' (with first)"
    )
    than: str | None = key(
        "label", default=None, min_length=1, description="Case that 'slower' compares with"
    )
    instead_of: dict[str, Any] | None = key(
        "label",
        default=None,
        description="What if: keys and values, as for --set, of the world to compare with",
    )
