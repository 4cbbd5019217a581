"""The figures of ``questions.md``: each shows the one thing that answers its question.

Decides what is drawn of a simulated answer. What the page says in words is checked by
``question_quotes.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from fedsim.comparison.result import Result, framework_label
from fedsim.comparison.wording import range_of
from fedsim.report.figure.picture import write_picture
from fedsim.scenario import read_scenario, run_scenario
from fedsim.scenario.answer.engine_choice import Choice
from fedsim.scenario.answer.simulated import Simulated, simulate_result
from fedsim.units import SECONDS

__all__ = ["QUESTIONS"]

#: Okabe and Ito's palette, which color-blind readers can tell apart (jfly.uni-koeln.de/color).
_BLUE, _ORANGE, _YELLOW = "#0072B2", "#D55E00", "#E69F00"
_GREY: Final = "#B0B0B0"
_WIDTH_IN: Final = 8.5
_DAY_S: Final = float(SECONDS.factors["d"])
_HOUR_S: Final = float(SECONDS.factors["h"])
#: The world of half_fleet_lte's goal: the same clients, all on the case study's link.
_BASELINE: Final = ("fleet.class=[]",)


@lru_cache
def _results(name: str, overrides: tuple[str, ...] = ()) -> list[Result]:
    return [Result(table) for table in run_scenario(name, overrides=overrides).results]


def _draw_lte(path: Path) -> None:
    """A round of each framework on both fleets: two points a row."""
    canvas = Figure(figsize=(_WIDTH_IN, 3.0), layout="constrained")
    axes = canvas.add_subplot()
    fleets = (
        ("all at home", _BLUE, "o", _results("half_fleet_lte", _BASELINE), -0.16),
        ("half on LTE", _ORANGE, "s", _results("half_fleet_lte"), 0.16),
    )
    for label, color, marker, results, shift in fleets:
        rows = [row + shift for row in range(len(results))]
        _points(axes, [r.round_time for r in results], rows, color, marker, label)
    names = [framework_label(result.framework) for result in fleets[0][3]]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xscale("log")
    ticks = {"5 s": 5, "30 s": 30, "2 min": 120, "10 min": 600, "1 h": 3600, "5 h": 18000}
    axes.set_xticks(list(ticks.values()), list(ticks))
    axes.minorticks_off()
    axes.set_xlim(5, 2e5)
    axes.set_xlabel("time of a round, with its 95 % interval")
    _dress(axes, "x")
    canvas.legend(loc="outside lower center", ncols=2, frameon=False)
    write_picture(canvas, path)


def _points(
    axes: Any,
    times: Sequence[Mapping[str, float]],
    rows: Sequence[float],
    color: str,
    marker: str,
    label: str,
    unit_s: float = 1.0,
) -> None:
    """Means with their intervals, and each in words beside it."""
    mean, low, high = (np.array([t[k] for t in times]) / unit_s for k in ("mean", "low", "high"))
    axes.errorbar(
        mean,
        rows,
        xerr=(mean - low, high - mean),
        fmt=marker,
        color=color,
        markersize=6,
        linewidth=1.2,
        capsize=3,
        label=label,
    )
    for time, row, right in zip(times, rows, high, strict=True):
        axes.annotate(
            range_of(SECONDS, time),
            (right, row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=color,
        )


def _draw_overnight(path: Path) -> None:
    """Rounds done over the first days, and all days with their interval."""
    canvas = Figure(figsize=(_WIDTH_IN, 3.6), layout="constrained")
    left, right = canvas.subplots(1, 2, width_ratios=(3, 2))
    found = _simulated("overnight")
    last_day = 6
    for night in range(last_day + 1):
        # The mean stay: from 22 h for seven hours.
        start = night - 2 / 24
        left.axvspan(start, start + 7 / 24, color="0.92", linewidth=0, zorder=0)
    labels = ("all 100 asked", "first 100 of 130")
    styles = ((_BLUE, "o"), (_ORANGE, "s"))
    by_case = {result.case: result for result in _results("overnight")}
    for row, (case, label, style) in enumerate(zip(found, labels, styles, strict=True)):
        each, (color, marker) = found[case], style
        ends = np.concatenate(([0.0], each.result.rounds.end_s)) / _DAY_S
        left.step(ends, range(len(ends)), where="post", color=color, label=label)
        time = by_case[case].table["makespan_s"]
        _points(right, [time], [row], color, marker, "_", _DAY_S)
    left.axvspan(-1, -0.9, color="0.92", linewidth=0, label="usual night, 22 h to 5 h")
    left.set_xlim(0, last_day)
    left.set_ylim(0, 103)
    left.set_xlabel("days since the first midnight")
    left.set_ylabel("rounds done")
    right.set_yticks(range(len(labels)), labels)
    right.set_ylim(1.5, -0.5)
    right.set_xlim(0, 98)
    right.set_xlabel("days for 100 rounds,\nwith their 95 % interval")
    _dress(left, "y")
    _dress(right, "x")
    canvas.legend(loc="outside lower center", ncols=3, frameon=False)
    write_picture(canvas, path)


def _draw_saturation(path: Path) -> None:
    labels = {"fedllm": "FedLLM", "kd": "KD-FedLLM"}
    _draw_sweep("saturation", path, labels, ("uplink", "server's uplink"))


def _draw_second_gpu(path: Path) -> None:
    labels = {"one": "one accelerator", "two": "two accelerators"}
    _draw_sweep("second_gpu", path, labels, ("accelerators", "accelerators"))


def _draw_sweep(name: str, path: Path, labels: Mapping[str, str], busy: tuple[str, str]) -> None:
    """Time of a round along the number of clients, and how busy the server is."""
    results = [result for result in _results(name) if result.is_feasible]
    canvas = Figure(figsize=(_WIDTH_IN, 5.6), layout="constrained")
    upper, lower = canvas.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    quantity, noun = busy
    for (case, label), color, marker in zip(
        labels.items(), (_BLUE, _ORANGE), ("o", "s"), strict=True
    ):
        own = [result for result in results if result.case == case]
        x = [result.num_clients for result in own]
        times = [result.round_time for result in own]
        upper.plot(x, [t["mean"] for t in times], color=color, marker=marker, label=label)
        alone = [t["compute"] + t["transfer"] for t in times]
        upper.plot(x, alone, color=color, linestyle="--", linewidth=1)
        ends = [[t[end] for t in times] for end in ("low", "high")]
        upper.fill_between(x, *ends, color=color, alpha=0.15, linewidth=0)
        shares = [100 * (result.utilization[quantity] or 0.0) for result in own]
        lower.plot(x, shares, color=color, marker=marker)
    upper.plot([], [], color="0.3", linestyle="--", linewidth=1, label="without waiting")
    upper.fill_between([], [], [], color="0.3", alpha=0.15, linewidth=0, label="95 % interval")
    times = [result.round_time["mean"] for result in results]
    if max(times) > 10 * min(times):
        upper.set_yscale("log")
        upper.yaxis.set_major_formatter("{x:,g}")
    upper.set_ylabel("time of a round [s]")
    upper.legend(frameon=False)
    lower.set_xscale("log")
    clients = sorted({result.num_clients for result in results})
    lower.set_xticks(clients, [f"{number:,}" for number in clients])
    lower.minorticks_off()
    lower.set_ylim(0, 100)
    lower.set_ylabel(f"{noun} busy [%]")
    lower.set_xlabel("clients")
    for axes in (upper, lower):
        _dress(axes, "both")
    write_picture(canvas, path)


def _draw_stragglers(path: Path) -> None:
    """All rounds, and what was computed in vain."""
    labels = {
        "all": "synchronous,\nall 100",
        "over-selected": "synchronous,\n100 of 130",
        "quorum": "synchronous,\n90 of 100",
        "buffered": "buffered,\n100 at work",
    }
    results = _results("stragglers")
    canvas = Figure(figsize=(_WIDTH_IN, 3.4), layout="constrained")
    left, right = canvas.subplots(1, 2, width_ratios=(1, 1), sharey=True)
    rows = range(len(results))
    times = [result.table["makespan_s"] for result in results]
    _points(left, times, rows, _BLUE, "o", "_", _HOUR_S)
    wasted = [r.wasted["client_flop"] / r.table["totals"]["client_flop"] for r in results]
    right.barh(rows, [100 * share for share in wasted], 0.5, color=_ORANGE)
    for row, share in zip(rows, wasted, strict=True):
        right.annotate(
            f"{100 * share:.3g} %",
            (100 * share, row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    left.set_yticks(rows, [labels[result.case] for result in results])
    left.set_ylim(len(results) - 0.5, -0.5)
    left.set_xlim(0, 13)
    left.set_xlabel("hours for 50 rounds, with their 95 % interval")
    right.set_xlim(0, 30)
    right.set_xlabel("share of clients' FLOP that came to nothing [%]")
    for axes in (left, right):
        _dress(axes, "x")
    write_picture(canvas, path)


def _draw_million(path: Path) -> None:
    """Each of the hundred rounds by what its critical path consists of."""
    (each,) = _simulated("million").values()
    rounds = each.result.rounds
    index = np.arange(1, len(each.round_s) + 1)
    compute, transfer = rounds.compute_s / _HOUR_S, rounds.transfer_s / _HOUR_S
    wait = each.round_s / _HOUR_S - compute - transfer
    canvas = Figure(figsize=(_WIDTH_IN, 3.6), layout="constrained")
    axes = canvas.add_subplot()
    bottom = np.zeros(len(index))
    for values, color, label in (
        (compute, _BLUE, "computing of the round's last client"),
        (transfer, _YELLOW, "its sending and receiving, alone"),
        (wait, _GREY, "waiting: the shared 10 Gbit/s"),
    ):
        axes.bar(index, values, 0.85, bottom, color=color, linewidth=0, label=label)
        bottom += values
    (table,) = _results("million")
    mean, low, high = (table.round_time[key] / _HOUR_S for key in ("mean", "low", "high"))
    axes.errorbar(
        len(index) + 4,
        mean,
        yerr=[[mean - low], [high - mean]],
        fmt="o",
        color="black",
        capsize=3,
        label="mean, with its 95 % interval",
    )
    axes.set_xlim(0, len(index) + 7)
    axes.set_xlabel("round")
    axes.set_ylabel("time of the round [h]")
    _dress(axes, "y")
    canvas.legend(loc="outside lower center", ncols=2, frameon=False)
    write_picture(canvas, path)


def _simulated(name: str) -> dict[str, Simulated]:
    """Each result of a shipped scenario with its single rounds, by the engine for many clients."""
    return {
        entry.case.name: simulate_result(
            Choice("scale", "these pictures show single rounds"),
            entry.federation,
            entry.case.protocol,
            entry.policy,
            entry.settings.seed,
        )
        for entry in read_scenario(name).entries
    }


def _dress(axes: Any, grid: str) -> None:
    axes.grid(visible=True, axis=grid, color="0.9")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


#: What draws the picture of a question, by its scenario.
QUESTIONS: Final[Mapping[str, Callable[[Path], None]]] = {
    "half_fleet_lte": _draw_lte,
    "overnight": _draw_overnight,
    "saturation": _draw_saturation,
    "stragglers": _draw_stragglers,
    "second_gpu": _draw_second_gpu,
    "million": _draw_million,
}
