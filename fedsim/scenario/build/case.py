"""Cases and sweeps unrolled: one case for each result, in the order of the file.

Decides what a sweep may hold and what its results are called. Whether a case makes sense is for
the settings and the specs to say.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Final

from pydantic import ValidationError

from fedsim.errors import ScenarioError, nearest
from fedsim.protocol import FEDLLM, Framework, own_key
from fedsim.scenario.build.framework import find_framework
from fedsim.scenario.file.document import Document
from fedsim.scenario.file.hardware_tables import ClassTable
from fedsim.scenario.file.merge import key_path, merged, nested
from fedsim.scenario.file.mistake import Mistake, key_names, shown, table_type, validation_mistakes
from fedsim.scenario.file.schedule_table import unknown_schedule_key
from fedsim.scenario.file.settings import OVERRIDABLE, CaseTable, Settings

__all__ = [
    "MAX_RESULTS",
    "Case",
    "case_entries",
    "case_entry",
    "reads",
    "unrolled_cases",
    "with_case",
]

#: A sweep of more results is a mistyped one; a scenario answers in seconds.
MAX_RESULTS: Final = 10_000
_MAX_CASES: Final = 1000


@dataclass(frozen=True)
class Case:
    """One result's input.

    Attributes
    ----------
    name : str
        Case and swept values: ``fedllm r=8``.
    case_name : str
        Without the swept values.
    framework : Framework
    table : mapping
        Base, overridden by the case and its swept values.
    axes : mapping
        Swept keys with its values.
    """

    name: str
    case_name: str
    framework: Framework
    table: Mapping[str, Any]
    axes: Mapping[str, Any] = field(default_factory=dict)


def unrolled_cases(document: Document, *, are_run: bool = False) -> tuple[list[Case], list[str]]:
    """All cases of a file, and a line for each mistake in its cases.

    With ``are_run``, of real runs: their data are those of all frameworks, so each reads all keys.
    """
    cases, lines = _cases(document)
    # A value on the command line takes the place of the values that a file sweeps.
    cases = [
        case.model_copy(
            update={"sweep": {k: v for k, v in case.sweep.items() if k not in document.overridden}}
        )
        for case in cases
    ]
    lines.extend(_blind_overrides(document, cases, are_run=are_run))
    num_results = sum(prod(len(axis) for axis in case.sweep.values()) for case in cases)
    if num_results > MAX_RESULTS:
        text = f"{num_results:,} results; allowed: at most {MAX_RESULTS:,}. Sweep fewer values."
        return [], [*lines, Mistake("[[case]] sweep", "", text).line(document.file)]
    base = {k: v for k, v in document.table.items() if k != "case"}
    found: list[Case] = []
    for case in cases:
        try:
            found.extend(_unrolled(case, base, _framework(document, case.framework)))
        except ScenarioError as error:
            lines.append(f"{document.file}: [[case]] '{case.name}': {error}")
    if lines and not found:
        # Without a usable case the base tables are still checked: all mistakes are told at once.
        found = [Case("", "", FEDLLM, base)]
    names: set[str] = set()
    for each in found:
        if each.name in names:
            text = f"two results are called '{each.name}'; give each case a name of its own, "
            lines.append(f"{document.file}: [[case]] name: {text}and each axis distinct values.")
        names.add(each.name)
    return found, lines


def case_entries(document: Document) -> list[dict[str, Any]]:
    """The file's cases as they stand there; none where they are no list of tables."""
    entries = document.table.get("case")
    if not isinstance(entries, list):
        return []
    return [dict(entry) for entry in entries if isinstance(entry, Mapping)]


def case_entry(document: Document, name: str) -> dict[str, Any]:
    """The case of a name.

    Raises
    ------
    ScenarioError
        If there is none.
    """
    known = {str(entry.get("name")): entry for entry in case_entries(document)}
    if name not in known:
        raise ScenarioError(
            f"{document.file}: --case {name}: no such case; there are "
            f"{', '.join(known) or 'none'}.{nearest(name, known)}"
        )
    return known[name]


def with_case(document: Document, entry: Mapping[str, Any]) -> Document:
    """The document with one case alone."""
    return replace(document, table={**document.table, "case": [dict(entry)]})


def _cases(document: Document) -> tuple[list[CaseTable], list[str]]:
    entries = document.table.get("case")
    if not isinstance(entries, list) or not entries:
        text = "is missing; add at least one [[case]] with a name and a framework."
        return [], [Mistake("[[case]]", "", text).line(document.file)]
    if len(entries) > _MAX_CASES:
        text = f"{len(entries):,} cases; allowed: at most {_MAX_CASES:,}."
        return [], [Mistake("[[case]]", "", text).line(document.file)]
    cases: list[CaseTable] = []
    lines: list[str] = []
    for index, entry in enumerate(entries):
        found = list(_case_mistakes(index, entry, document))
        lines.extend(mistake.line(document.file) for mistake in found)
        if not found:
            cases.append(CaseTable.model_validate(_flattened(entry)))
    return cases, lines


