"""Read a TOML file: the file, what it extends, and ``--set`` on top of both.

What the keys mean is not known here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from fedsim.errors import FedsimError, ScenarioError, nearest
from fedsim.protocol import Framework
from fedsim.resources import resource_dir
from fedsim.scenario.file.merge import merged, nested
from fedsim.scenario.file.mistake import Mistake, shown
from fedsim.scenario.file.override import Overrides, absolute, overridden
from fedsim.scenario.file.plain import DICT_NAME, plain_table
from fedsim.text_file import read_text

__all__ = [
    "Document",
    "Source",
    "in_another_world",
    "read_document",
    "read_toml",
    "scenario_names",
]

_MAX_FILE_BYTES: Final = 1_000_000

#: A path, the name of what ships, or a table of one's own.
Source = str | Mapping[str, Any]


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
    moved: dict[str, Any] = absolute(parent_path.parent, "", below)
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
