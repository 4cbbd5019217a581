"""The picture of an answer: the one that shows what its results differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedsim.comparison.result import results_of
from fedsim.report.figure.cost import cost_figure
from fedsim.report.figure.time import time_figure

__all__ = ["figure"]


def figure(scenarios: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw all results and write the picture.

    Where simulated clients wait (for each other, for the server, for the night), the question is
    one of time, and time is drawn; else communication against computation.

    Parameters
    ----------
    scenarios : sequence of mapping
        Entries of ``scenarios`` in the JSON.
    path : Path
        ``.png`` or ``.svg``.

    Raises
    ------
    ScenarioError
        If it cannot be written.
    """
    results = [result for scenario in scenarios for result in results_of(scenario)]
    if any(result.is_simulated and result.waits for result in results):
        time_figure(scenarios, path)
    else:
        cost_figure(scenarios, path)