def _case_mistakes(index: int, entry: object, document: Document) -> Iterator[Mistake]:
    where = f"[[case]] number {index + 1}"
    if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
        where = f"[[case]] '{entry['name']}'"
    if isinstance(entry, Mapping) and isinstance(entry.get("framework"), str):
        try:
            _framework(document, entry["framework"])
        except ScenarioError as error:
            yield Mistake(f"{where} framework", shown(entry["framework"]), str(error))
    flattened = _flattened(entry)
    try:
        CaseTable.model_validate(flattened)
    except ValidationError as error:
        for mistake in validation_mistakes(error, CaseTable):
            name = mistake.where.removeprefix("[sweep] ")
            label = f"{where} sweep" if name != mistake.where else where
            yield Mistake(f"{label} {name}".rstrip(), mistake.found, mistake.text)
    if isinstance(flattened, Mapping) and isinstance(flattened.get("sweep"), Mapping):
        for name, axis in flattened["sweep"].items():
            yield from _axis_mistakes(f"{where} sweep {shown(name)}", name, axis)


def _axis_mistakes(where: str, name: str, axis: object) -> Iterator[Mistake]:
    text = _unknown_axis(name)
    if text:
        yield Mistake(where, "", text)
    elif isinstance(axis, list) and any(isinstance(value, Mapping) for value in axis):
        yield Mistake(where, "", "an axis holds values, not tables.")


def _flattened(entry: object) -> object:
    """``sweep = { lora.r = [...] }`` without quotes is nested; both spellings mean the same."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("sweep"), Mapping):
        return entry
    return {**entry, "sweep": dict(_leaves(entry["sweep"], ""))}


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _unknown_axis(name: str) -> str:
    """What is wrong with the key that an axis changes; empty if nothing is."""
    if name.startswith("fleet.class."):
        return _unknown_class_key(name)
    if name.startswith("schedule"):
        return unknown_schedule_key(name)
    *path, last = name.split(".")
    leaves = list(_leaf_keys())
    if name in leaves:
        return ""
    table = table_type(Settings, path) if path and path[0] in OVERRIDABLE else None
    allowed = [f"{'.'.join(path)}.{key}" for key in key_names(table)] if table else leaves
    hint = nearest(name, leaves) or next(
        (f" Did you mean {key!r}?" for key in leaves if key.rpartition(".")[2] == last), ""
    )
    return f"no such key to sweep; allowed: {', '.join(allowed)}.{hint}"


def _unknown_class_key(name: str) -> str:
    """What is wrong with the key of a class; which classes there are is for the file to say."""
    path = key_path(name)
    allowed = list(key_names(ClassTable))
    if len(path) < 4:
        return (
            "name a class and a key of it: fleet.class.NAME.KEY with one of "
            f"{', '.join(allowed)}.{nearest(path[-1], allowed)}"
        )
    return ""


def _leaf_keys() -> Iterator[str]:
    """Every key that an axis may change, a device's or link's name among them."""
    for table_name in OVERRIDABLE:
        table = table_type(Settings, (table_name,))
        if table_name in ("device", "link"):
            yield table_name
        for name in key_names(table) if table is not None else ():
            if name == "device":
                yield f"{table_name}.device"
                yield from (f"{table_name}.device.{k}" for k in key_names(_device_table()))
            elif name != "class":
                yield f"{table_name}.{name}"


def _device_table() -> Any:
    return table_type(Settings, ("device",))


def _framework(document: Document, name: str) -> Framework:
    return document.frameworks.get(name) or find_framework(name, document.folder)


def _unrolled(case: CaseTable, base: Mapping[str, Any], framework: Framework) -> Iterator[Case]:
    names = (*OVERRIDABLE, "schedule")
    overrides = {name: value for name in names if (value := getattr(case, name)) is not None}
    table = merged(base, overrides)
    axes = case.sweep
    labels = _labels(list(axes))
    for values in itertools.product(*axes.values()):
        swept = table
        for name, value in zip(axes, values, strict=True):
            swept = merged(swept, nested(name, value))
        texts = [f"{label}={_text(v)}" for label, v in zip(labels, values, strict=True)]
        name = f"{case.name} {', '.join(texts)}".rstrip()
        at = dict(zip(axes, values, strict=True))
        yield Case(name, case.name, framework, swept, at)


def _labels(names: list[str]) -> list[str]:
    """The last part of each key, or the whole key where two end alike."""
    last = [name.rpartition(".")[2] for name in names]
    return [
        short if last.count(short) == 1 and short not in ("like", "name", "value") else name
        for name, short in zip(names, last, strict=True)
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _blind_overrides(document: Document, cases: list[CaseTable], *, are_run: bool) -> Iterator[str]:
    """A ``--set`` that would change nothing is refused, or nobody would notice."""
    for key in sorted(document.overridden):
        readers = [
            case for case in cases if are_run or reads(_framework(document, case.framework), key)
        ]
        if cases and not readers:
            yield f"{document.file}: --set {key}: no case of this file reads it."
        elif cases and all(_covers(case, list(key_path(key))) for case in readers):
            yield (
                f"{document.file}: --set {key}: every case that reads {key} gives it itself, so "
                "this would change nothing; edit the cases instead."
            )


def reads(framework: Framework, key: str) -> bool:
    """Whether a framework's costs can depend on a key; a user's own may depend on any."""
    return framework.may_read(key) or not own_key(key)


def _covers(case: CaseTable, path: list[str]) -> bool:
    value: Any = case.model_dump()
    for part in path:
        if not isinstance(value, Mapping) or value.get(part) is None:
            return False
        value = value[part]
    return True
