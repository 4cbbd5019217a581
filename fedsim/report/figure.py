"""Communication against computation of a client and round: the article's Fig. 4 as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fedsim.report.answer import Result, framework_label, results_of
from fedsim.report.picture import write_picture

__all__ = ["figure"]

#: Okabe and Ito's palette, which color-blind readers can tell apart (jfly.uni-koeln.de/color).
_COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
#: Points beyond this many are drawn and not labeled.
_MAX_LABELS: Final = 40


def figure(scenarios: Sequence[Mapping[str, Any]], path: Path) -> None:
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

    results = [result for scenario in scenarios for result in results_of(scenario)]
    canvas = Figure(figsize=(8.5, 5.5), layout="constrained")
    axes = canvas.add_subplot()
    frameworks = list(dict.fromkeys(result.framework for result in results))
    for index, framework in enumerate(frameworks):
        own = [result for result in results if result.framework == framework]
        _draw_framework(axes, own, index)
    _label_points(axes, results, frameworks)
    _dress(axes, results, scenarios)
    write_picture(canvas, path)


def _draw_framework(axes: Any, results: list[Result], index: int) -> None:
    color = _COLORS[index % len(_COLORS)]
    ordered = sorted(results, key=lambda r: (r.client_flop, r.exchanged_bytes))
    x = [r.client_flop / 1e12 for r in ordered]
    y = [r.exchanged_bytes / 1e6 for r in ordered]
    axes.plot(x, y, color=color, linewidth=1, alpha=0.4, zorder=1)
    axes.scatter(
        x,
        y,
        s=42,
        marker=_MARKERS[index % len(_MARKERS)],
        edgecolors=color,
        facecolors=[color if r.is_feasible else "white" for r in ordered],
        label=framework_label(ordered[0].framework),
        zorder=2,
    )
    if not all(r.is_feasible for r in ordered):
        axes.scatter([], [], marker="o", facecolors="white", edgecolors="0.4", label="infeasible")


def _label_points(axes: Any, results: list[Result], frameworks: list[str]) -> None:
    if len(results) > _MAX_LABELS:
        return
    for result in results:
        color = _COLORS[frameworks.index(result.framework) % len(_COLORS)]
        axes.annotate(
            _short_name(result, results),
            (result.client_flop / 1e12, result.exchanged_bytes / 1e6),
            # Below and to the right: the next point of a sweep is above, or above and to the right.
            xytext=(6, -9),
            textcoords="offset points",
            fontsize=7.5,
            color=color,
        )


def _short_name(result: Result, results: list[Result]) -> str:
    """The swept value alone where its first point says what it is."""
    case, _, values = result.name.partition(" ")
    if not values:
        return case
    first = next(r for r in results if r.name.partition(" ")[0] == case)
    return values if result is first or "," in values else values.rpartition("=")[2]


def _dress(axes: Any, results: list[Result], scenarios: Sequence[Mapping[str, Any]]) -> None:
    axes.set_yscale("log")
    x = [r.client_flop for r in results]
    if min(x) > 0 and max(x) / min(x) > 30:
        axes.set_xscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,g}")
    axes.set_xlabel("computation of a client and round [TFLOP]")
    axes.set_ylabel("communication of a client and round, up + down [MB]")
    axes.set_title(
        "\n".join(dict.fromkeys(str(s["question"]) for s in scenarios)), fontsize=11, wrap=True
    )
    axes.grid(visible=True, which="major", color="0.9")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.margins(0.08)
    axes.legend(frameon=False)
