"""Keys of a scenario with values that are allowed: what pydantic lets through is what breaks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any, Final

from fedsim.scenario import scenario_schema
from fedsim.scenario.file.schedule_table import SCHEDULED

__all__ = ["with_likely_keys"]

_QUANTITIES: Final = (
    *("0 s", "1 ms", "20 s", "1 h", "3 d", "1 bit/s", "100 kbit/s", "1 Gbit/s", "10 GFLOP/s"),
    *("100 TFLOP/s", "1 MB", "20 MB", "3 GB", "0 W", "5 W", "1 J", "1e-6 J", "22 h"),
)
_WHOLE: Final = (0, 1, 1, 2, 2, 3, 4, 5, 8, 20, 100, 1000, 10**6)
_REAL: Final = (0.0, 1e-9, 0.01, 0.1, 0.3, 0.5, 0.9, 0.999, 1.0, 1.5, 3.0, 100.0, 1e6)


_NOT_DRAWN: Final = (
    *("case", "class", "schedule", "extends", "profile", "question", "curves", "seed", "lengths"),
)


def _options(table: dict[str, Any], definitions: dict[str, Any], path: tuple[str, ...]) -> Iterator:
    for name, entry in table["properties"].items():
        if name in (
            "case",
            "class",
            "schedule",
            "extends",
            "profile",
            "question",
            "curves",
            "seed",
            "lengths",
        ):
            continue
        for option in (entry, *entry.get("anyOf", ())):
            inner = definitions.get(option.get("$ref", "").rpartition("/")[2])
            if inner is not None:
                yield from _options(inner, definitions, (*path, name))
            elif option.get("type") not in (None, "null"):
                yield (*path, name), option


_SCHEMA: Final = scenario_schema()
_KEYS: Final[list[tuple[tuple[str, ...], dict[str, Any]]]] = list(
    _options(_SCHEMA, _SCHEMA["$defs"], ())
)


def _likely(option: dict[str, Any], draw: Random) -> Any:  # noqa: PLR0911 - one a type
    if "enum" in option or "const" in option:
        return draw.choice(option.get("enum", [option.get("const")]))
    lowest, highest = option.get("minimum", 0), option.get("maximum", 10**9)
    match option["type"]:
        case "integer":
            return draw.choice([n for n in _WHOLE if lowest <= n <= highest])
        case "number":
            return draw.choice([n for n in _REAL if lowest <= n <= highest])
        case "boolean":
            return draw.random() < 0.7
        case "string" if "pattern" in option:
            # Most have another unit; those of a key's own are drawn often enough.
            fitting = [text for text in _QUANTITIES if text.split()[1] in option["pattern"]]
            return draw.choice(fitting or list(_QUANTITIES))
        case "array":
            return ["all-linear"]
        case _:
            return draw.choice(("gpt2-tiny", "llama-tiny", "rpi5-8g", "3g", "lte-uk", "all-linear"))


def with_likely_keys(table: dict[str, Any], draw: Random) -> dict[str, Any]:
    """A copy with one to five keys set to values of the right kind."""
    table = copy.deepcopy(table)
    for _ in range(draw.choice((1, 1, 2, 3, 5))):
        path, option = draw.choice(_KEYS)
        holder = table
        for part in path[:-1]:
            inner = holder.get(part)
            if isinstance(inner, str):
                inner = {"like": inner}
            holder[part] = inner = inner if isinstance(inner, dict) else {}
            holder = inner
        holder[path[-1]] = _likely(option, draw)
    if draw.random() < 0.1:
        table["schedule"] = [_schedule(draw) for _ in range(draw.choice((1, 1, 2)))]
    return table


def _schedule(draw: Random) -> dict[str, Any]:
    rounds = sorted(draw.sample(range(1, 9), draw.choice((1, 1, 2, 3))))
    found = {
        "key": draw.choice(SCHEDULED),
        "from_round": rounds,
        "value": [draw.choice(_WHOLE) for _ in rounds],
    }
    return {**found, "classes": [draw.choice("ab")]} if draw.random() < 0.1 else found
