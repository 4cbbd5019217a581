"""Settings that do nothing: a ``--set`` or a sweep that changes no result, or not all of them.

Decides by what is computed, not by lists of keys: a setting is blind where everything that a result
is computed from is equal with it and without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fedsim.comparison.wording import listed
from fedsim.errors import FedsimError
from fedsim.scenario.document import Document, key_path
from fedsim.scenario.inspection import Inspected, inspected
from fedsim.scenario.replication import is_drawn
from fedsim.scenario.variant import reads

__all__ = ["blind_settings"]

#: Keys of a class that stand for one of another table, and where that one is.
_OF_CLASSES: Final[Mapping[str, str]] = {
    "workload.samples_per_client": "samples_per_client",
    "workload.batch_size": "batch_size",
    "lora.r": "r",
    "split.cut_layer": "cut_layer",
    "fleet.dropout_probability": "dropout_probability",
    "fleet.availability": "availability",
    "fleet.table": "table",
    "device": "device",
    "link": "link",
}
#: Keys that change what an answer says about itself, and no figure.
_LABELS: Final = ("question", "goal", "workload.dataset", "workload.available_samples")


def blind_settings(document: Document, entries: Sequence[Inspected]) -> list[str]:
    """A sentence for each setting of the command line and each sweep that changes too little.

    Parameters
    ----------
    document : Document
    entries : sequence of Inspected
        Its results' inputs.
    """
    lines: list[str] = []
    for key, value in document.overrides.items():
        if not key.startswith(_LABELS):
            lines.extend(_blind_override(document, entries, key, value))
    for case in dict.fromkeys(entry.variant.case for entry in entries):
        lines.extend(_blind_axes([e for e in entries if e.variant.case == case]))
    return lines


def _blind_override(
    document: Document, entries: Sequence[Inspected], key: str, value: Any
) -> Iterator[str]:
    try:
        before, _ = inspected(document.without(key))
    except FedsimError:
        # Without it the file is none: it surely changes something.
        return
    if [e.variant.name for e in before] != [e.variant.name for e in entries]:
        return
    readers = [
        (old, new)
        for old, new in zip(before, entries, strict=True)
        if reads(new.variant.framework, key)
    ]
    blind = [new for old, new in readers if _inputs(old) == _inputs(new)]
    if not blind:
        return
    what = f"--set {key}={_written(value)} changes nothing"
    if len(blind) == len(readers):
        yield f"{what}: {_winner(key, blind)}"
    else:
        names = listed(list(dict.fromkeys(e.variant.case for e in blind)))
        yield f"{what} of {names}: {_winner(key, blind)}"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _blind_axes(entries: Sequence[Inspected]) -> Iterator[str]:
    """Axes of one case along which nothing changes."""
    for key in entries[0].variant.axes:
        if key.startswith(_LABELS):
            continue
        by_others: dict[str, list[Inspected]] = {}
        for entry in entries:
            rest = {k: v for k, v in entry.variant.axes.items() if k != key}
            by_others.setdefault(repr(rest), []).append(entry)
        rows = [row for row in by_others.values() if len(row) > 1]
        if rows and all(_is_same(row) for row in rows):
            case = entries[0].variant.case
            yield f"case '{case}': sweeping {key} changes nothing: {_winner(key, entries)}"


def _is_same(row: Sequence[Inspected]) -> bool:
    first = _inputs(row[0])
    return all(_inputs(entry) == first for entry in row[1:])


def _inputs(entry: Inspected) -> tuple[Any, ...]:
    """Everything that a result's figures are computed from."""
    settings = entry.settings
    drawn = is_drawn(entry.federation, entry.policy) or settings.workload.padding != "max_tokens"
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


def _winner(key: str, blind: Sequence[Inspected]) -> str:
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
    if path[0] == "learning":
        return "no measured learning curves answer here ([learning] curves)"
    if len(path) > 3 and path[:2] == ("fleet", "class"):
        return f"class '{path[2]}' takes the same with it"
    return "the case gives it itself, or it has no effect beside the other settings"
