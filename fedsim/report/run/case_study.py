"""The case study's accuracies and verdicts, for a terminal and as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from scipy.stats import t as student

from fedsim.report.figure.picture import write_picture
from fedsim.units import format_bytes, format_flop

__all__ = [
    "SIDE_BY_SIDE",
    "case_study_figure",
    "case_study_report",
    "cost_figure",
    "side_by_side_rows",
]

_STYLES = {"holds": "green", "holds under conditions": "yellow", "does not hold": "red"}
_COLUMNS: Final = 4
#: Series that stand for the frameworks, and their names.
SIDE_BY_SIDE: Final = {"fedllm": "FedLLM", "kd": "KD-FedLLM", "split": "Split-FedLLM"}


def case_study_report(study: Mapping[str, Any], labels: Mapping[str, str]) -> RenderableType:
    """Accuracy at the end of each run, the frameworks side by side, and the claims.

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
    claims = Table(title="The article's claims", title_justify="left", box=None)
    for name in ("verdict", "claim", "evidence"):
        claims.add_column(name)
    for finding in study["findings"]:
        verdict = finding["verdict"]
        claims.add_row(
            Text(verdict, style=_STYLES.get(verdict, "dim")), finding["claim"], finding["evidence"]
        )
    heading = Text("Side by side: a client and round, r = 8 and the largest data", style="italic")
    return Group(accuracy, Text(), heading, _side_by_side(study), Text(), claims)


def side_by_side_rows(study: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """The article's Table I with measured figures where it has stars.

    Each framework with as much data as it was run with; FedLLM at the rank of the others.

    Parameters
    ----------
    study : mapping
        What ``findings.json`` holds.

    Returns
    -------
    list of str
        Keys of :data:`SIDE_BY_SIDE` that were run.
    list of tuple of str
        A metric, and a figure for each of them.
    """
    chosen = {name: _main_value(study, name) for name in SIDE_BY_SIDE}
    names = [name for name, value in chosen.items() if value is not None]
    points = {(p["series"], p["value"]): p for p in study["points"]}
    costs = {(c["series"], c["value"]): c for c in study["costs"]}
    own = [(name, chosen[name]) for name in names]
    rows = [
        ("accuracy", *(_accuracy(points[key]["accuracy"]) for key in own)),
        ("communication", *(format_bytes(costs[key]["exchanged_bytes"]) for key in own)),
        ("client computation", *(format_flop(costs[key]["client_flop"]) for key in own)),
        ("server computation", *(format_flop(costs[key]["server_flop"]) for key in own)),
    ]
    return names, rows


def _side_by_side(study: Mapping[str, Any]) -> Table:
    names, rows = side_by_side_rows(study)
    table = Table(box=None)
    table.add_column("metric")
    for name in names:
        table.add_column(SIDE_BY_SIDE[name], justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def _main_value(study: Mapping[str, Any], series: str) -> int | None:
    done = {c["value"] for c in study["costs"] if c["series"] == series}
    values = [p["value"] for p in study["points"] if p["series"] == series and p["value"] in done]
    if series == "fedllm" and 8 in values:
        return 8
    return max(values, default=None)


def _accuracy(by_seed: Mapping[str, float]) -> str:
    """Mean and 95 % interval over seeds (Student's t)."""
    found = list(by_seed.values())
    mean = fmean(found)
    if len(found) < 2:
        return f"{mean:.1%} (one seed)"
    half = float(student.ppf(0.975, len(found) - 1)) * stdev(found) / len(found) ** 0.5
    return f"{mean:.1%} ± {half:.1%}"


def cost_figure(costs: Sequence[Mapping[str, Any]], labels: Mapping[str, str], path: Path) -> None:
    """Communication and computation of a client and round: the article's Fig. 4.

    Parameters
    ----------
    costs : sequence of mapping
        ``costs`` of ``findings.json``.
    labels : mapping
        Words for each series.
    path : Path
    """
    from matplotlib.figure import Figure

    series = [name for name in SIDE_BY_SIDE if any(c["series"] == name for c in costs)]
    canvas = Figure(figsize=(4.0 * max(1, len(series)), 3.6), layout="constrained")
    left = None
    for place, name in enumerate(series):
        ax = canvas.add_subplot(1, len(series), place + 1, sharey=left)
        left = left or ax
        own = sorted((c for c in costs if c["series"] == name), key=lambda c: int(c["value"]))
        values = [c["value"] for c in own]
        ax.plot(values, [c["exchanged_bytes"] for c in own], "o-", color="#0072B2")
        ax.set(xscale="log", yscale="log", xlabel=labels.get(name, name), title=SIDE_BY_SIDE[name])
        ax.set_xticks(values, [f"{value:,}" for value in values])
        ax.minorticks_off()
        ax.grid(visible=True, color="0.9")
        other = ax.twinx()
        other.plot(values, [c["client_flop"] / 1e12 for c in own], "s--", color="#D55E00")
        other.set_ylim(0, 1.1e-12 * max(c["client_flop"] for c in costs))
        other.tick_params(axis="y", colors="#D55E00")
        if place == 0:
            ax.set_ylabel("bytes up and down", color="#0072B2")
        if place == len(series) - 1:
            other.set_ylabel("client's TFLOP", color="#D55E00")
    canvas.suptitle("a client and round: bytes that were sent, FLOP of what was run")
    write_picture(canvas, path)


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
    columns = max(1, min(len(series), _COLUMNS))
    rows = -(-len(series) // columns)
    canvas = Figure(figsize=(4.0 * columns, 3.4 * rows), layout="constrained")
    axes = canvas.subplots(rows, columns, squeeze=False, sharey=True)
    for ax in axes.flat[len(series) :]:
        ax.set_visible(False)
    for ax, name in zip(axes.flat, series, strict=False):
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
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy on the test set")
    axes[0, 0].set_ylim(bottom=0.0)
    rounds = max((point["rounds"] for point in points), default=0)
    canvas.suptitle(f"{weights}; after {rounds} rounds; each seed a dot")
    write_picture(canvas, path)
