"""Where everything in a sequence diagram stands, from top to bottom; drawn by its neighbor.

Mini-batches that a protocol writes one by one, for they differ in size, become one loop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from fedsim.protocol.step import Compute, Gather, Once, Repeat, Segment, Step, Transfer
from fedsim.units import format_bytes

__all__ = ["Frame", "Layout", "Mark", "lay_out", "words"]

_ROW: Final = 1.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing on the page: its kind, its height, its text."""

    kind: str
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A box around several steps."""

    kind: str
    top: float
    bottom: float
    text: str
    depth: int


@dataclass(slots=True)
class Layout:
    """The page from top (0) to bottom."""

    y: float = 0.0
    marks: list[Mark] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    def take(self, kind: str, text: str, rows: float = _ROW) -> None:
        """Put one thing on the next free row."""
        self.marks.append(Mark(kind, self.y - rows / 2, text))
        self.y -= rows


def lay_out(layout: Layout, title: str, segments: tuple[Segment, ...]) -> None:
    """Put some segments under a title below what is already on the page."""
    if not segments:
        return
    layout.take("title", title, 1.1)
    for segment in segments:
        if isinstance(segment, Gather):
            layout.take("gather", f"the server gathers {segment.label} of all clients")
            continue
        is_once = isinstance(segment, Once)
        top = layout.y
        layout.y -= 0.55
        _lay_out_steps(layout, segment.steps, 1)
        layout.y -= 0.15
        text = "server, once" if is_once else "each client"
        layout.frames.append(Frame("segment", top, layout.y, text, 0))
        layout.y -= 0.25


def _lay_out_steps(layout: Layout, steps: tuple[Step, ...], depth: int) -> None:
    for loop in _loops(steps):
        if loop.times == 1:
            _lay_out_leaf(layout, loop.steps[0])
            continue
        top = layout.y
        layout.y -= 0.5
        _lay_out_steps(layout, loop.steps, depth + 1)
        layout.y -= 0.1
        sends = any(isinstance(step, Transfer) for step in loop.steps)
        text = f"{loop.times:,} times" + (
            ", sizes of the first" if sends and not loop.is_uniform else ""
        )
        layout.frames.append(Frame("loop", top, layout.y, text, depth))
        layout.y -= 0.15


def _lay_out_leaf(layout: Layout, step: Step) -> None:
    if isinstance(step, Transfer):
        content = step.payload.content.replace("_", " ")
        text = f"{step.label}  {content}, {format_bytes(step.payload.payload_bytes)}"
        layout.take(f"arrow {step.direction.value}", text)
    elif isinstance(step, Compute):
        name = words(type(step.operation).__name__)
        layout.take(f"box {step.site.value}", f"{step.label}  {name}")


@dataclass(frozen=True, slots=True)
class _Loop:
    """The same step names several times in a row; or one step, once."""

    times: int
    steps: tuple[Step, ...]
    is_uniform: bool = True


def _loops(steps: tuple[Step, ...]) -> Iterator[_Loop]:
    """Steps with mini-batches of different sizes joined, which a protocol writes one by one."""
    start = 0
    while start < len(steps):
        first = steps[start]
        body = first.steps if isinstance(first, Repeat) else _period(steps, start)
        labels = _labels(body)
        times, stop, is_uniform = 0, start, True
        while stop < len(steps):
            step = steps[stop]
            length = 1 if isinstance(step, Repeat) else len(body)
            found = step.steps if isinstance(step, Repeat) else steps[stop : stop + length]
            if _labels(found) != labels:
                break
            times += step.times if isinstance(step, Repeat) else 1
            is_uniform = is_uniform and found == body
            stop += length
        yield _Loop(times, body, is_uniform)
        start = stop


def _period(steps: tuple[Step, ...], start: int) -> tuple[Step, ...]:
    """Steps from ``start`` up to the next of the same name; the one step if there is none."""
    label = _label(steps[start])
    for stop in range(start + 1, len(steps)):
        if isinstance(steps[stop], Repeat):
            break
        if _label(steps[stop]) == label:
            body = steps[start:stop]
            if _labels(body) == _labels(steps[stop : stop + len(body)]):
                return body
            break
    return steps[start : start + 1]


def _labels(steps: tuple[Step, ...]) -> tuple[str, ...]:
    return tuple(_label(step) for step in steps)


def _label(step: Step) -> str:
    """Name and kind, so that a set-up's three messages stay apart."""
    if isinstance(step, Repeat):
        return f"{step.times} x ({', '.join(_labels(step.steps))})"
    what = step.payload.content if isinstance(step, Transfer) else type(step.operation).__name__
    return f"{step.label} {what}"


def words(name: str) -> str:
    """``TrainAboveCut`` as ``train above cut``."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
