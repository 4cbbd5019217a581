"""A table where it fits, and a stack of names and figures where it does not.

No figure and no name is ever cut. A terminal that is too narrow loses the columns that may be left
out, which are then named; where that is not enough, a row becomes a line with the name and, below
it, the figures with what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

__all__ = ["AdaptiveTable", "Row"]

_INDENT = 4
_GAP = "  "
_STACK_GAP = "   "


@dataclass(frozen=True)
class Row:
    """One row, or a heading over those that follow.

    Attributes
    ----------
    name : str
    cells : tuple of str
        As many as the table has columns; none for a heading.
    style : str
    """

    name: str
    cells: tuple[str, ...] = ()
    style: str = ""


@dataclass(frozen=True)
class AdaptiveTable:
    """Rows of figures under one title.

    Attributes
    ----------
    title : str
    columns : sequence of str
        Headings of the figures; a line break in them saves width.
    rows : sequence of Row
    name_column : str
        Heading of the names.
    optional : sequence of str
        Columns that a narrow terminal may lose, the first to go first.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    name_column: str = ""
    optional: Sequence[str] = field(default=())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As a table where every cell fits into the width, else stacked."""
        width = options.max_width
        shown = list(range(len(self.columns)))
        hidden: list[str] = []
        for name in (None, *self.optional):
            if name is not None and name in self.columns:
                shown.remove(self.columns.index(name))
                hidden.append(" ".join(name.split()))
            if self._width(shown) <= width:
                yield from self._table(shown)
                note = f" not shown at this width: {', '.join(hidden)}" if hidden else ""
                yield Text(note, style="dim")
                return
        yield from self._stack(width)

    def _widths(self, shown: Sequence[int]) -> list[int]:
        names = [self.name_column, *(row.name for row in self.rows if row.cells)]
        widths = [_widest(names)]
        for index in shown:
            cells = [row.cells[index] for row in self.rows if row.cells]
            widths.append(_widest([self.columns[index], *cells]))
        return widths

    def _width(self, shown: Sequence[int]) -> int:
        widths = self._widths(shown)
        headings = [cell_len(row.name) + 1 for row in self.rows if not row.cells]
        return max([sum(widths) + len(_GAP) * len(shown) + 1, *headings, cell_len(self.title)])

    def _table(self, shown: Sequence[int]) -> Iterator[Text]:
        widths = self._widths(shown)
        yield Text()
        if self.title:
            yield Text(self.title, style="bold")
        headings = [self.name_column, *(self.columns[index] for index in shown)]
        height = max(len(heading.split("\n")) for heading in headings)
        # A short heading stands at the bottom, beside the rule.
        lines = [[""] * (height - len(h.split("\n"))) + h.split("\n") for h in headings]
        for number in range(height):
            yield Text(_line([heading[number] for heading in lines], widths), style="bold")
        yield Text(" " + "─" * (sum(widths) + len(_GAP) * len(shown)), style="dim")
        for row in self.rows:
            if row.cells:
                parts = [row.name, *(row.cells[index] for index in shown)]
                yield from (Text(line, style=row.style) for line in _lines(parts, widths))
            else:
                yield Text(f" {row.name}", style=row.style or "bold")

    def _stack(self, width: int) -> Iterator[Text]:
        yield Text()
        if self.title:
            yield Text(self.title, style="bold")
        names = [" ".join(column.split()) for column in self.columns]
        for row in self.rows:
            yield Text(f" {row.name}", style=row.style or "bold")
            items = [
                f"{name} {' '.join(cell.split())}".strip()
                for name, cell in zip(names, row.cells, strict=False)
                if cell.strip() not in ("", "-")
            ]
            for line in _filled(items, width - _INDENT):
                yield Text(" " * _INDENT + line)
        yield Text()


def _widest(texts: Sequence[str]) -> int:
    return max(cell_len(line) for text in texts for line in text.split("\n"))


def _lines(parts: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """A row whose cells may have several lines, each line of a cell below the one before."""
    split = [part.split("\n") for part in parts]
    for number in range(max(map(len, split))):
        yield _line([lines[number] if number < len(lines) else "" for lines in split], widths)


def _line(parts: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, figures to the right."""
    cells = [f" {part}" + " " * (width - cell_len(part)) if number == 0
             else " " * (width - cell_len(part)) + part
             for number, (part, width) in enumerate(zip(parts, widths, strict=True))]  # fmt: skip
    return _GAP.join(cells).rstrip()


def _filled(items: Sequence[str], width: int) -> Iterator[str]:
    """Items in lines, none of them broken where one line can hold it."""
    line = ""
    for item in items:
        longer = f"{line}{_STACK_GAP}{item}" if line else item
        if line and cell_len(longer) > width:
            yield line
            longer = item
        line = longer
    if line:
        yield line
