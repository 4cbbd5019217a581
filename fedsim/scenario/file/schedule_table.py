"""``[[schedule]]``: what changes by round."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from fedsim.errors import ScenarioError
from fedsim.scenario.file.key import Table, alone, key

__all__ = ["SCHEDULED", "ScheduleTable", "schedules_merged", "unknown_schedule_key"]

#: Keys that may have another value from some rounds on.
SCHEDULED: Final = (
    "workload.batch_size",
    "workload.accumulation_steps",
    "workload.local_epochs",
    "workload.distillation_epochs",
    "workload.samples_per_client",
    "policy.clients_per_round",
)
_MAX_CHANGES: Final = 1000
#: Of the schedules of one key.
_SCHEDULE_KEY: Final = re.compile(
    rf"schedule\.(?:{'|'.join(map(re.escape, SCHEDULED))})\.(?:value|from_round)"
)


def _listed(value: object) -> object:
    """One value stands for a list of one."""
    return value if isinstance(value, (list, tuple)) else (value,)


_Rounds = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...],
    Field(strict=False, min_length=1, max_length=_MAX_CHANGES),
    BeforeValidator(_listed, json_schema_input_type=int | list[int]),
]
_Values = Annotated[
    tuple[Any, ...],
    Field(strict=False, min_length=1, max_length=_MAX_CHANGES),
    BeforeValidator(_listed, json_schema_input_type=int | list[int]),
]
_Names = Annotated[
    tuple[str, ...],
    Field(strict=False, min_length=1, max_length=1000),
    BeforeValidator(alone, json_schema_input_type=str | list[str]),
]


class ScheduleTable(Table):
    """``[[schedule]]``: other values of a key from some rounds on, or a schedule of one's own."""

    scheduled: str | None = key(
        "cost",
        "time",
        "learning",
        default=None,
        alias="key",
        description=f"What changes: {', '.join(SCHEDULED)}",
    )
    from_round: _Rounds | None = key(
        "cost",
        "time",
        "learning",
        default=None,
        description="Rounds from which each value holds, rising from 1 on",
    )
    value: _Values | None = key(
        "cost", "time", "learning", default=None, description="One for each of 'from_round'"
    )
    classes: _Names | None = key(
        "cost",
        "time",
        "learning",
        default=None,
        description="Classes of clients that it is for; everybody, and the server, without it",
    )
    use: str | None = key(
        "cost",
        "time",
        "learning",
        default=None,
        min_length=1,
        description="Instead of all others: module:NAME, a schedule of one's own",
    )


def schedules_merged(old: Any, changes: Mapping[str, Any]) -> list[Any]:
    """Schedules, which a file lists, changed by the keys that they are of."""
    entries = [entry for entry in old or () if isinstance(entry, Mapping)]
    found = list(old or ())
    for table, keys in changes.items():
        for name, values in keys.items() if isinstance(keys, Mapping) else ():
            key = f"{table}.{name}"
            if key not in [entry.get("key") for entry in entries]:
                known = ", ".join(repr(e["key"]) for e in entries if "key" in e) or "none"
                raise ScenarioError(
                    f"schedule.{key}: no [[schedule]] of that key; there are {known}."
                )
            found = [
                {**entry, **values}
                if isinstance(entry, Mapping) and entry.get("key") == key
                else entry
                for entry in found
            ]
    return found


def unknown_schedule_key(name: str) -> str:
    """What is wrong with a key of schedules, as ``--set`` and sweeps have it; empty if nothing."""
    if _SCHEDULE_KEY.fullmatch(name):
        return ""
    return (
        "write schedule.KEY.value or schedule.KEY.from_round, such as "
        f"schedule.workload.batch_size.value; KEY is one of {', '.join(SCHEDULED)}."
    )
