"""Read a TOML file: the file, what it extends, and ``--set`` from the command line.

Decides how tables override tables. What the keys mean is not known here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from fedsim.errors import FedsimError, ScenarioError, nearest
from fedsim.protocol import Framework
from fedsim.resources import resource_dir
from fedsim.scenario.file.codec_table import CODED, both_ways
from fedsim.scenario.file.hardware_tables import ClassTable
from fedsim.scenario.file.mistake import Mistake, key_names, refusal, shown, table_type
from fedsim.scenario.file.plain import DICT_NAME, plain_table, plain_value
from fedsim.scenario.file.schedule_table import schedules_merged, unknown_schedule_key
from fedsim.scenario.file.settings import ScenarioFile
from fedsim.spec.model_catalogue import model_names
from fedsim.text_file import read_text

__all__ = [
    "Document",
    "Overrides",
    "Source",
    "in_another_world",
    "key_path",
    "merged",
    "nested",
    "overridden",
    "parse_override",
    "read_document",
    "read_toml",
    "scenario_names",
]

_MAX_FILE_BYTES: Final = 1_000_000
#: A name alone stands for a table there.
_NAMED_TABLES: Final = ("device", "link")
#: Keys that name a file, and keys that name something that ships or a file.
_FILE_KEYS: Final = (
    "fleet.table",
    "fleet.class.table",
    "availability.file",
    "link.trace",
    "link.profile",
    *(
        f"data.{name}.{file}"
        for name in ("dataset", "public_dataset")
        for file in ("path", "test_path")
    ),
)
_NAME_OR_FILE_KEYS: Final = ("profile", "model.name", "learning.curves", "train.weights_from")
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
#: A key of one class of clients, by the class's name; the shortest name that leaves a key of it.
_CLASS_KEY: Final = re.compile(
    rf"fleet\.class\.(?P<name>.+?)\.(?P<key>(?:{'|'.join(key_names(ClassTable))})(?:\.[a-z_0-9]+)*)"
)

#: A path, the name of what ships, or a table of one's own.
Source = str | Mapping[str, Any]
#: ``key=value`` texts, or keys with their values.
Overrides = Iterable[str] | Mapping[str, Any]


@dataclass(frozen=True)
class Document:
    """A scenario file as it was read.

    Attributes
    ----------
    file : str
        As the user gave it; ``<dict>`` where no file was.
    folder : Path
        Where relative paths in it start.
    table : dict
        What it extends, overridden by the file and by ``--set``.
    overrides : mapping
        Keys that ``--set`` gave, with their values.
    plain : dict
        The table without them.
    inputs : set of Path
        Every file that was read so far, so that no output is written over one.
    frameworks : mapping
        Frameworks that a program gives as values, by the names that cases have for them.
    """

    file: str
    folder: Path
    table: dict[str, Any]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    plain: dict[str, Any] = field(default_factory=dict)
    inputs: set[Path] = field(default_factory=set, compare=False)
    frameworks: Mapping[str, Framework] = field(default_factory=dict)

    @property
    def overridden(self) -> frozenset[str]:
        """Keys that ``--set`` gave."""
        return frozenset(self.overrides)

    def without(self, key: str) -> Document:
        """The same without one of the keys that ``--set`` gave."""
        rest = {name: value for name, value in self.overrides.items() if name != key}
        table = self.plain
        for name, value in rest.items():
            table = merged(table, nested(name, value))
        return replace(self, table=table, overrides=rest)


def scenario_names() -> tuple[str, ...]:
    """Names of the scenarios that ship with fedsim."""
    return tuple(sorted(path.stem for path in resource_dir("scenarios").glob("*.toml")))


def read_document(source: Source, overrides: Overrides = ()) -> Document:
    """Read a scenario by its path or shipped name, or take its table.

    Relative paths in a table of one's own start at the current folder.

    Raises
    ------
    ScenarioError
        If a file is missing or no valid TOML, or an override is not ``key=value``.
    """
    if isinstance(source, str):
        file, path = source, _scenario_path(source)
        table = read_toml(path, file)
    else:
        file, path = DICT_NAME, Path(DICT_NAME)
        table = plain_table(source)
    chain = [path]
    table = _with_parents(table, chain, file)
    # A dict is no file that an output could replace.
    inputs = set(chain if isinstance(source, str) else chain[1:])
    changed, values = overridden(table, overrides)
    return Document(file, path.parent, changed, values, table, inputs)


def in_another_world(document: Document, changes: Mapping[str, Any]) -> Document:
    """The document with some keys changed, in every case that does not give them itself.

    Parameters
    ----------
    document : Document
    changes : mapping
        Keys as for ``--set``, dotted or nested, with their values.
    """
    table = merged(document.table, _undotted(changes))
    table.pop("goal", None)
    return replace(document, table=table)


def _undotted(changes: Mapping[str, Any]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in changes.items():
        table = merged(table, nested(name, value))
    return table


def overridden(
    table: dict[str, Any], overrides: Overrides
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file's table with overrides on top, and the keys that they gave with values.

    A relative path on the command line starts at the current folder, as it does for every other
    command; one in the file starts at the file.

    Raises
    ------
    ScenarioError
        With a line for each text that is no ``key=value`` or names no key of the file.
    """
    values: dict[str, Any] = {}
    lines = []
    for override in overrides:
        try:
            if isinstance(overrides, Mapping):
                key, value = _checked_override(override, overrides[override])
            else:
                key, value = parse_override(override)
            value = _absolute(Path(), key, value)
            table = merged(table, nested(key, value))
        except ScenarioError as error:
            lines.append(str(error))
            continue
        values[key] = value
    if lines:
        raise refusal(lines)
    return table, values


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with tables merged key by key and everything else replaced."""
    result = dict(base)
    for name, value in changes.items():
        old = result.get(name)
        if name in _NAMED_TABLES and isinstance(old, str):
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
    match = _CLASS_KEY.fullmatch(key)
    if match is None:
        return tuple(key.split("."))
    return ("fleet", "class", match["name"], *match["key"].split("."))


def nested(key: str, value: Any) -> dict[str, Any]:
    """The table that a dotted key and its value stand for."""
    for part in reversed(key_path(key)):
        value = {part: value}
    table: dict[str, Any] = value
    return table


def parse_override(text: str) -> tuple[str, Any]:
    """Read ``lora.r=4`` as key and value.

    The value is written as in TOML; what is no TOML and does not look as if it were meant to be is
    taken as text, so that quotes may be left out: ``link.uplink=10 Mbit/s``.

    Raises
    ------
    ScenarioError
        If it is not ``key=value``, or no such key exists in a base table.
    """
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    where = f"--set {shown(text)[1:-1]}"
    if not equals or not (_KEY.fullmatch(key) or _CLASS_KEY.fullmatch(key)):
        raise ScenarioError(f"{where}: write key=value, for example --set lora.r=4.")
    _check_key(key, where)
    return key, _value(value, where)


def _checked_override(key: object, value: Any) -> tuple[str, Any]:
    """A key and its value as a program gives them, where the command has text."""
    where = f"--set {shown(str(key))[1:-1]}"
    if not isinstance(key, str) or not (_KEY.fullmatch(key) or _CLASS_KEY.fullmatch(key)):
        raise ScenarioError(f"{where}: write a key and its value, for example {{'lora.r': 4}}.")
    _check_key(key, where)
    return key, plain_value(value, key)


def _check_key(key: str, where: str) -> None:
    """Raise ``ScenarioError`` unless a base table has the key, and it takes a value."""
    first = key.partition(".")[0]
    allowed = [name for name in key_names(ScenarioFile) if name not in ("case", "extends")]
    if first not in allowed:
        raise ScenarioError(
            f"{where}: unknown key '{first}'; allowed: {', '.join(allowed)}."
            f"{nearest(first, allowed)}"
        )
    if first == "schedule":
        if wrong := unknown_schedule_key(key):
            raise ScenarioError(f"{where}: {wrong}")
        return
    is_table = table_type(ScenarioFile, (first,)) is not None and first not in _NAMED_TABLES
    if is_table and "." not in key:
        raise ScenarioError(f"{where}: [{first}] is a table; name a key of it: {first}.KEY=VALUE.")


def _absolute(folder: Path, key: str, value: Any) -> Any:
    """A value with relative paths in it starting at ``folder``, where the key names a file."""
    if isinstance(value, Mapping):
        inner = f"{key}." if key else ""
        return {name: _absolute(folder, f"{inner}{name}", each) for name, each in value.items()}
    if isinstance(value, list):
        return [_absolute(folder, key, each) for each in value]
    if not isinstance(value, str) or not value or "\0" in value:
        return value
    path = folder.absolute() / value
    return str(path) if _names_a_file(key, value, path) else value


def _names_a_file(key: str, value: str, path: Path) -> bool:
    """Whether a key's text is the path of a file, and no name of something that ships."""
    parts = key_path(key)
    if parts[:2] == ("fleet", "class") and len(parts) > 3:
        # Of one class, by its name.
        key = ".".join((*parts[:2], *parts[3:]))
    if any(key == known or key.endswith(f".{known}") for known in _FILE_KEYS):
        return True
    is_either = key == "profile" or key.endswith(_NAME_OR_FILE_KEYS[1:])
    if not is_either or value in model_names():
        return False
    # A name of the hub has a slash too.
    if value.startswith(".") or ("/" in value and key != "train.weights_from"):
        return True
    try:
        return path.exists()
    except OSError:
        return False


