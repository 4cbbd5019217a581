"""``[[schedule]]`` as values that plan rounds, or what is wrong with it.

Decides what each table means to :mod:`fedsim.planning`, and refuses what would never act or mean
two things at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError, create_model

from fedsim.errors import ScenarioError, nearest
from fedsim.planning import ByRound, ParticipationByRound, PolicySchedule, Schedule
from fedsim.scenario.build.own_schedule import own_schedule
from fedsim.scenario.file.key import Table
from fedsim.scenario.file.mistake import Mistake, key_names, shown, table_type, validation_mistakes
from fedsim.scenario.file.schedule_table import SCHEDULED, ScheduleTable
from fedsim.scenario.file.settings import OVERRIDABLE, Settings

__all__ = ["Schedules", "built_schedules", "with_extremes"]

_PARTICIPATION: Final = "policy.clients_per_round"
#: Fields of plans that are called otherwise in a file.
_FIELDS: Final = {"samples_per_client": "num_samples"}


@dataclass
class Schedules:
    """What ``[[schedule]]`` means.

    Attributes
    ----------
    of_plans : list of Schedule
    of_policy : list of PolicySchedule
    mistakes : list of Mistake
    """

    of_plans: list[Schedule] = field(default_factory=list)
    of_policy: list[PolicySchedule] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)


def built_schedules(settings: Settings, folder: Path) -> Schedules:
    """The schedules of a result, with every mistake in them.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Where modules of a user's own are looked for.
    """
    found = Schedules()
    for number, table in enumerate(settings.schedule, 1):
        where = f"[[schedule]] number {number}"
        wrong = list(_mistakes(where, table, settings))
        found.mistakes += wrong
        if not wrong:
            _add(found, where, table, folder)
    found.mistakes += _together(settings)
    return found


def with_extremes(settings: Settings) -> Settings:
    """The settings with the values by which a round has most samples and batches of all rounds."""
    workload, classes = settings.workload, settings.fleet.classes
    for name, most in (("batch_size", min), ("samples_per_client", max), ("local_epochs", max)):
        values = [v for t in settings.schedule for v in _whole(t, f"workload.{name}")]
        if not values:
            continue
        own = {name: most(getattr(workload, name), *values)}
        workload = workload.model_copy(update=own)
        if name != "local_epochs":
            classes = tuple(
                c
                if (given := getattr(c, name)) is None
                else c.model_copy(update={name: most(given, *values)})
                for c in classes
            )
    fleet = settings.fleet.model_copy(update={"classes": classes})
    return settings.model_copy(update={"workload": workload, "fleet": fleet})


def _whole(table: ScheduleTable, key: str) -> list[int]:
    """The values of a table of that key, as far as they make sense."""
    if table.scheduled != key:
        return []
    return [v for v in table.value or () if isinstance(v, int) and v >= 1]


def _add(found: Schedules, where: str, table: ScheduleTable, folder: Path) -> None:
    if table.use is not None:
        try:
            of_plans, of_policy = own_schedule(table.use, folder)
        except ScenarioError as error:
            found.mistakes.append(Mistake(f"{where} use", shown(table.use), str(error)))
            return
        found.of_plans += of_plans
        found.of_policy += of_policy
        return
    assert table.scheduled is not None
    assert table.from_round is not None
    assert table.value is not None
    if table.scheduled == _PARTICIPATION:
        found.of_policy.append(ParticipationByRound(table.from_round, table.value))
        return
    name = table.scheduled.rpartition(".")[2]
    found.of_plans.append(
        ByRound(_FIELDS.get(name, name), table.from_round, table.value, table.classes)
    )


def _mistakes(where: str, table: ScheduleTable, settings: Settings) -> Iterator[Mistake]:
    """Of one table."""
    if table.use is not None:
        for name in ("key", "from_round", "value", "classes"):
            if getattr(table, "scheduled" if name == "key" else name) is not None:
                text = "a schedule of one's own says all by itself; leave it out."
                yield Mistake(f"{where} {name}", "", text)
        return
    if table.scheduled is None:
        text = (
            'is missing; write key = "workload.batch_size", say, or use = "module:NAME" for a '
            "schedule of your own."
        )
        yield Mistake(f"{where} key", "", text)
        return
    if text := _unknown(table.scheduled):
        yield Mistake(f"{where} key", shown(table.scheduled), text)
        return
    for name, value in (("from_round", table.from_round), ("value", table.value)):
        if value is None:
            text = f"is missing; write {name} = [{'10, 20' if name == 'from_round' else '32, 64'}]."
            yield Mistake(f"{where} {name}", "", text)
    yield from _round_mistakes(where, table, settings.workload.num_rounds)
    for value in table.value or ():
        yield from _value_mistakes(where, table.scheduled, value)
    yield from _class_mistakes(where, table, settings)


def _unknown(key: str) -> str:
    """What is wrong with the key that is scheduled; empty if nothing is."""
    if key in SCHEDULED:
        return ""
    allowed = f"allowed: {', '.join(SCHEDULED)}."
    table, _, name = key.partition(".")
    known = table_type(Settings, (table,)) if table in OVERRIDABLE else None
    if known is not None and name in key_names(known):
        return f"what it takes when this key changes by round is not counted yet; {allowed}"
    short = [one for one in SCHEDULED if one.rpartition(".")[2] == key]
    return allowed + (f" Did you mean {short[0]!r}?" if short else nearest(key, SCHEDULED))


def _round_mistakes(where: str, table: ScheduleTable, num_rounds: int) -> Iterator[Mistake]:
    rounds, values = table.from_round or (), table.value or ()
    if rounds and values and len(rounds) != len(values):
        text = f"{len(rounds)} rounds and {len(values)} values; give one value for each round."
        yield Mistake(f"{where} value", shown(list(values)), text)
    if any(a >= b for a, b in pairwise(rounds)):
        text = "rounds rise: each is later than the one before."
        yield Mistake(f"{where} from_round", shown(list(rounds)), text)
    for number in rounds:
        if number > num_rounds:
            text = (
                f"never comes: workload.num_rounds = {num_rounds:,}; choose an earlier round, or "
                "leave it out with its value."
            )
            yield Mistake(f"{where} from_round", f"{number:,}", text)


def _value_mistakes(where: str, key: str, value: Any) -> Iterator[Mistake]:
    """As the key itself is checked where it stands in its table."""
    name, table = key.rpartition(".")[2], table_type(Settings, (key.partition(".")[0],))
    assert table is not None
    if value is None:
        yield Mistake(f"{where} value", "", "a whole number is needed")
        return
    declared = table.model_fields[name]
    model = create_model("Value", __base__=Table, **{name: (declared.annotation, declared)})  # type: ignore[call-overload]
    try:
        model.model_validate({name: value})
    except ValidationError as error:
        for mistake in validation_mistakes(error, model):
            yield Mistake(f"{where} value", mistake.found, mistake.text)


def _class_mistakes(where: str, table: ScheduleTable, settings: Settings) -> Iterator[Mistake]:
    if table.classes is None:
        return
    if table.scheduled == _PARTICIPATION:
        text = "a round asks of all classes together; leave it out."
        yield Mistake(f"{where} classes", shown(list(table.classes)), text)
        return
    known = [c.name for c in settings.fleet.classes]
    for name in table.classes:
        if name not in known:
            there = ", ".join(map(repr, known)) or "none; add [[fleet.class]], or leave it out"
            text = f"no such class; there are {there}.{nearest(name, known)}"
            yield Mistake(f"{where} classes", shown(name), text)


def _together(settings: Settings) -> Iterator[Mistake]:
    """What schedules get wrong among each other, or with the rest of the file."""
    tables = settings.schedule
    if tables and settings.policy.mode != "synchronous":
        text = (
            f"policy.mode = '{settings.policy.mode}' has no rounds by which anything could change; "
            'set policy.mode = "synchronous", or leave the schedules out.'
        )
        yield Mistake("[[schedule]]", "", text)
    for key in SCHEDULED:
        if _overlap([table for table in tables if table.scheduled == key]):
            text = "scheduled twice for the same clients; write all its rounds in one table."
            yield Mistake("[[schedule]] key", repr(key), text)
    changes_asked = any(table.scheduled == _PARTICIPATION for table in tables)
    if changes_asked and settings.privacy.secure_aggregation is not None:
        text = (
            "how many clients share masks is settled ahead of the rounds, and a schedule of "
            f"{_PARTICIPATION} changes how many are asked; leave out one of the two."
        )
        found = repr(settings.privacy.secure_aggregation)
        yield Mistake("[privacy] secure_aggregation", found, text)


def _overlap(tables: Sequence[ScheduleTable]) -> bool:
    """Whether two tables are for the same clients."""
    seen: set[str] = set()
    for number, table in enumerate(tables):
        if table.classes is None and len(tables) > 1:
            return True
        if number and seen & set(table.classes or ()):
            return True
        seen |= set(table.classes or ())
    return False
