"""No two modules need each other: who reads one from the top down never comes back to it."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import grimp
import pytest

import fedsim

ROOT = Path(fedsim.__file__).parents[1]


def circle_of(needs: dict[str, set[str]]) -> list[str]:
    """Modules that need each other in a ring, the first one again at the end; or none."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_import_circle() -> None:
    """Imports for type checkers count too: a circle of them is a circle of ideas."""
    graph = grimp.build_graph("fedsim", cache_dir=None)
    needs = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(needs) > 300
    assert circle_of(needs) == []


def test_a_circle_is_found() -> None:
    """Of three modules, with one that stands aside."""
    ring = circle_of({"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": set()})
    assert set(ring) == {"a", "b", "c"}
    assert ring[0] == ring[-1]


def test_the_layers_that_the_manual_draws_are_those_that_are_checked() -> None:
    """``docs/design.md`` and ``pyproject.toml`` name the same floors in the same order."""
    drawn = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    drawn = drawn.split("```text\n")[1].split("```")[0]
    checked = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    checked = checked.split("layers = [")[1].split("]")[0]
    floors = [line.strip().strip('",') for line in checked.splitlines() if line.strip()]
    assert drawn.splitlines() == floors[floors.index("__main__") + 1 :]


def test_every_room_is_in_the_manual_and_no_other() -> None:
    """``docs/design.md`` names each package, once."""
    manual = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    table = manual.split("## The rooms\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| `([\w.]+)` \|", table, flags=re.MULTILINE)
    there = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "fedsim").rglob("__init__.py")
    }
    assert len(there) > 30
    assert len(named) == len(set(named))
    assert set(named) == there


def test_our_words_are_those_of_the_code() -> None:
    """``docs/nomenclature.md``: each name can be imported from where it is said to be."""
    pytest.importorskip("torch")  # some of them are of real runs
    manual = (ROOT / "docs/nomenclature.md").read_text(encoding="utf-8")
    table = manual.split("## Our words\n")[1].split("\n## ")[0]
    rows = re.findall(
        r"^\| [^|]+ \| [^|]+ \| (`[^|]+`) \| `([\w.]+)` \|$", table, flags=re.MULTILINE
    )
    assert len(rows) > 30
    missing = [
        f"{where}.{name}"
        for names, where in rows
        for name in re.findall(r"`(\w+)`", names)
        if not hasattr(import_module(where), name)
    ]
    assert missing == []
