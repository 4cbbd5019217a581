"""Scenarios by hand, put to the program as a user would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedsim.scenario import run_scenario
from oracles.by_hand import Scenario

__all__ = ["answered", "time_difference"]


def answered(
    scenario: Scenario, engine: str, folder: Path, sets: Sequence[str] = ()
) -> dict[str, Any]:
    """The one result of the scenario's file, which is written into a folder."""
    # Of the scenario with a trace: a quarter of the rate from 5 s on.
    (folder / "trace.csv").write_text("time_s,factor\n0,1\n5,0.25\n", encoding="utf-8")
    path = folder / "scenario.toml"
    path.write_text(scenario.toml, encoding="utf-8")
    # A relative path on the command line would start at the current folder.
    given = [s.replace("link.trace=", f"link.trace={folder}/") for s in (*scenario.sets, *sets)]
    (result,) = run_scenario(path, given, engine=engine).results
    return result


def time_difference(scenario: Scenario, answer: dict[str, Any]) -> float:
    """Of the end of the last round, relative."""
    return float(abs(answer["makespan_s"]["mean"] / scenario.seconds - 1))
