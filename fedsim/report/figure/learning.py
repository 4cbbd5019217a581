"""Learning curves with their laws: one panel for each framework."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from fedsim.comparison.result import framework_label
from fedsim.learning import Curves, Laws
from fedsim.learning.curves import CurveGroup
from fedsim.learning.law import LearningLaw
from fedsim.report.figure.picture import write_picture

__all__ = ["learning_figure"]

_COLUMNS: Final = 3
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")


def learning_figure(curves: Curves, laws: Laws | None, path: Path) -> None:
    """Draw every run as points, and each configuration's own law with its 95 % interval.

    Parameters
    ----------
    curves : Curves
    laws : Laws or None
    path : Path
        PNG or SVG.
    """
    from matplotlib.figure import Figure

    num = len(curves.groups)
    columns = min(num, _COLUMNS)
    rows = -(-num // columns)
    drawing = Figure(figsize=(4.6 * columns, 3.8 * rows), layout="constrained")
    for number, group in enumerate(curves.groups):
        axes = drawing.add_subplot(rows, columns, number + 1)
        for color, runs in zip(_COLORS * 9, group.configurations().values(), strict=False):
            for run in runs:
                axes.plot(run.rounds, run.accuracy, ".", color=color, markersize=3, alpha=0.6)
            label = _label(group, runs[0].covariates)
            law = None if laws is None else _own_law(laws, group, runs[0].covariates)
            if law is None:
                axes.plot([], [], ".", color=color, label=label)
                continue
            if law.measured[0].is_at_chance:
                label += " (at chance)"
            _draw(axes, law, color, label)
        axes.set_title("\n".join((framework_label(group.framework), curves.own_conditions(group))))
        axes.set_xlabel("rounds")
        axes.set_ylabel("accuracy on the test set")
        axes.set_ylim(bottom=0.0)
        axes.grid(visible=True, color="0.9")
        axes.legend(frameon=False, fontsize="small")
    write_picture(drawing, path)


def _own_law(laws: Laws, group: CurveGroup, covariates: Mapping[str, float]) -> LearningLaw | None:
    """That of just this configuration: one of others would be drawn over dots that it left out."""
    return next(
        (
            law
            for law in laws.laws
            if law.framework == group.framework
            and law.conditions == group.conditions
            and not law.covariates
            and law.fixed == covariates
        ),
        None,
    )


def _draw(axes: Any, law: LearningLaw, color: str, label: str) -> None:
    """As far as it answers: dashed beyond the rounds that were measured."""
    rounds = np.linspace(0.0, law.farthest, 60)
    found = [law.accuracy(float(t), extrapolates=False, **law.fixed) for t in rounds]
    means = np.array([one.mean or 0.0 for one in found])
    is_measured = rounds <= law.last_round
    axes.plot(rounds[is_measured], means[is_measured], color=color, label=label)
    axes.plot(rounds[~is_measured], means[~is_measured], color=color, linestyle="--", linewidth=1)
    if found[0].low is not None:
        low, high = [one.low or 0.0 for one in found], [one.high or 0.0 for one in found]
        axes.fill_between(rounds, low, high, color=color, alpha=0.12, linewidth=0)


def _label(group: CurveGroup, covariates: dict[str, float]) -> str:
    varied = [name for name, (low, high) in group.ranges().items() if high > low]
    return ", ".join(f"{name} = {covariates[name]:g}" for name in varied) or "all runs"
