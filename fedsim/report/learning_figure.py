"""Learning curves with their laws: one panel for each framework."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from fedsim.comparison.result import framework_label
from fedsim.learning import Curves, Laws
from fedsim.learning.curves import CurveGroup
from fedsim.learning.law import LearningLaw
from fedsim.report.picture import write_picture

__all__ = ["learning_figure"]

_COLUMNS: Final = 3
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")


def learning_figure(curves: Curves, laws: Laws | None, path: Path) -> None:
    """Draw every run as points, and the law of each configuration with its 95 % interval.

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
        law = None
        if laws is not None:
            law = next((one for one in laws.laws if _is_same(one, group)), None)
        for color, runs in zip(_COLORS * 9, group.configurations().values(), strict=False):
            for run in runs:
                axes.plot(run.rounds, run.accuracy, ".", color=color, markersize=3, alpha=0.6)
            label = _label(group, runs[0].covariates)
            if law is None:
                axes.plot([], [], ".", color=color, label=label)
                continue
            rounds = np.linspace(0.0, group.last_round, 60)
            found = [law.accuracy(float(t), **runs[0].covariates) for t in rounds]
            axes.plot(rounds, [p.mean or 0.0 for p in found], color=color, label=label)
            low, high = [p.low or 0.0 for p in found], [p.high or 0.0 for p in found]
            axes.fill_between(rounds, low, high, color=color, alpha=0.12, linewidth=0)
        axes.set_title(
            "\n".join((framework_label(group.framework), _own_conditions(group, curves)))
        )
        axes.set_xlabel("rounds")
        axes.set_ylabel("accuracy on the test set")
        axes.set_ylim(bottom=0.0)
        axes.grid(visible=True, color="0.9")
        axes.legend(frameon=False, fontsize="small")
    write_picture(drawing, path)


def _own_conditions(group: CurveGroup, curves: Curves) -> str:
    """What tells a group from others of its framework."""
    others = [g for g in curves.groups if g.framework == group.framework and g is not group]
    names = [
        name
        for name, value in group.conditions.items()
        if any(other.conditions.get(name) != value for other in others)
    ]
    return ", ".join(f"{name} = {group.conditions[name]}" for name in names)


def _is_same(law: LearningLaw, group: CurveGroup) -> bool:
    return law.framework == group.framework and law.conditions == group.conditions


def _label(group: CurveGroup, covariates: dict[str, float]) -> str:
    varied = [name for name, (low, high) in group.ranges().items() if high > low]
    return ", ".join(f"{name} = {covariates[name]:g}" for name in varied) or "all runs"