def _value(text: str, where: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        table = {}
    if set(table) == {"value"}:
        return table["value"]
    if not text or "\n" in text or text[0] in "\"'[{":
        raise ScenarioError(f'{where}: not a TOML value; write for example 4, true, "text" or [1].')
    return text


def _scenario_path(file: str) -> Path:
    path = Path(file)
    try:
        if path.is_file():
            return path
        is_other = path.exists()
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{shown(file)}: no usable file name ({error}).") from error
    if is_other:
        raise ScenarioError(f"{file}: is no file; name a scenario's TOML file.")
    try:
        names = scenario_names()
    except FedsimError:
        # Files of one's own can be read without the shipped ones.
        names = ()
    if file in names:
        return resource_dir("scenarios") / f"{file}.toml"
    raise ScenarioError(
        f"{file}: there is no such file, and no shipped scenario of that name; shipped: "
        f"{', '.join(names) or 'none'}.{nearest(path.stem, names)}"
    )


def _parent_path(path: Path, parent: object, file: str) -> Path:
    if not isinstance(parent, str) or not parent:
        raise ScenarioError(
            f"{file}: extends = {shown(parent)}: the path of one file is needed, relative to this."
        )
    parent_path = path.parent / parent
    try:
        exists = parent_path.is_file()
        if not exists and parent in scenario_names():
            # A shipped scenario is extended by its name, from wherever the user's file is.
            parent_path, exists = resource_dir("scenarios") / f"{parent}.toml", True
    except (OSError, ValueError):
        exists = False
    if not exists:
        siblings = sorted(p.name for p in path.parent.glob("*.toml") if p.name != path.name)
        raise ScenarioError(
            f"{file}: extends = {shown(parent)}: there is no such file beside this one, and no "
            f"shipped scenario of that name; files there: {', '.join(siblings[:20]) or 'none'}; "
            f"shipped: {', '.join(scenario_names())}."
            f"{nearest(parent, [*scenario_names(), *siblings])}"
        )
    return parent_path


def _with_parents(table: dict[str, Any], chain: list[Path], file: str) -> dict[str, Any]:
    """A table over those of the files that it extends, the nearest on top.

    Parameters
    ----------
    table : dict
        Of the last file of ``chain``.
    chain : list of Path
        The files so far, the user's first; those that are read here are added.
    file : str
        What messages call the last file.
    """
    parent = table.pop("extends", None)
    if parent is None:
        return table
    path = chain[-1]
    parent_path = _parent_path(path, parent, file)
    label = f"{file}: extends = {shown(parent)}"
    if parent_path.resolve() in (known.resolve() for known in chain):
        names = " -> ".join(known.name for known in (*chain, parent_path))
        raise ScenarioError(f"{label}: goes in a circle ({names}); let one of them extend nothing.")
    chain.append(parent_path)
    below = _with_parents(read_toml(parent_path, label), chain, label)
    # A question and its goal belong to their own file.
    for name in ("question", "goal"):
        below.pop(name, None)
    moved: dict[str, Any] = _absolute(parent_path.parent, "", below)
    return merged(below if parent_path.parent == path.parent else moved, table)


def read_toml(path: Path, file: str) -> dict[str, Any]:
    """A TOML file's table; ``file`` is what messages call it.

    Raises
    ------
    ScenarioError
        If it cannot be read or is no TOML.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ScenarioError(f"{file}: larger than {_MAX_FILE_BYTES:,} B; is it a scenario?")
    except OSError as error:
        raise ScenarioError(f"{file}: cannot be read ({error.strerror}).") from error
    text = read_text(path, file)
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ScenarioError(f"{file}: nested too deeply; no scenario needs that.") from error
    except ValueError as error:
        # TOMLDecodeError, which gives line and column; or a number of too many digits.
        raise ScenarioError(Mistake("", "", f"not valid TOML: {error}.").line(file)) from error
