"""Communication against computation of a client and round: the article's Fig. 4 as one picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fedsim.comparison.result import Result, framework_label, results_of
from fedsim.report.figure.picture import write_picture

__all__ = ["cost_figure"]

#: Okabe and Ito's palette, which color-blind readers can tell apart (jfly.uni-koeln.de/color).
_COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
#: Points beyond this many are drawn and not labeled.
_MAX_LABELS: Final = 40


def cost_figure(scenarios: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw all results and write the picture.

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

    Notes
    -----
    Both axes are counts and exact, so there are no error bars. Means over clients where classes
    differ. Infeasible results are drawn hollow.
    """
    from matplotlib.figure import Figure

    groups = [results_of(scenario) for scenario in scenarios]
    results = [result for group in groups for result in group]
    canvas = Figure(figsize=(8.5, 5.5), layout="constrained")
    axes = canvas.add_subplot()
    for index, framework in enumerate(dict.fromkeys(result.framework for result in results)):
        own = [[r for r in group if r.framework == framework] for group in groups]
        _draw_framework(axes, own, index, has_labels=len(results) <= _MAX_LABELS)
    if not all(result.is_feasible for result in results):
        axes.scatter([], [], marker="o", facecolors="white", edgecolors="0.4", label="infeasible")
    _dress(axes, results, scenarios)
    write_picture(canvas, path)


def _draw_framework(axes: Any, groups: list[list[Result]], index: int, *, has_labels: bool) -> None:
    color, marker = _COLORS[index % len(_COLORS)], _MARKERS[index % len(_MARKERS)]
    results = [result for group in groups for result in group]
    for group in groups:
        # Only the points of one sweep are joined.
        for case in dict.fromkeys(result.case for result in group):
            sweep = [_point(result) for result in group if result.case == case]
            axes.plot(*zip(*sweep, strict=True), color=color, linewidth=1, alpha=0.4, zorder=1)
    x, y = zip(*(_point(result) for result in results), strict=True)
    axes.scatter(
        x,
        y,
        s=42,
        marker=marker,
        edgecolors=color,
        facecolors=[color if r.is_feasible else "white" for r in results],
        label=_legend(results),
        zorder=2,
    )
    for result in results if has_labels else ():
        axes.annotate(
            _label(result),
            _point(result),
            # Below and to the right: the next point of a sweep is above, or above and to the right.
            xytext=(6, -9),
            textcoords="offset points",
            fontsize=7.5,
            color=color,
            # A dollar sign in a name is no formula.
            parse_math=False,
        )


def _point(result: Result) -> tuple[float, float]:
    """TFLOP and MB of a client and round."""
    return result.client_flop / 1e12, result.exchanged_bytes / 1e6


def _legend(results: list[Result]) -> str:
    """The framework with the keys that its points' labels are values of."""
    keys = dict.fromkeys(
        ", ".join(key.rpartition(".")[2] for key in r.axes) for r in results if r.axes
    )
    label = framework_label(results[0].framework)
    return f"{label}, by {' / '.join(keys)}" if keys else label


def _label(result: Result) -> str:
    return ", ".join(map(str, result.axes.values())) or result.name


def _dress(axes: Any, results: list[Result], scenarios: Sequence[Mapping[str, Any]]) -> None:
    if any(r.exchanged_bytes > 0 for r in results):
        axes.set_yscale("log")
    x = [r.client_flop for r in results]
    if min(x) > 0 and max(x) / min(x) > 30:
        axes.set_xscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,g}")
    axes.set_xlabel("computation of a client and round [TFLOP]")
    axes.set_ylabel("communication of a client and round, up + down [MB]")
    questions = dict.fromkeys(str(scenario["question"]) for scenario in scenarios)
    lines = [textwrap.fill(question, 90) for question in questions]
    axes.set_title("\n".join(lines), fontsize=11, parse_math=False)
    axes.grid(visible=True, which="major", color="0.9")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.margins(0.08)
    axes.legend(frameon=False)
