"""What a key of a scenario file affects: said where the key is declared, and tested for every key.

A key that says ``cost`` or ``time`` and moves nothing is a defect; so is one that moves a cost and
does not say so. A key that says ``learning`` is one that a measured learning curve stands under:
the conditions of curves, and what of them a scenario does not share, are derived from these
declarations (:mod:`fedsim.scenario.answer.learned`) and stand nowhere else.

Keys of devices and links do not say it, though a slow client is a late one: whether somebody is
left out is decided by ``policy``, whose keys do.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Affects", "Role", "Table", "When", "alone", "key"]

Affects = Literal["cost", "time", "learning", "label"]

#: What a key is to a learning curve: something that must be as it was when the curve was measured;
#: a number that a law may interpolate in; something that only a real run says, and that a scenario
#: may leave open; whose curve it is; how long is trained; what is asked of curves; or a seed.
Role = Literal["condition", "covariate", "open", "framework", "rounds", "question", "draw"]

#: Under which setting learning depends on a key; everywhere without one.
When = Literal[
    "tuning = lora",
    "head = classification",
    "optimizer = adam",
    "partition = dirichlet",
    "the framework has a public set",
    "a public set with distillation_loss = kl",
    "the framework cuts the model",
    "one server-side model for all clients",
    "one server-side model, or a cut and clients that fail",
    "lengths are not the data set's",
    "clients have unequal data",
    "clients fail",
    "clients are away at times",
    "fewer are asked than there are",
    "fewer are awaited than are asked",
    "contributions come late",
    "mode is not synchronous",
    "secure sums",
    "the framework trains there",
]


class Table(BaseModel):
    """A table of a scenario file: closed, immutable, and strict about types.

    Strict, because pydantic would otherwise read the text ``"8"`` as a number and ``1`` as true.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True
    )


def key(
    *affects: Affects,
    description: str,
    default: Any = ...,
    learning: Role | None = None,
    when: When | None = None,
    stands_for: str | None = None,
    **constraints: Any,
) -> Any:
    """Declare a key.

    Parameters
    ----------
    *affects
        ``cost`` (bytes, FLOP, memory), ``time`` (and energy, which is power times time),
        ``learning`` (what a real run learns) and ``label`` (text that comes back in the answer).
    description
        For the JSON Schema, and so for editors.
    default
        The key is mandatory without one.
    learning
        What it is to a learning curve; a condition, where it affects learning and says no more.
    when
        Under which setting it affects learning.
    stands_for
        Key or table whose value it is instead: a class's own rank is ``lora.r``.
    **constraints
        pydantic's: ``ge``, ``lt``, ``alias``, ...
    """
    extra: dict[str, Any] = {"affects": list(affects)}
    if "learning" in affects:
        extra["learning"] = learning or "condition"
    extra |= {k: v for k, v in (("when", when), ("stands_for", stands_for)) if v is not None}
    return Field(default, description=description, json_schema_extra=extra, **constraints)


def alone(value: object) -> object:
    """A text stands for a list of one, where a key holds names."""
    return (value,) if isinstance(value, str) else value
