"""Settings that do nothing: a ``--set`` or a sweep that changes no result, or not all of them.

Decides by what is computed, not by lists of keys: a setting is blind where everything that a result
is computed from is equal with it and without it; or, which only the results tell, where every
figure is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from fedsim.comparison.wording import listed
from fedsim.errors import FedsimError
from fedsim.scenario.answer.replication import is_drawn
from fedsim.scenario.build.case import reads
from fedsim.scenario.build.checked_case import CheckedCase, checked_cases
from fedsim.scenario.file.document import Document
from fedsim.scenario.file.merge import key_path
from fedsim.scenario.file.mistake import table_type
from fedsim.scenario.file.settings import Settings
from fedsim.spec.federation import FederationSpec
from fedsim.spec.link import rates_at_end

__all__ = ["blind_settings", "settings_without_effect"]

#: Keys of a class that stand for one of another table, and where that one is.
_OF_CLASSES: Final[Mapping[str, str]] = {
    "workload.samples_per_client": "samples_per_client",
    "workload.batch_size": "batch_size",
    "workload.local_epochs": "local_epochs",
    "lora.r": "r",
    "split.cut_layer": "cut_layer",
    "fleet.dropout_probability": "dropout_probability",
    "fleet.availability": "availability",
    "fleet.table": "table",
    "device": "device",
    "link": "link",
}
#: Tables of real runs.
_OF_RUNS: Final = ("data", "train")
#: Keys that change what an answer says about itself, and no figure.
_LABELS: Final = ("question", "goal", "workload.available_samples")
#: What a result says that was computed, of it and of a class of its clients.
_FIGURES: Final = (
    *("status", "excluded", "setup", "server_per_round", "privacy", "totals", "wasted", "rounds"),
    *("utilization", "round_time_s", "makespan_s", "energy", "money", "accuracy", "no_accuracy"),
    *("to_target", "under_budget"),
)
_CLASS_FIGURES: Final = (
    *("num_clients", "per_client_round", "per_client_setup", "own_round_s", "idle_fraction"),
    *("memory_fit", "memory_margin"),
)
#: Ends of intervals, which follow from the other figures and from what nobody knows exactly.
_ENDS: Final = ("low", "high", "interval_95_j")


def blind_settings(document: Document, entries: Sequence[CheckedCase]) -> list[str]:
    """A sentence for each setting of the command line and each sweep that changes too little.

    Parameters
    ----------
    document : Document
    entries : sequence of CheckedCase
        Its results' inputs.
    """
    lines: list[str] = []
    for key, value in document.overrides.items():
        if not key.startswith(_LABELS):
            lines.extend(_blind_override(document, entries, key, value))
    for case in dict.fromkeys(entry.case.case_name for entry in entries):
        lines.extend(_blind_axes([e for e in entries if e.case.case_name == case]))
    return lines


def settings_without_effect(
    document: Document,
    entries: Sequence[CheckedCase],
    tables: Sequence[Mapping[str, Any]],
    run_without: Callable[[Document], Sequence[Mapping[str, Any] | None]],
    told: Sequence[str],
) -> list[str]:
    """A sentence for each setting with which no figure is another, though what is computed from is.

    Parameters
    ----------
    document : Document
    entries : sequence of CheckedCase
    tables : sequence of mapping
        Results of the entries.
    run_without : callable
        A document's results, each None where it would take too long to find out.
    told : sequence of str
        What :func:`blind_settings` says already.
    """
    lines: list[str] = []
    for key, value in document.overrides.items():
        start = f"--set {key}={_written(value)} changes no"
        if not key.startswith(_LABELS) and not any(line.startswith(start) for line in told):
            lines.extend(_without_effect(document.without(key), key, start, entries, tables,
                                         run_without))  # fmt: skip
    for case in dict.fromkeys(entry.case.case_name for entry in entries):
        rows = [(e, t) for e, t in zip(entries, tables, strict=True) if e.case.case_name == case]
        for key in rows[0][0].case.axes:
            start = f"case '{case}': sweeping {key} changes no"
            if key.startswith(_LABELS) or any(line.startswith(start) for line in told):
                continue
            if all(len(found) == 1 for found in _along(key, rows)):
                lines.append(f"{start} figure: {_winner(key, [rows[0][0]])}")
    return lines


def _along(key: str, rows: Sequence[tuple[CheckedCase, Mapping[str, Any]]]) -> Iterator[set[str]]:
    """What the values of an axis give, for each combination of the other axes."""
    found: dict[str, set[str]] = {}
    num: dict[str, int] = {}
    for entry, table in rows:
        rest = repr({k: v for k, v in entry.case.axes.items() if k != key})
        found.setdefault(rest, set()).add(_figures(entry, table))
        num[rest] = num.get(rest, 0) + 1
    # An axis of one value has nothing to be compared with.
    return (values if num[rest] > 1 else set() for rest, values in found.items())


def _without_effect(
    before: Document,
    key: str,
    start: str,
    entries: Sequence[CheckedCase],
    tables: Sequence[Mapping[str, Any]],
    run_without: Callable[[Document], Sequence[Mapping[str, Any] | None]],
) -> Iterator[str]:
    try:
        old, _ = checked_cases(before)
        if [e.case.name for e in old] != [e.case.name for e in entries]:
            return
        others = run_without(before)
    except FedsimError:
        # Without it nothing is answered: it surely changes something.
        return
    readers = [
        (entry, _figures(was, other) == _figures(entry, table))
        for entry, table, was, other in zip(entries, tables, old, others, strict=True)
        if other is not None and reads(entry.case.framework, key)
    ]
    blind = [entry for entry, is_same in readers if is_same]
    if not blind:
        return
    whose = listed(list(dict.fromkeys(entry.case.name for entry in blind)))
    where = "" if len(blind) == len(readers) else f" of {whose}"
    yield f"{start} figure{where}: {_winner(key, blind)}"


def _figures(entry: CheckedCase, table: Mapping[str, Any]) -> str:
    figures = {name: table[name] for name in _FIGURES}
    classes = [{name: each.get(name) for name in _CLASS_FIGURES} for each in table["classes"]]
    return json.dumps([_without_ends(figures), classes, _unknown(entry.federation)], default=str)


def _without_ends(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_ends(each) for name, each in value.items() if name not in _ENDS}
    return value


def _unknown(federation: FederationSpec) -> Any:
    """How uncertain devices and links are, which moves the ends of intervals alone."""
    devices = [*(c.device for c in federation.classes), federation.server.device]
    return (
        [[device.ratios_95(regime) for regime in ("model", "message")] for device in devices],
        [[rates_at_end(c.link, end) for end in (0, 1)] for c in federation.classes],
    )


def _blind_override(
    document: Document, entries: Sequence[CheckedCase], key: str, value: Any
) -> Iterator[str]:
    try:
        before, _ = checked_cases(document.without(key))
    except FedsimError:
        # Without it the file is none: it surely changes something.
        return
    if [e.case.name for e in before] != [e.case.name for e in entries]:
        return
    readers = [
        (old, new)
        for old, new in zip(before, entries, strict=True)
        if reads(new.case.framework, key)
    ]
    blind = [new for old, new in readers if _inputs(old) == _inputs(new)]
    if not blind:
        return
    what = f"--set {key}={_written(value)} changes nothing"
    if _at(document.plain, key_path(key)) == value:
        yield f"{what}: the file says the same"
        return
    if len(blind) == len(readers):
        yield f"{what}: {_winner(key, blind)}"
    else:
        names = listed(list(dict.fromkeys(e.case.case_name for e in blind)))
        yield f"{what} of {names}: {_winner(key, blind)}"


def _at(table: Any, path: Sequence[str]) -> Any:
    """What stands at a key; None where nothing does."""
    for part in path:
        if isinstance(table, list):
            named = {e.get("name"): e for e in table if isinstance(e, Mapping)}
            table = named.get(part)
        elif isinstance(table, Mapping):
            table = table.get(part)
        else:
            return None
    return table


def _written(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _blind_axes(entries: Sequence[CheckedCase]) -> Iterator[str]:
    """Axes of one case along which nothing changes."""
    for key in entries[0].case.axes:
        if key.startswith(_LABELS):
            continue
        by_others: dict[str, list[CheckedCase]] = {}
        for entry in entries:
            rest = {k: v for k, v in entry.case.axes.items() if k != key}
            by_others.setdefault(repr(rest), []).append(entry)
        rows = [row for row in by_others.values() if len(row) > 1]
        if rows and all(_is_same(row) for row in rows):
            case = entries[0].case.case_name
            yield f"case '{case}': sweeping {key} changes nothing: {_winner(key, entries)}"


def _is_same(row: Sequence[CheckedCase]) -> bool:
    first = _inputs(row[0])
    return all(_inputs(entry) == first for entry in row[1:])


def _inputs(entry: CheckedCase) -> tuple[Any, ...]:
    """Everything that a result's figures are computed from."""
    settings = entry.settings
    drawn = (
        is_drawn(entry.federation, entry.policy, entry.case.framework)
        or settings.workload.padding != "max_tokens"
    )
    return (
        entry.federation,
        entry.policy,
        settings.policy.exclude_unfit,
        settings.price,
        settings.privacy if entry.protection is not None else None,
        settings.engine,
        settings.seed if drawn else None,
        settings.profile,
        # Without curves nothing learns.
        (settings.model_dump() if entry.laws is not None else None),
    )


