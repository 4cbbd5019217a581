"""One simulated round as a chart of characters, for a terminal: a line for each client."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from fedsim.fleet.trace import TraceEvent, TraceKind
from fedsim.ledger import SERVER
from fedsim.report.trace.round_view import RoundView, round_view
from fedsim.units import SECONDS, format_seconds

__all__ = ["RoundTimeline", "round_timeline"]

#: Told apart without colors too, for a pipe or a file has none.
_GLYPHS: Final[dict[TraceKind, str]] = {
    "compute": "█",
    "transfer": "▒",
    "wait": "·",
    "server": "▓",
}
_STYLES: Final[dict[TraceKind, str]] = {
    "compute": "blue",
    "transfer": "yellow",
    "wait": "dim",
    "server": "green",
}
_LABELS: Final[dict[TraceKind, str]] = {
    "compute": "computes",
    "transfer": "sends or receives",
    "wait": "waits",
    "server": "server works",
}
_FATES: Final = {"used": "", "late": "late", "lost": "lost"}
_MAX_CLIENTS: Final = 12
_NARROWEST: Final = 20

#: Step, attempt and kind.
_Cell = tuple[str, int, TraceKind | None]
_NOTHING: Final[_Cell] = ("", 0, None)


def round_timeline(
    events: Iterable[TraceEvent], round_index: int, max_clients: int = _MAX_CLIENTS
) -> RoundTimeline:
    """A chart of one round that fits the terminal.

    Parameters
    ----------
    events : iterable of TraceEvent
        Of the whole run.
    round_index : int
        The round; a version of the model where rounds are not common; 0 is the set-up.
    max_clients : int, optional
        Of more clients a spread is shown, and the chart says so.

    Raises
    ------
    ScenarioError
        If there is no such round.
    """
    return RoundTimeline(round_view(events, round_index, max_clients))


@dataclass(frozen=True)
class RoundTimeline:
    """A chart that is as wide as the terminal.

    Attributes
    ----------
    view : RoundView

    Notes
    -----
    A character stands for what took most of its time.
    """

    view: RoundView

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One line a client, one for the server, the axis and the legend."""
        view = self.view
        rows = [(row.party, row.events, _FATES[row.outcome]) for row in view.rows]
        if view.server:
            rows.append((SERVER, view.server, ""))
        margin = max(len(name) for name, _, _ in rows)
        fate = max(len(f" {word}") if word else 0 for _, _, word in rows)
        # A name stands between two blanks.
        width = max(options.max_width - margin - 2 - fate, _NARROWEST)
        closing = _column(view, view.closings_s[0], width) if view.closings_s else None
        caption = view.caption[0].upper() + view.caption[1:]
        yield Text(caption, style="bold")
        for name, events, word in rows:
            line = Text(f" {name:>{margin}} ", no_wrap=True)
            line.append_text(_bar(_cells(view, events, width), closing))
            if word:
                line.append(f" {word}", style="red")
            yield line
        yield from _axis(view, width, margin + 2, closing)
        yield _legend(event for _, events, _ in rows for event in events)


def _cells(view: RoundView, events: Sequence[TraceEvent], width: int) -> list[_Cell]:
    """Step and kind of what takes most of each column."""
    shares: list[dict[_Cell, float]] = [{} for _ in range(width)]
    per_column_s = (view.end_s - view.start_s) / width or 1.0
    for event in events:
        start = (event.start_s - view.start_s) / per_column_s
        end = (event.end_s - view.start_s) / per_column_s
        cell = (event.step, event.attempt, event.kind)
        for column in range(min(int(start), width - 1), min(int(end), width - 1) + 1):
            share = min(end, column + 1) - max(start, column)
            shares[column][cell] = shares[column].get(cell, 0.0) + share
    return [_most(share) for share in shares]


def _most(shares: dict[_Cell, float]) -> _Cell:
    """What takes most of a column; nothing where that takes most."""
    if not shares:
        return _NOTHING
    if sum(shares.values()) < 0.5 and not any(kind == "server" for _, _, kind in shares):
        return _NOTHING
    return max(shares, key=lambda cell: shares[cell])


def _bar(cells: list[_Cell], closing: int | None) -> Text:
    line = Text()
    column = 0
    for (step, _, kind), group in groupby(cells):
        length = len(list(group))
        if kind is None:
            blank = [" "] * length
            if closing is not None and column <= closing < column + length:
                blank[closing - column] = "│"
            line.append("".join(blank), style="dim")
        else:
            text = step if len(step) + 2 <= length else ""
            line.append(f"{text:{_GLYPHS[kind]}^{length}}", style=_STYLES[kind])
        column += length
    return line


def _column(view: RoundView, moment_s: float, width: int) -> int:
    length_s = view.end_s - view.start_s or 1.0
    return min(int((moment_s - view.start_s) / length_s * width), width - 1)


def _axis(view: RoundView, width: int, indent: int, closing: int | None) -> Iterable[Text]:
    end = format_seconds(view.end_s - view.start_s)
    unit = end.split()[1]
    if closing is not None:
        moment = SECONDS.format(view.closings_s[0] - view.start_s, (unit,)).split()[0]
        yield Text(" " * indent + _closing_mark(closing, width, moment), style="dim")
    left = f"0 {unit}"
    yield Text(f"{' ' * indent}{left}{end:>{width - len(left)}}", style="dim")


def _closing_mark(closing: int, width: int, moment: str) -> str:
    """What the upright line means, on the side where there is room."""
    if closing >= width // 2:
        return f"{f'gathering closes at {moment} ┘':>{closing + 1}}"
    return f"{'└':>{closing + 1}} gathering closes at {moment}"


def _legend(events: Iterable[TraceEvent]) -> Text:
    kinds = {event.kind for event in events}
    legend = Text(" ")
    for kind, label in _LABELS.items():
        if kind in kinds:
            legend.append(f" {_GLYPHS[kind] * 2}", style=_STYLES[kind])
            legend.append(f" {label} ")
    legend.rstrip()
    return legend
