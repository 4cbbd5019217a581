"""``--set``: single keys from the command line or a program, on top of a file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from fedsim.errors import ScenarioError, nearest
from fedsim.scenario.file.merge import CLASS_KEY, NAMED_TABLES, key_path, merged, nested
from fedsim.scenario.file.mistake import key_names, refusal, shown, table_type
from fedsim.scenario.file.plain import plain_value
from fedsim.scenario.file.schedule_table import unknown_schedule_key
from fedsim.scenario.file.settings import ScenarioFile
from fedsim.spec.model_catalogue import model_names

__all__ = ["Overrides", "absolute", "overridden", "parse_override"]

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
#: ``key=value`` texts, or keys with their values.
Overrides = Iterable[str] | Mapping[str, Any]


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
            value = absolute(Path(), key, value)
            table = merged(table, nested(key, value))
        except ScenarioError as error:
            lines.append(str(error))
            continue
        values[key] = value
    if lines:
        raise refusal(lines)
    return table, values


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
    if not equals or not (_KEY.fullmatch(key) or CLASS_KEY.fullmatch(key)):
        raise ScenarioError(f"{where}: write key=value, for example --set lora.r=4.")
    _check_key(key, where)
    return key, _value(value, where)


def _checked_override(key: object, value: Any) -> tuple[str, Any]:
    """A key and its value as a program gives them, where the command has text."""
    where = f"--set {shown(str(key))[1:-1]}"
    if not isinstance(key, str) or not (_KEY.fullmatch(key) or CLASS_KEY.fullmatch(key)):
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
    is_table = table_type(ScenarioFile, (first,)) is not None and first not in NAMED_TABLES
    if is_table and "." not in key:
        raise ScenarioError(f"{where}: [{first}] is a table; name a key of it: {first}.KEY=VALUE.")


def absolute(folder: Path, key: str, value: Any) -> Any:
    """A value with relative paths in it starting at ``folder``, where the key names a file."""
    if isinstance(value, Mapping):
        inner = f"{key}." if key else ""
        return {name: absolute(folder, f"{inner}{name}", each) for name, each in value.items()}
    if isinstance(value, list):
        return [absolute(folder, key, each) for each in value]
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
