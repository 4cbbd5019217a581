"""How tables override tables, and what a dotted key stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from fedsim.errors import ScenarioError, nearest
from fedsim.scenario.file.codec_table import CODED, both_ways
from fedsim.scenario.file.hardware_tables import ClassTable
from fedsim.scenario.file.mistake import key_names
from fedsim.scenario.file.schedule_table import schedules_merged

__all__ = ["CLASS_KEY", "NAMED_TABLES", "key_path", "merged", "nested"]

#: A name alone stands for a table there.
NAMED_TABLES: Final = ("device", "link")
#: A key of one class of clients, by the class's name; the shortest name that leaves a key of it.
CLASS_KEY: Final = re.compile(
    rf"fleet\.class\.(?P<name>.+?)\.(?P<key>(?:{'|'.join(key_names(ClassTable))})(?:\.[a-z_0-9]+)*)"
)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with tables merged key by key and everything else replaced."""
    result = dict(base)
    for name, value in changes.items():
        old = result.get(name)
        if name in NAMED_TABLES and isinstance(old, str):
            old = {"like": old}
        if name in CODED:
            old = both_ways(old)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and name != "lengths":
            result[name] = merged(old, value)
        elif name == "class" and isinstance(old, list) and isinstance(value, Mapping):
            result[name] = _classes_merged(old, value)
        elif name == "schedule" and isinstance(value, Mapping):
            result[name] = schedules_merged(old, value)
        else:
            result[name] = value
    return result


def _classes_merged(classes: list[Any], changes: Mapping[str, Any]) -> list[Any]:
    """Classes of clients, which a file lists, changed by their names."""
    names = [entry.get("name") for entry in classes if isinstance(entry, Mapping)]
    for name in changes:
        if name not in names:
            known = ", ".join(repr(n) for n in names if isinstance(n, str)) or "none"
            raise ScenarioError(
                f"fleet.class.{name}: no such class; there are {known}."
                f"{nearest(name, [n for n in names if isinstance(n, str)])}"
            )
    return [
        merged(entry, changes[entry["name"]])
        if isinstance(entry, Mapping) and entry.get("name") in changes
        else entry
        for entry in classes
    ]


def key_path(key: str) -> tuple[str, ...]:
    """A dotted key's parts; the name of a class may have dots: ``fleet.class.my.phones.r``."""
    match = CLASS_KEY.fullmatch(key)
    if match is None:
        return tuple(key.split("."))
    return ("fleet", "class", match["name"], *match["key"].split("."))


def nested(key: str, value: Any) -> dict[str, Any]:
    """The table that a dotted key and its value stand for."""
    for part in reversed(key_path(key)):
        value = {part: value}
    table: dict[str, Any] = value
    return table
