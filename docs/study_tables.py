"""The shipped study of learning curves as Markdown: accuracies, frameworks side by side, verdicts.

Everything is read from ``findings.json`` beside the shipped curves, so a page can be no newer or
older than what was measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from statistics import fmean
from typing import Any

from fedsim.report.run.case_study import SIDE_BY_SIDE, side_by_side_rows
from fedsim.resources import resource_dir
from fedsim.study.case_study.plan import SERIES

__all__ = ["claim_table", "point_table", "side_by_side_table"]


def point_table() -> str:
    """Accuracy at the last round of every run."""
    rows = [
        (
            f"`{point['series']}`",
            SERIES[point["series"]][2],
            f"{point['value']:,}",
            str(point["rounds"]),
            f"{fmean(point['accuracy'].values()):.1%}",
            ", ".join(f"{one:.1%}" for one in point["accuracy"].values()),
        )
        for point in _study()["points"]
    ]
    return _table(("series", "varied", "value", "rounds", "mean accuracy", "of each seed"), rows)


def side_by_side_table() -> str:
    """The article's Table I with measured figures."""
    names, rows = side_by_side_rows(_study())
    return _table(("metric", *(SIDE_BY_SIDE[name] for name in names)), rows)


def claim_table() -> str:
    """The article's claims and their fate."""
    rows = [(f["verdict"], f["claim"], f["evidence"]) for f in _study()["findings"]]
    return _table(("verdict", "claim", "evidence"), rows)


def _table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


@cache
def _study() -> Mapping[str, Any]:
    path = resource_dir("calibrate") / "cpu-2-threads" / "learning" / "findings.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
