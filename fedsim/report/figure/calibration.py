"""A calibration as a picture: predicted against measured, residuals, coverage."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from fedsim.calibration.run import Calibration
from fedsim.calibration.shape import COPY_PHASES, PHASES, regime_of
from fedsim.calibration.validation import Validation
from fedsim.report.figure.picture import write_picture

__all__ = ["draw_calibration"]

#: Okabe and Ito's palette.
_COLORS: Final = {
    "model": "#0072B2",
    "parameters": "#D55E00",
    "message": "#009E73",
    "codec": "#CC79A7",
}
_LABELS: Final = {
    "model": "passes over the model",
    "parameters": "averages, replacements",
    "message": "messages",
    "codec": "encoding, decoding",
}


def draw_calibration(result: Calibration, path: Path) -> None:
    """Draw one row of panels a number format and write the picture.

    Raises
    ------
    ScenarioError
        If it cannot be written.

    Notes
    -----
    All points are predicted without their configuration. Left: predicted against measured; middle:
    residuals by phase with the 95 % interval; right: share of points that an interval of a given
    nominal level covers, against that level.
    """
    from matplotlib.figure import Figure

    count = len(result.validations)
    canvas = Figure(figsize=(15, 4.6 * count), layout="constrained")
    rows = canvas.subplots(count, 3, squeeze=False)
    for axes, validation in zip(rows, result.validations.values(), strict=True):
        _scatter(axes[0], validation)
        _residuals(axes[1], validation)
        _coverage(axes[2], validation)
    file = result.profile.file
    canvas.suptitle(
        f"{file.name}: {file.machine.processor}, {file.provenance.date}; "
        "every point predicted without its configuration"
    )
    write_picture(canvas, path)


def _scatter(axes: Any, v: Validation) -> None:
    regimes = np.array([regime_of(point.phase) for point in v.points])
    for regime, color in _COLORS.items():
        chosen = regimes == regime
        if chosen.any():
            axes.scatter(
                v.seconds[chosen], v.predicted[chosen], s=9, color=color, label=_LABELS[regime]
            )
    low, high = v.seconds.min() * 0.7, v.seconds.max() * 1.4
    axes.plot([low, high], [low, high], color="0.3", linewidth=0.8)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(low, high),
        ylim=(low, high),
        xlabel="measured [s]",
        ylabel="predicted [s]",
        title=f"{v.precision}: {v.num_shapes} configurations",
    )
    axes.legend(frameon=False)


def _residuals(axes: Any, v: Validation) -> None:
    phases = [phase for phase in (*PHASES, *COPY_PHASES) if any(p.phase == phase for p in v.points)]
    errors = v.predicted / v.seconds - 1.0
    for place, phase in enumerate(phases):
        own = np.array([e for e, p in zip(errors, v.points, strict=True) if p.phase == phase])
        color = _COLORS[regime_of(phase)]
        offsets = np.linspace(-0.3, 0.3, len(own))
        axes.scatter(place + offsets, 100 * own, s=8, color=color)
        axes.plot([place - 0.35, place + 0.35], [100 * np.median(own)] * 2, color="black")
        factor = v.interval_95[regime_of(phase)]
        axes.fill_between(
            [place - 0.4, place + 0.4],
            100 * (1 / factor - 1),
            100 * (factor - 1),
            color=color,
            alpha=0.12,
            linewidth=0,
        )
    axes.axhline(0, color="0.3", linewidth=0.8)
    labels = [phase.replace("_", " ") for phase in phases]
    axes.set_xticks(range(len(phases)), labels, fontsize=7, rotation=35, ha="right")
    axes.set(
        ylabel="predicted / measured - 1 [%]",
        title="residuals, medians, 95 % intervals",
        ylim=(-60, 100),
    )


def _coverage(axes: Any, v: Validation) -> None:
    levels = np.linspace(0.05, 0.99, 48)
    log_ratios = np.abs(np.log(v.seconds / np.maximum(v.predicted, 1e-12)))
    regimes = np.array([regime_of(point.phase) for point in v.points])
    shapes = np.array([point.shape.name for point in v.points])
    for regime, color in _COLORS.items():
        chosen = regimes == regime
        names = sorted(set(shapes[chosen].tolist()))
        if len(names) < 2:
            continue
        covered = np.zeros(len(levels))
        for name in names:
            inside = chosen & (shapes == name)
            limits = np.quantile(log_ratios[chosen & (shapes != name)], levels)
            covered += (log_ratios[inside][:, None] <= limits).sum(axis=0)
        axes.plot(levels, covered / chosen.sum(), color=color, label=_LABELS[regime])
    axes.plot([0, 1], [0, 1], color="0.3", linewidth=0.8)
    axes.set(
        xlabel="nominal level of the interval",
        ylabel="share of held-out points covered",
        title="coverage",
        xlim=(0, 1),
        ylim=(0, 1),
    )
