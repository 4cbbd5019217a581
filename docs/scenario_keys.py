"""The reference of scenario files as Markdown, out of the definitions that read them.

Decides how a key is described. Which keys there are is for ``fedsim.scenario`` to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from pydantic import TypeAdapter

from fedsim.scenario.file.settings import ScenarioFile
from fedsim.spec.quantity import ByteCount, ByteRate, FlopRate, Joules, Seconds, Watts

__all__ = ["key_tables"]

#: Heading of each table, in the order of a file, and the definition behind it.
_HEADINGS: Final = {
    "GoalTable": "[goal]",
    "ModelTable": "[model]",
    "LoraTable": "[lora]",
    "CodecTable": "[codec]",
    "WayTable": "a content of [codec]",
    "WorkloadTable": "[workload]",
    "SplitTable": "[split]",
    "LearningTable": "[learning]",
    "FleetTable": "[fleet]",
    "AvailabilityTable": "[fleet.availability]",
    "ClassTable": "[[fleet.class]]",
    "DeviceTable": "[device]",
    "LinkTable": "[link]",
    "ServerTable": "[server]",
    "PolicyTable": "[policy]",
    "PrivacyTable": "[privacy]",
    "PriceTable": "[price]",
    "DataTable": "[data]",
    "DatasetTable": "[data] dataset",
    "TrainTable": "[train]",
    "ScheduleTable": "[[schedule]]",
    "CaseTable": "[[case]]",
}


def key_tables() -> str:
    """One section a table of the file: key, type, default, allowed values, what it affects."""
    schema = ScenarioFile.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    missing = set(definitions) - set(_HEADINGS)
    if missing:
        raise ValueError(f"tables without a heading in the reference: {sorted(missing)}")
    parts = ["## Ahead of all tables\n", _table(schema)]
    for name, heading in _HEADINGS.items():
        if name in definitions:
            parts.append(f"## `{heading}`\n")
            parts.append(_table(definitions[name]))
    return "\n".join(parts)


def _table(schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    lines = [
        "| key | meaning | value | default | affects |",
        "|---|---|---|---|---|",
    ]
    for name, entry in schema["properties"].items():
        cells = (
            f"`{name}`",
            entry["description"],
            _value(entry),
            "**mandatory**" if name in required else _default(entry),
            _affects(entry),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _affects(entry: Mapping[str, Any]) -> str:
    """With the setting under which learning depends on it, where it is one."""
    words = ", ".join(entry["affects"])
    return f"{words} ({entry['when']})" if "when" in entry else words


def _default(entry: Mapping[str, Any]) -> str:
    value = entry.get("default")
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, Mapping):
        return "its keys' defaults"
    if "pattern" in entry:
        # A quantity has its unit; the only default is nothing, which is the same in all of them.
        return f"`{value:g}`"
    return f"`{json.dumps(value)}`"


def _value(entry: Mapping[str, Any]) -> str:
    kinds = [kind for kind in _kinds(entry) if kind]
    return " or ".join(dict.fromkeys(kinds))


def _kinds(entry: Mapping[str, Any]) -> Iterator[str]:
    for option in entry.get("anyOf", (entry,)):
        yield _kind(option)


def _kind(entry: Mapping[str, Any]) -> str:
    if "$ref" in entry:
        return _reference(entry["$ref"])
    if "const" in entry:
        return f"`{json.dumps(entry['const'])}`"
    if "enum" in entry:
        return ", ".join(f"`{json.dumps(value)}`" for value in entry["enum"])
    return _plain(entry.get("type", ""), entry)


def _plain(kind: str, entry: Mapping[str, Any]) -> str:
    if kind == "string":
        return _text(entry)
    if kind == "array":
        return f"list of {_plural(_value(entry.get('items', {})))}"
    names = {
        "null": "",
        "boolean": "`true`, `false`",
        "integer": "whole number",
        "number": "number",
        "object": "table",
        "": "any value",
    }
    return f"{names[kind]}{_range(entry)}"


def _plural(kind: str) -> str:
    """``whole number, at least 1`` becomes ``whole numbers, at least 1``."""
    noun, comma, rest = kind.partition(",")
    if noun.startswith("`") or noun == "text":
        return kind if noun != "text" else f"texts{comma}{rest}"
    return f"{noun}s{comma}{rest}"


def _text(entry: Mapping[str, Any]) -> str:
    if "pattern" not in entry:
        return "text"
    example = entry["examples"][0]
    return f"{_dimensions()[example]} with its unit, such as `{json.dumps(example)}`{_range(entry)}"


@lru_cache
def _dimensions() -> dict[str, str]:
    """What a quantity is, by its example: a key's own description may stand in its place."""
    found = {}
    for quantity in (ByteCount, ByteRate, Seconds, FlopRate, Watts, Joules):
        schema = TypeAdapter(quantity).json_schema()
        found[schema["examples"][0]] = schema["description"].partition(",")[0].lower()
    return found


def _reference(reference: str) -> str:
    name = reference.rpartition("/")[2]
    return f"table, see `{_HEADINGS[name]}`"


def _range(entry: Mapping[str, Any]) -> str:
    parts = []
    for word, text in (
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        # A quantity is written as text, and keeps its bound under pydantic's own name.
        ("gt", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    ):
        if word in entry:
            bound = entry[word]
            parts.append(f"{text} {int(bound) if bound == int(bound) else bound:,}")
    return f", {' and '.join(parts)}" if parts else ""
