"""Quantity fields: text from a file, numbers from Python, never the other way about."""

import math
import re

import pytest
from pydantic import BaseModel, ValidationError

from fedsim.spec.quantity import FROM_FILE, ByteCount, ByteRate, FlopRate, Joules, Seconds, Watts


class Everything(BaseModel):
    """A model with one field of each type."""

    memory_bytes: ByteCount = 0
    uplink_bytes_per_s: ByteRate = 0.0
    latency_s: Seconds = 0.0
    compute_flop_per_s: FlopRate = 0.0
    power_w: Watts = 0.0
    battery_j: Joules = 0.0


TEXTS = {
    "memory_bytes": ("16 GB", 16_000_000_000),
    "uplink_bytes_per_s": ("10 Mbit/s", 1.25e6),
    "latency_s": ("40 ms", 0.04),
    "compute_flop_per_s": ("2.09 TFLOP/s", 2.09e12),
    "power_w": ("11 W", 11.0),
    "battery_j": ("3.5 kJ", 3500.0),
}


def reasons(caught: pytest.ExceptionInfo[ValidationError]) -> list[str]:
    """The messages of a validation error, in the order of the fields."""
    return [error["msg"] for error in caught.value.errors()]


@pytest.mark.parametrize("context", [None, FROM_FILE])
@pytest.mark.parametrize("name", TEXTS)
def test_text_with_a_unit_becomes_a_number_in_base_units(name: str, context) -> None:
    """A file's text and a caller's text are read alike."""
    text, expected = TEXTS[name]

    model = Everything.model_validate({name: text}, context=context)

    assert getattr(model, name) == expected


@pytest.mark.parametrize("name", TEXTS)
def test_python_code_gives_numbers_in_base_units(name: str) -> None:
    """A model built in Python takes the number that its field's name describes."""
    assert getattr(Everything(**{name: 5}), name) == 5


@pytest.mark.parametrize("value", [40, 0.04, True, [40], {"ms": 40}, None])
@pytest.mark.parametrize("name", TEXTS)
def test_a_file_gives_no_bare_number(name: str, value: object) -> None:
    """Whatever is not text with a unit is refused when it comes from a file."""
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate({name: value}, context=FROM_FILE)

    assert [error["type"] for error in caught.value.errors()] == ["unit"]


def test_a_bare_number_in_a_file_is_told_its_unit() -> None:
    """The refusal shows the user's own number with a unit."""
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate({"latency_s": 40}, context=FROM_FILE)

    assert reasons(caught) == ["a quantity needs a unit: write e.g. '40 ms'."]


def test_all_mistakes_are_reported_at_once_in_the_parsers_words() -> None:
    """Each wrong field carries its own reason, braces in the user's text included."""
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate(
            {"memory_bytes": "16 {GB}", "uplink_bytes_per_s": "10 mbps", "latency_s": "40"}
        )

    memory, uplink, latency = reasons(caught)
    assert memory.startswith("'{GB}' is no unit of a size in bytes; use B, kB, MB,")
    assert uplink == "unit case is ambiguous; write '10 Mbit/s' (1.25 MB/s) or '10 MB/s'."
    assert latency == "a quantity needs a unit: write e.g. '40 ms'."


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, None])
@pytest.mark.parametrize("name", TEXTS)
def test_python_code_gives_no_impossible_number(name: str, value: object) -> None:
    """Negative, infinite and boolean values are refused without a file, too."""
    with pytest.raises(ValidationError):
        Everything(**{name: value})


def test_a_size_given_by_python_code_is_an_integer() -> None:
    """A fraction of a byte is a mistake in the caller, not something to round."""
    with pytest.raises(ValidationError):
        Everything(memory_bytes=1.5)


@pytest.mark.parametrize("name", TEXTS)
def test_the_schema_asks_an_editor_for_text_with_a_unit(name: str) -> None:
    """The field is a string whose example fits its own pattern, and a bare number does not."""
    schema = Everything.model_json_schema()["properties"][name]

    assert schema["type"] == "string"
    assert re.search(schema["pattern"], schema["examples"][0])
    assert not re.search(schema["pattern"], "40")


def test_the_schema_of_output_is_a_number() -> None:
    """What a model writes is the number in base units, and its schema says so."""
    schema = Everything.model_json_schema(mode="serialization")["properties"]["latency_s"]

    assert schema["type"] == "number"
    assert Everything(latency_s="40 ms").model_dump()["latency_s"] == 0.04
