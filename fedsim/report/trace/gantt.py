"""A Gantt chart of one simulated round: what each client did when, and what the server did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from fedsim.fleet.trace import TraceEvent, TraceKind
from fedsim.ledger import SERVER, Outcome
from fedsim.report.figure.picture import write_picture
from fedsim.report.trace.round_view import RoundView, round_view
from fedsim.units import SECONDS, format_seconds

__all__ = ["KIND_LABELS", "gantt_figure"]

KIND_LABELS: Final[dict[TraceKind, str]] = {
    "compute": "computes",
    "transfer": "sends or receives",
    "wait": "waits for the server",
    "server": "server works",
}
#: Okabe and Ito's palette, which color-blind readers can tell apart (jfly.uni-koeln.de/color).
_COLORS: Final[dict[TraceKind, str]] = {
    "compute": "#0072B2",
    "transfer": "#E69F00",
    "wait": "#D0D0D0",
    "server": "#009E73",
}
_TEXT_COLORS: Final[dict[TraceKind, str]] = {
    "compute": "white",
    "transfer": "black",
    "wait": "black",
    "server": "white",
}
_HATCHES: Final[dict[Outcome, str]] = {"used": "", "late": "////", "lost": "xxxx"}
_HATCH_LABELS: Final[dict[Outcome, str]] = {"late": "came too late", "lost": "was lost"}
_MAX_CLIENTS: Final = 40
_WIDTH_IN: Final = 9.0
_ROW_IN: Final = 0.19
#: Share of the picture's width that the rows have.
_ROWS_SHARE: Final = 0.84
#: Of a digit or small letter at the labels' size.
_CHARACTER_IN: Final = 0.075
_BAR: Final = 0.8
#: Narrower bars would come and go with the pixels: they are drawn with an edge.
_BROAD_IN: Final = 0.02
#: The server's work for single clients is drawn if it takes more of the round than this share.
_LEAST_LOAD: Final = 0.01
_CLOSING_STYLE: Final[dict[str, Any]] = {"color": "black", "linewidth": 1, "linestyle": "--"}

_Row = tuple[str, Sequence[TraceEvent]]


def gantt_figure(
    events: Iterable[TraceEvent],
    round_index: int,
    path: Path,
    *,
    title: str = "",
    max_clients: int = _MAX_CLIENTS,
) -> None:
    """Draw one round and write the picture.

    Parameters
    ----------
    events : iterable of TraceEvent
        Of the whole run.
    round_index : int
        The round; a version of the model where rounds are not common; 0 is the set-up.
    path : Path
        ``.png`` or ``.svg``.
    title : str, optional
        Stands above the chart, such as the result's name.
    max_clients : int, optional
        Rows; of more clients a spread is shown, and the chart says so.

    Raises
    ------
    ScenarioError
        If there is no such round, or the picture cannot be written.
    """
    from matplotlib.figure import Figure

    view = round_view(events, round_index, max_clients)
    rows: list[_Row] = [(row.party, row.events) for row in view.rows]
    if view.server:
        rows.append((SERVER, view.server))
    load = _load(view)
    num_rows = len(rows) + bool(load)
    # The height of a row, and of what stands above and below the rows.
    canvas = Figure(figsize=(_WIDTH_IN, 1.4 + _ROW_IN * num_rows), layout="constrained")
    axes = canvas.add_subplot()
    scale = _Scale(view.start_s, view.end_s)
    for number, row in enumerate(rows):
        _draw_row(axes, number, row, scale)
    names = [name for name, _ in rows]
    if load:
        names.append(_draw_load(axes, len(rows), load, scale))
    for moment_s in view.closings_s:
        axes.axvline(scale.at(moment_s), zorder=3, **_CLOSING_STYLE)
    _dress(axes, view, names, scale)
    _legend(
        canvas, [event for _, events in rows for event in events], has_closing=bool(view.closings_s)
    )
    caption = view.caption[0].upper() + view.caption[1:]
    axes.set_title(f"{title}: {view.caption}" if title else caption, fontsize=10, parse_math=False)
    write_picture(canvas, path)


class _Scale:
    """Seconds of the run as numbers on the axis, in the unit that suits the round."""

    def __init__(self, start_s: float, end_s: float) -> None:
        self._start_s = start_s
        self.unit = format_seconds(end_s - start_s).split()[1] if end_s > start_s else "s"
        self._unit_s = float(SECONDS.factors[self.unit])
        self.length = (end_s - start_s) / self._unit_s or 1.0

    def at(self, moment_s: float) -> float:
        """Place of a moment on the axis."""
        return (moment_s - self._start_s) / self._unit_s

    def bar(self, event: TraceEvent) -> tuple[float, float]:
        """Start and length on the axis."""
        return self.at(event.start_s), (event.end_s - event.start_s) / self._unit_s

    def inches(self, length: float) -> float:
        """What a length on the axis measures in the picture, nearly."""
        return length / self.length * _WIDTH_IN * _ROWS_SHARE


def _draw_row(axes: Any, number: int, row: _Row, scale: _Scale) -> None:
    name, events = row
    # The server's own work is often too short to see, and always what a round waits for.
    edge, depth = (1.5, 3.5) if name == SERVER else (0.4, 2.0)
    groups: dict[tuple[TraceKind, Outcome, bool], list[tuple[float, float]]] = {}
    before: TraceEvent | None = None
    for event in events:
        bar = scale.bar(event)
        is_broad = scale.inches(bar[1]) > _BROAD_IN
        groups.setdefault((event.kind, event.outcome, is_broad), []).append(bar)
        if scale.inches(bar[1]) > _CHARACTER_IN * (len(event.step) + 1):
            _write_step(axes, number, event, bar)
        if is_broad and before is not None and _look_like_one(before, event):
            low, high = number - _BAR / 2, number + _BAR / 2
            axes.vlines(bar[0], low, high, color="white", linewidth=0.8, zorder=depth + 0.2)
        before = event
    for (kind, outcome, is_broad), bars in groups.items():
        axes.broken_barh(
            bars,
            (number - _BAR / 2, _BAR),
            facecolors=_COLORS[kind],
            # What takes no time at this scale is still seen, by its edge.
            edgecolors="white" if is_broad else _COLORS[kind],
            linewidth=0 if is_broad else edge,
            hatch=_HATCHES[outcome] if is_broad else "",
            zorder=depth if is_broad else depth + 0.1,
        )


def _look_like_one(before: TraceEvent, event: TraceEvent) -> bool:
    """Whether two bars side by side are of one color and yet not one step."""
    is_same = (before.step, before.attempt) == (event.step, event.attempt)
    return before.kind == event.kind and not is_same


def _write_step(axes: Any, number: int, event: TraceEvent, bar: tuple[float, float]) -> None:
    color = _COLORS[event.kind]
    axes.text(
        bar[0] + bar[1] / 2,
        number,
        event.step,
        ha="center",
        va="center_baseline",
        fontsize=7,
        color=_TEXT_COLORS[event.kind],
        bbox={"boxstyle": "square,pad=0.15", "facecolor": color, "edgecolor": "none"},
        parse_math=False,
        zorder=4,
    )


def _load(view: RoundView) -> list[tuple[float, int]]:
    """Moments and how many clients the server works for from then on; empty if it hardly does."""
    busy_s = sum(e.end_s - e.start_s for e in view.at_server)
    if busy_s <= _LEAST_LOAD * (view.end_s - view.start_s):
        return []
    changes: dict[float, int] = {}
    for event in view.at_server:
        changes[event.start_s] = changes.get(event.start_s, 0) + 1
        changes[event.end_s] = changes.get(event.end_s, 0) - 1
    moments = sorted(changes)
    return list(zip(moments, accumulate(changes[m] for m in moments), strict=True))


def _draw_load(axes: Any, number: int, load: list[tuple[float, int]], scale: _Scale) -> str:
    """Draw how busy the server is as a line of its own; its name."""
    most = max(count for _, count in load)
    bottom = number + _BAR / 2
    axes.fill_between(
        [scale.at(moment_s) for moment_s, _ in load],
        bottom,
        [bottom - _BAR * count / most for _, count in load],
        step="post",
        color=_COLORS["server"],
        linewidth=0,
        zorder=2,
    )
    return f"serves up to {most:,}"


def _dress(axes: Any, view: RoundView, names: list[str], scale: _Scale) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=7, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, scale.length * 1.01)
    if len(names) > len(view.rows):
        axes.axhline(len(view.rows) - 0.5, color="0.6", linewidth=0.6)
    since = "round's start" if view.is_common else "version before"
    axes.set_xlabel(f"time since the {since} [{scale.unit}]", fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(visible=True, axis="x", color="0.9")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _legend(canvas: Any, events: Sequence[TraceEvent], *, has_closing: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    kinds = {event.kind for event in events}
    outcomes = {event.outcome for event in events}
    handles: list[Any] = [
        Patch(facecolor=_COLORS[kind], label=label)
        for kind, label in KIND_LABELS.items()
        if kind in kinds
    ]
    handles.extend(
        Patch(facecolor="0.6", edgecolor="white", linewidth=0, hatch=_HATCHES[outcome], label=label)
        for outcome, label in _HATCH_LABELS.items()
        if outcome in outcomes
    )
    if has_closing:
        handles.append(Line2D([], [], label="gathering closes", **_CLOSING_STYLE))
    canvas.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8
    )
