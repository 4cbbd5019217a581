"""Make the study's runs one after the other, and what follows from those that are done.

Each run is a folder of ``fedsim train``; a study that was interrupted goes on where it stood, and
``curves.json``, ``laws.json`` and ``findings.json`` are of all runs that are done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedsim.learning import Curves, Laws, curves_hash, group_laws, write_curves, write_laws
from fedsim.scenario.file.output import write_text
from fedsim.study.case_study.costs import cost_findings, cost_points
from fedsim.study.case_study.findings import Finding, SeriesPoint, findings
from fedsim.study.case_study.plan import StudyRun
from fedsim.text_file import read_text
from fedsim.training.collect import collect_curves
from fedsim.training.file import TrainingDocument
from fedsim.training.folder import SUMMARY
from fedsim.training.run import Observer, run_training
from fedsim.training.setup import TrainingSetup

__all__ = ["finish_study", "run_study", "study_points"]


def run_study(
    runs: Sequence[StudyRun],
    out: Path,
    observer: Observer,
    *,
    data_dir: Path | None,
    command: str,
) -> None:
    """Train what is not trained yet.

    Raises
    ------
    ScenarioError
        As :func:`fedsim.training.run.run_training` does; what was done stays.
    """
    for run in runs:
        setup = TrainingSetup(TrainingDocument.of(run.name, out, run.table), data_dir)
        observer.on_note(run.name)
        run_training(setup, out / run.name, observer, is_fresh=False, command=command)


def study_points(runs: Sequence[StudyRun], out: Path) -> list[SeriesPoint]:
    """Accuracy at the last round of every run that is done."""
    points = []
    for run in runs:
        path = out / run.name / SUMMARY
        if not path.is_file():
            continue
        summary: dict[str, Any] = json.loads(read_text(path))
        accuracy = {
            found["seed"]: float(found["final"]["global"]["accuracy"]) for found in summary["runs"]
        }
        rounds = min(found["num_rounds"] for found in summary["runs"])
        points.append(SeriesPoint(run.series, run.value, rounds, accuracy))
    return points


def finish_study(
    runs: Sequence[StudyRun], out: Path, command: str
) -> tuple[Curves, Laws, list[SeriesPoint], list[Finding]]:
    """Collect the curves, fit their laws and judge the claims; writes all three."""
    done = [out / run.name for run in runs if (out / run.name / SUMMARY).is_file()]
    today = datetime.now(tz=UTC).date().isoformat()
    curves = collect_curves(done, {"command": command, "date": today})
    write_curves(curves, out / "curves.json")
    laws = Laws(
        tuple(law for group in curves.groups for law in group_laws(group)),
        curves.provenance,
        curves_hash(out / "curves.json"),
    )
    write_laws(laws, out / "laws.json")
    points = study_points(runs, out)
    costs = cost_points(runs, out)
    found = [*findings(points, curves.groups[0].chance), *cost_findings(costs)]
    text = json.dumps(
        {
            "schema": 1,
            "provenance": curves.provenance,
            "points": [asdict(point) for point in points],
            "costs": [asdict(cost) for cost in costs],
            "findings": [asdict(finding) for finding in found],
        },
        indent=1,
    )
    write_text(out / "findings.json", text + "\n")
    return curves, laws, points, found
