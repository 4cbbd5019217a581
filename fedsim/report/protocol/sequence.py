"""Sequence diagrams, drawn from a protocol's own value: what the docs show is what is counted.

Two lifelines, an arrow for each transfer with its payload, a box for each computation, and a frame
for each loop, with how often it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fedsim.comparison.result import framework_label
from fedsim.protocol.step import Direction, Protocol, Site
from fedsim.report.figure.picture import write_picture
from fedsim.report.protocol.sequence_layout import Frame, Layout, Mark, lay_out

__all__ = ["sequence_diagram"]

_CLIENT_X: Final = 0.0
_SERVER_X: Final = 10.0
_BOX_WIDTH: Final = 4.2
_COLORS: Final = {
    "client": "#DCEBF7",
    "server": "#FBE6D4",
    "arrow": "#333333",
    "frame": "#777777",
    "segment": "#F6F6F6",
}


def sequence_diagram(protocol: Protocol, path: Path) -> None:
    """Draw a protocol's set-up and round.

    Parameters
    ----------
    protocol : Protocol
    path : Path
        ``.png`` or ``.svg``.

    Raises
    ------
    ScenarioError
        If it cannot be written.
    """
    from matplotlib.figure import Figure

    layout = Layout()
    lay_out(layout, "set-up, once", protocol.setup)
    lay_out(layout, "every round", protocol.round)
    lay_out(layout, "at the end, once", protocol.finish)
    height = -layout.y
    canvas = Figure(figsize=(8.0, 0.42 * height + 0.9), layout="constrained")
    axes = canvas.add_subplot()
    axes.set_xlim(-3.4, 13.4)
    axes.set_ylim(layout.y - 0.3, 1.2)
    axes.axis("off")
    axes.set_title(framework_label(protocol.name), fontsize=13, loc="left", fontweight="bold")
    _draw_lifelines(axes, layout)
    for frame in layout.frames:
        _draw_frame(axes, frame)
    for mark in layout.marks:
        _draw_mark(axes, mark)
    write_picture(canvas, path)


def _draw_lifelines(axes: Any, layout: Layout) -> None:
    for x, name in ((_CLIENT_X, "client"), (_SERVER_X, "server")):
        axes.plot([x, x], [0.3, layout.y], color="0.6", linewidth=1, zorder=2)
        axes.text(
            x,
            0.65,
            name,
            ha="center",
            va="center",
            fontsize=10,
            fontweight="bold",
            bbox={"boxstyle": "round,pad=0.4", "fc": _COLORS[name], "ec": "0.5"},
            zorder=5,
        )


def _draw_frame(axes: Any, frame: Frame) -> None:
    from matplotlib.patches import FancyBboxPatch

    inset = 0.3 * frame.depth
    left, right = -3.2 + inset, 13.2 - inset
    is_loop = frame.kind == "loop"
    axes.add_patch(
        FancyBboxPatch(
            (left, frame.bottom),
            right - left,
            frame.top - frame.bottom,
            boxstyle="round,pad=0,rounding_size=0.12",
            fc="none" if is_loop else _COLORS["segment"],
            ec=_COLORS["frame"] if is_loop else "0.85",
            linestyle="--" if is_loop else "-",
            zorder=3 if is_loop else 1,
        )
    )
    axes.text(
        left + 0.15,
        frame.top - 0.12,
        frame.text,
        fontsize=8,
        va="top",
        style="italic",
        color="0.25",
        zorder=6,
        bbox={"fc": _COLORS["segment"], "ec": "none", "pad": 0.8},
    )


def _draw_mark(axes: Any, mark: Mark) -> None:
    kind, _, detail = mark.kind.partition(" ")
    if kind == "title":
        axes.text(-3.2, mark.y, mark.text, fontsize=10, fontweight="bold", va="center")
    elif kind == "gather":
        axes.text(
            _SERVER_X,
            mark.y,
            mark.text,
            fontsize=8.5,
            ha="center",
            va="center",
            zorder=5,
            bbox={"boxstyle": "round,pad=0.3", "fc": "white", "ec": "0.5"},
        )
    elif kind == "arrow":
        _draw_arrow(axes, mark, is_up=detail == Direction.UP.value)
    else:
        _draw_box(axes, mark, Site(detail))


def _draw_arrow(axes: Any, mark: Mark, *, is_up: bool) -> None:
    start, end = (_CLIENT_X, _SERVER_X) if is_up else (_SERVER_X, _CLIENT_X)
    y = mark.y - 0.2
    axes.annotate(
        "",
        (end, y),
        (start, y),
        arrowprops={"arrowstyle": "-|>", "color": _COLORS["arrow"], "shrinkA": 0, "shrinkB": 0},
        zorder=4,
    )
    middle = (_CLIENT_X + _SERVER_X) / 2
    axes.text(middle, y + 0.1, mark.text, fontsize=8.5, ha="center", va="bottom", zorder=5)


def _draw_box(axes: Any, mark: Mark, site: Site) -> None:
    x = _CLIENT_X if site is Site.CLIENT else _SERVER_X
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch(
            (x - _BOX_WIDTH / 2, mark.y - 0.34),
            _BOX_WIDTH,
            0.68,
            boxstyle="round,pad=0,rounding_size=0.1",
            fc=_COLORS[site.value],
            ec="0.5",
            zorder=4,
        )
    )
    axes.text(x, mark.y, mark.text, fontsize=8.5, ha="center", va="center", zorder=5)
