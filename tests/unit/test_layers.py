"""No two modules need each other: who reads one from the top down never comes back to it."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

import fedsim


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
    root = Path(fedsim.__file__).parents[1]
    drawn = (root / "docs/design.md").read_text(encoding="utf-8")
    drawn = drawn.split("```text\n")[1].split("```")[0]
    checked = (root / "pyproject.toml").read_text(encoding="utf-8")
    checked = checked.split("layers = [")[1].split("]")[0]
    floors = [line.strip().strip('",') for line in checked.splitlines() if line.strip()]
    assert drawn.splitlines() == floors[floors.index("__main__") + 1 :]
