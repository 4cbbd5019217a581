"""What a key of a scenario file affects: said where the key is declared, and tested for every key.

A key that says ``cost`` or ``time`` and moves nothing is a defect; so is one that moves a cost and
does not say so.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Affects", "Table", "key"]

Affects = Literal["cost", "time", "learning", "label"]


class Table(BaseModel):
    """A table of a scenario file: closed, immutable, and strict about types.

    Strict, because pydantic would otherwise read the text ``"8"`` as a number and ``1`` as true.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True
    )


def key(*affects: Affects, description: str, default: Any = ..., **constraints: Any) -> Any:
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
    **constraints
        pydantic's: ``ge``, ``lt``, ``alias``, ...
    """
    return Field(
        default,
        description=description,
        json_schema_extra={"affects": list(affects)},
        **constraints,
    )
