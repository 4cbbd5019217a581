"""Where the time goes: bars of its parts for single results, lines along a swept number."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fedsim.comparison.result import Result, results_of
from fedsim.report.figure.picture import write_picture
from fedsim.units import SECONDS, format_seconds

__all__ = ["time_figure"]

#: Okabe and Ito's palette, which color-blind readers can tell apart (jfly.uni-koeln.de/color).
_PARTS: Final = {
    "compute": ("computing", "#0072B2"),
    "transfer": ("sending and receiving", "#E69F00"),
    "wait": ("waiting", "#B0B0B0"),
}
_LINES: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
#: More bars than this are not a picture that anyone reads.
_MAX_BARS: Final = 40
#: A line needs as many points.
_LEAST_POINTS: Final = 3
#: Swept values that have room on the axis, each with its label.
_MAX_TICKS: Final = 10
#: Values that spread by more than this factor are drawn on a logarithmic axis.
_LOG_FROM: Final = 10


def time_figure(scenarios: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the time of all results and write the picture.

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
    Where every case sweeps the same number, lines show one round along it: with waiting (solid,
    with its 95 % interval) and what it would take without (dashed). Else there is a bar a result:
    all rounds, by what the time goes to, with the 95 % interval of the sum.
    """
    from matplotlib.figure import Figure

    results = [result for scenario in scenarios for result in results_of(scenario)]
    key = _swept_number(results)
    height = 5.0 if key else 1.8 + 0.32 * min(len(results), _MAX_BARS + 1)
    canvas = Figure(figsize=(8.5, height), layout="constrained")
    axes = canvas.add_subplot()
    if key:
        _draw_lines(axes, results, key)
    else:
        _draw_bars(axes, canvas, results)
    questions = dict.fromkeys(str(scenario["question"]) for scenario in scenarios)
    lines = [textwrap.fill(question, 90) for question in questions]
    axes.set_title("\n".join(lines), fontsize=11, parse_math=False)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    write_picture(canvas, path)


def _swept_number(results: Sequence[Result]) -> str:
    """The key of a number that every case sweeps, and nothing else; empty if there is none."""
    keys = {tuple(result.axes) for result in results}
    if len(keys) != 1 or len(next(iter(keys))) != 1:
        return ""
    key = next(iter(keys))[0]
    if not all(_is_number(result.axes[key]) for result in results):
        return ""
    fewest = min(len({r.axes[key] for r in results if r.case == result.case}) for result in results)
    return key if fewest >= _LEAST_POINTS else ""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _draw_lines(axes: Any, results: Sequence[Result], key: str) -> None:
    feasible = [result for result in results if result.is_comparable]
    times = [result.round_time["mean"] for result in feasible]
    # On a logarithmic axis the least has to be read as well.
    unit_s, unit = _unit((min if _spreads(times) else max)(times, default=0.0))
    cases = list(dict.fromkeys(result.case for result in results))
    for index, case in enumerate(cases):
        own = sorted((float(r.axes[key]), r.round_time) for r in feasible if r.case == case)
        color = _LINES[index % len(_LINES)]
        x = [value for value, _ in own]
        axes.plot(
            x,
            [time["mean"] / unit_s for _, time in own],
            color=color,
            marker=_MARKERS[index % len(_MARKERS)],
            label=case,
        )
        axes.plot(
            x,
            [(time["compute"] + time["transfer"]) / unit_s for _, time in own],
            color=color,
            linestyle="--",
            linewidth=1,
        )
        axes.fill_between(
            x,
            [time["low"] / unit_s for _, time in own],
            [_high(time) / unit_s for _, time in own],
            color=color,
            alpha=0.15,
            linewidth=0,
        )
    axes.plot([], [], color="0.3", linestyle="--", linewidth=1, label="without waiting")
    axes.fill_between([], [], [], color="0.3", alpha=0.15, linewidth=0, label="95 % interval")
    values = sorted({float(result.axes[key]) for result in results})
    _scale(axes.set_xscale, axes.xaxis, values)
    if len(values) <= _MAX_TICKS:
        axes.set_xticks(values)
        axes.minorticks_off()
    _scale(axes.set_yscale, axes.yaxis, times)
    axes.set_xlabel(key.rpartition(".")[2].replace("num_", "number of ").replace("_", " "))
    axes.set_ylabel(f"time of a round [{unit}]")
    axes.grid(visible=True, which="major", color="0.9")
    axes.legend(frameon=False)


def _spreads(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) / min(values) > _LOG_FROM


def _scale(set_scale: Any, axis: Any, values: Sequence[float]) -> None:
    if _spreads(values):
        set_scale("log")
    axis.set_major_formatter("{x:,g}")


def _draw_bars(axes: Any, canvas: Any, results: Sequence[Result]) -> None:
    shown = results[:_MAX_BARS]
    unit_s, unit = _unit(max((_total_s(r) for r in shown if r.is_comparable), default=0.0))
    for row, result in enumerate(shown):
        if not result.is_comparable:
            axes.text(0, row, f" {result.status}", va="center", fontsize=8, color="#D55E00")
            continue
        _draw_bar(axes, row, result, unit_s)
    names = [result.name for result in shown]
    if len(results) > len(shown):
        names.append(f"... and {len(results) - len(shown)} more")
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    # Room for the figures at the bars' ends.
    most = max((_high(r.table["makespan_s"]) for r in shown if r.is_comparable), default=0.0)
    axes.set_xlim(0, 1.15 * most / unit_s or 1.0)
    rounds = {result.table["num_rounds"] for result in shown}
    what = f"{rounds.pop():,} rounds" if len(rounds) == 1 else "all rounds"
    axes.set_xlabel(f"time of {what}, with its 95 % interval [{unit}]")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.grid(visible=True, axis="x", color="0.9")
    canvas.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)


def _draw_bar(axes: Any, row: int, result: Result, unit_s: float) -> None:
    total_s, left = _total_s(result), 0.0
    num_rounds = result.table["num_rounds"]
    widths = [num_rounds * result.round_time[part] / unit_s for part in _PARTS]
    # What is ahead of round 1, where it takes part in the sum.
    rest = total_s / unit_s - sum(widths)
    labels = [*_PARTS.values(), ("set-up", "#56B4E9")]
    for (label, color), width in zip(labels, [*widths, rest], strict=True):
        if width > 1e-9 * total_s / unit_s:
            seen = axes.get_legend_handles_labels()[1]
            axes.barh(
                row,
                width,
                0.7,
                left,
                color=color,
                label="_" if label in seen else label,
            )
            left += width
    makespan = result.table["makespan_s"]
    high = max(_high(makespan) / unit_s, left)
    low = min(makespan["low"] / unit_s, left)
    axes.errorbar(
        left, row, xerr=[[left - low], [high - left]], color="black", linewidth=1, capsize=3
    )
    bound = "≥ " if result.is_lower_bound else ""
    axes.annotate(
        f"{bound}{format_seconds(total_s)}",
        (high, row),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )


def _high(entry: Mapping[str, Any]) -> float:
    """The upper end; the mean where nothing bounds it."""
    return float(entry["mean"] if entry["high"] is None else entry["high"])


def _total_s(result: Result) -> float:
    return float(result.table["makespan_s"]["mean"])


def _unit(length_s: float) -> tuple[float, str]:
    unit = format_seconds(length_s).split()[1] if length_s > 0 else "s"
    return float(SECONDS.factors[unit]), unit
