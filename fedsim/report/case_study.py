"""The case study's accuracies and verdicts, for a terminal and as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedsim.report.picture import write_picture

__all__ = ["case_study_figure", "case_study_report"]

_STYLES = {"holds": "green", "does not hold": "red"}


def case_study_report(study: Mapping[str, Any], labels: Mapping[str, str]) -> RenderableType:
    """Two tables: accuracy at the end of each run, and the claims.

    Parameters
    ----------
    study : mapping
        What ``findings.json`` holds.
    labels : mapping
        Words for each series.
    """
    accuracy = Table(title="Accuracy at the last round", title_justify="left", box=None)
    for name in ("series", "value", "rounds", "mean of seeds", "of each"):
        accuracy.add_column(name, justify="left" if name in ("series", "of each") else "right")
    for point in study["points"]:
        found = point["accuracy"].values()
        accuracy.add_row(
            f"{point['series']}: {labels.get(point['series'], '')}",
            f"{point['value']:,}",
            str(point["rounds"]),
            f"{fmean(found):.1%}",
            ", ".join(f"{one:.1%}" for one in found),
        )
    claims = Table(title="The article's claims on accuracy", title_justify="left", box=None)
    for name in ("verdict", "claim", "evidence"):
        claims.add_column(name)
    for finding in study["findings"]:
        verdict = finding["verdict"]
        claims.add_row(
            Text(verdict, style=_STYLES.get(verdict, "dim")), finding["claim"], finding["evidence"]
        )
    return Group(accuracy, Text(), claims)


def case_study_figure(
    points: Sequence[Mapping[str, Any]], labels: Mapping[str, str], weights: str, path: Path
) -> None:
    """Accuracy against what each series varies: the article's Fig. 3, from one's own runs.

    Parameters
    ----------
    points : sequence of mapping
        ``points`` of ``findings.json``.
    labels : mapping
        Words for each series.
    weights : str
        Which model and weights, for the title.
    path : Path
    """
    from matplotlib.figure import Figure

    series = list(dict.fromkeys(point["series"] for point in points))
    canvas = Figure(figsize=(4.0 * max(1, len(series)), 3.6), layout="constrained")
    axes = canvas.subplots(1, len(series), squeeze=False, sharey=True)[0]
    for ax, name in zip(axes, series, strict=True):
        own = sorted((p for p in points if p["series"] == name), key=lambda p: int(p["value"]))
        values = [p["value"] for p in own]
        seeds = [list(p["accuracy"].values()) for p in own]
        for value, found in zip(values, seeds, strict=True):
            ax.plot([value] * len(found), found, ".", color="0.5")
        ax.plot(values, [fmean(found) for found in seeds], "o-", color="#0072B2")
        ax.set_xscale("log")
        ax.set_xticks(values, [f"{value:,}" for value in values])
        ax.minorticks_off()
        ax.set_xlabel(labels.get(name, name))
        ax.set_title(name)
        ax.grid(visible=True, color="0.9")
    axes[0].set_ylabel("accuracy on the test set")
    axes[0].set_ylim(bottom=0.0)
    rounds = max((point["rounds"] for point in points), default=0)
    canvas.suptitle(f"{weights}; after {rounds} rounds; each seed a dot")
    write_picture(canvas, path)
