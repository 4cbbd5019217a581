"""Field types for quantities: text with a unit in a file, a number in base units in Python.

This file decides how `fedsim.units` meets pydantic. Which fields exist, and whether zero makes
sense in one, is for the models that use these types.

A bare number is refused when the data comes from a user's file, where its unit is anybody's guess,
and accepted when a model is built in Python, where the field's name carries the unit. Whoever reads
a file says so: ``Model.model_validate(table, context=FROM_FILE)``.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from fedsim import units
from fedsim.errors import UnitError

__all__ = ["FROM_FILE", "ByteCount", "ByteRate", "FlopRate", "Joules", "Seconds", "Watts"]

FROM_FILE: Final[Mapping[str, bool]] = {"from_file": True}
"""Validation context of data that a user wrote: bare numbers are refused."""


def _reader(parse: Callable[[str], float]) -> BeforeValidator:
    """Let `parse` read text, and whatever else a file holds in a quantity's place."""

    def read(value: object, info: ValidationInfo) -> object:
        context = info.context or {}
        if not isinstance(value, str) and not context.get("from_file", False):
            return value
        try:
            # A number's text has no unit, so the parser refuses it in its own words.
            return parse(str(value))
        except UnitError as error:
            # The reason alone: pydantic names the value itself. As context and not as template,
            # since a user's text may hold braces.
            raise PydanticCustomError("unit", "{reason}", {"reason": error.reason}) from error

    return BeforeValidator(read)


def _schema(dimension: units.Dimension, meaning: str) -> WithJsonSchema:
    """Describe what an editor should accept in a file; output stays a number."""
    schema: dict[str, Any] = {
        "type": "string",
        "description": f"{meaning}, a number with its unit",
        "examples": [dimension.example],
        "pattern": dimension.pattern,
    }
    return WithJsonSchema(schema, mode="validation")


# Strict, because a boolean or the text of a number is a mistake here and pydantic would convert it.
_COUNT = Field(strict=True, ge=0)
_REAL = Field(strict=True, ge=0, allow_inf_nan=False)

ByteCount = Annotated[int, _COUNT, _reader(units.parse_bytes), _schema(units.BYTES, "Size")]
"""Size [bytes]."""

ByteRate = Annotated[
    float, _REAL, _reader(units.parse_bytes_per_s), _schema(units.BYTES_PER_S, "Data rate")
]
"""Data rate [bytes/s]."""

Seconds = Annotated[float, _REAL, _reader(units.parse_seconds), _schema(units.SECONDS, "Duration")]
"""Duration [s]."""

FlopRate = Annotated[
    float, _REAL, _reader(units.parse_flop_per_s), _schema(units.FLOP_PER_S, "Compute rate")
]
"""Compute rate [FLOP/s]."""

Watts = Annotated[float, _REAL, _reader(units.parse_watts), _schema(units.WATTS, "Power")]
"""Power [W]."""

Joules = Annotated[float, _REAL, _reader(units.parse_joules), _schema(units.JOULES, "Energy")]
"""Energy [J]."""