def _winner(key: str, blind: Sequence[CheckedCase]) -> str:
    """The place whose value wins, or that nothing reads the key."""
    entry = blind[0]
    path = key_path(key)
    for base, own in _OF_CLASSES.items():
        if key != base and not key.startswith(f"{base}."):
            continue
        classes = [t.name for t in entry.settings.fleet.classes if getattr(t, own) is not None]
        if classes:
            rest = ".".join((own, *path[len(base.split(".")) :]))
            name = classes[0] if len(classes) == 1 else "NAME"
            return (
                f"[[fleet.class]] {listed([repr(c) for c in classes])} "
                f"{'has' if len(classes) == 1 else 'have'} their own {own}; "
                f"set fleet.class.{name}.{rest}"
            )
    if path[0] in _OF_RUNS and (entry.laws is None or not _is_of_learning(path)):
        return "only a real run reads it (fedsim train)"
    if entry.laws is None and _is_of_learning(path):
        return "no measured learning curves answer here ([learning] curves)"
    if len(path) > 3 and path[:2] == ("fleet", "class"):
        return f"class '{path[2]}' takes the same with it"
    return "the case gives it itself, or it has no effect beside the other settings"


def _is_of_learning(path: Sequence[str]) -> bool:
    """Whether a key declares that no cost and no time depends on it."""
    table = table_type(Settings, path[:1])
    field = None if table is None or len(path) != 2 else table.model_fields.get(path[1])
    extra = None if field is None else field.json_schema_extra
    affects = extra.get("affects") if isinstance(extra, dict) else None
    return isinstance(affects, list) and "learning" in affects and not {*affects} & {"cost", "time"}
