"""Read a TOML file: the file, what it extends, and ``--set`` from the command line.

Decides how tables override tables. What the keys mean is not known here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from fedsim.errors import FedsimError, ScenarioError, nearest
from fedsim.resources import resource_dir
from fedsim.scenario.mistake import Mistake, key_names, refusal, shown, table_type
from fedsim.scenario.settings import ScenarioFile
from fedsim.text_file import read_text

__all__ = [
    "Document",
    "merged",
    "overridden",
    "parse_override",
    "read_document",
    "read_toml",
    "scenario_names",
]

_MAX_FILE_BYTES: Final = 1_000_000
#: A name alone stands for a table there.
_NAMED_TABLES: Final = ("device", "link")
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True)
class Document:
    """A scenario file as it was read.

    Attributes
    ----------
    file : str
        As the user gave it.
    folder : Path
        Where relative paths in it start.
    table : dict
        What it extends, overridden by the file and by ``--set``.
    overridden : frozenset of str
        Keys that ``--set`` gave.
    """

    file: str
    folder: Path
    table: dict[str, Any]
    overridden: frozenset[str] = frozenset()


def scenario_names() -> tuple[str, ...]:
    """Names of the scenarios that ship with fedsim."""
    return tuple(sorted(path.stem for path in resource_dir("scenarios").glob("*.toml")))


def read_document(file: str, overrides: Iterable[str] = ()) -> Document:
    """Read a scenario by its path or shipped name.

    Raises
    ------
    ScenarioError
        If a file is missing or no valid TOML, or an override is not ``key=value``.
    """
    path = _scenario_path(file)
    table = read_toml(path, file)
    parent = table.pop("extends", None)
    if parent is not None:
        table = merged(_parent_table(path, parent, file), table)
    if "question" not in table:
        raise refusal([f'{file}: question is missing; write question = "What is asked?".'])
    table, keys = overridden(table, overrides)
    return Document(file, path.parent, table, keys)


def overridden(
    table: dict[str, Any], overrides: Iterable[str], file_type: type[BaseModel] = ScenarioFile
) -> tuple[dict[str, Any], frozenset[str]]:
    """A file's table with ``key=value`` texts on top, and the keys that they gave.

    Raises
    ------
    ScenarioError
        With a line for each text that is no ``key=value`` or names no key of the file.
    """
    keys, lines = [], []
    for override in overrides:
        try:
            key, value = parse_override(override, file_type)
        except ScenarioError as error:
            lines.append(str(error))
            continue
        keys.append(key)
        table = merged(table, _nested(key, value))
    if lines:
        raise refusal(lines)
    return table, frozenset(keys)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with tables merged key by key and everything else replaced."""
    result = dict(base)
    for name, value in changes.items():
        old = result.get(name)
        if name in _NAMED_TABLES and isinstance(old, str):
            old = {"like": old}
        if isinstance(old, Mapping) and isinstance(value, Mapping) and name != "lengths":
            result[name] = merged(old, value)
        else:
            result[name] = value
    return result


def parse_override(text: str, file_type: type[BaseModel] = ScenarioFile) -> tuple[str, Any]:
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
    if not equals or not _KEY.fullmatch(key):
        raise ScenarioError(f"{where}: write key=value, for example --set lora.r=4.")
    first = key.partition(".")[0]
    allowed = [name for name in key_names(file_type) if name not in ("case", "extends")]
    if first not in allowed:
        raise ScenarioError(
            f"{where}: unknown key '{first}'; allowed: {', '.join(allowed)}."
            f"{nearest(first, allowed)}"
        )
    is_table = table_type(file_type, (first,)) is not None and first not in _NAMED_TABLES
    if is_table and "." not in key:
        raise ScenarioError(f"{where}: [{first}] is a table; name a key of it: {first}.KEY=VALUE.")
    return key, _value(value, where)


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


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    table: dict[str, Any] = value
    return table


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


def _parent_table(path: Path, parent: object, file: str) -> dict[str, Any]:
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
    table = read_toml(parent_path, f"{file}: extends = {shown(parent)}")
    if "extends" in table:
        raise ScenarioError(
            f"{file}: extends = {shown(parent)}: that file extends another; only one level is "
            f"allowed. Extend {shown(table['extends'])} itself."
        )
    # A question belongs to its own file.
    table.pop("question", None)
    return table


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
