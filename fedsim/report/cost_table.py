"""Tables of a scenario's answer: what is counted, and what time it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from fedsim.report.answer import Result, framework_label
from fedsim.units import SECONDS, format_bytes, format_flop, format_seconds

__all__ = ["WIDE", "CostTables", "result_table", "unit_range"]

#: Below this many columns a terminal gets the tables without the less asked-for figures.
WIDE: Final = 100
_COUNTS: Final = (
    "up",
    "down",
    "client\nFLOP",
    "server FLOP\nall clients",
    "peak\nmemory",
    "set-up\nonce",
)
_TIMES: Final = ("round", "95 % interval", "compute", "transfer", "waiting", "all rounds")
_NARROW_COUNTS: Final = (0, 1, 2, 4, 5)
_NARROW_TIMES: Final = (0, 1, 3, 5)

_Cells = tuple[str, ...]
_Row = tuple[Text, _Cells, str]


@dataclass(frozen=True)
class CostTables:
    """What is counted, and what time it takes: two tables that fit the terminal's width.

    Attributes
    ----------
    results : sequence of Result
    """

    results: Sequence[Result]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose the columns by the width that there is."""
        is_wide = options.max_width >= WIDE
        counts = range(len(_COUNTS)) if is_wide else _NARROW_COUNTS
        times = range(len(_TIMES)) if is_wide else _NARROW_TIMES
        yield self._table("One client, one round", _COUNTS, counts, "counts")
        yield self._table("Time", _TIMES, times, "times")

    def _table(self, title: str, names: _Cells, chosen: Iterable[int], part: str) -> Table:
        table = result_table(title)
        table.add_column("result", overflow="fold", min_width=16)
        picked = tuple(chosen)
        for index in picked:
            table.add_column(names[index], justify="right", no_wrap=True)
        for framework, group in groupby(self.results, key=lambda result: result.framework):
            table.add_row(Text(framework_label(framework), style="bold cyan"))
            for result in group:
                for name, cells, style in _rows(result, part):
                    table.add_row(name, *(cells[index] for index in picked), style=style)
            table.add_section()
        return table


def result_table(title: str) -> Table:
    """An empty table of the form that all of an answer's tables have."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )


def unit_range(mean: float, low: float, high: float) -> str:
    """Both ends in the mean's unit, so that the three can be compared at a glance."""
    unit = format_seconds(mean).split()[1]
    first, last = (SECONDS.format(end, (unit,)) for end in (low, high))
    return f"{first.split()[0]} .. {last}"


def _rows(result: Result, part: str) -> Iterator[_Row]:
    """The result's row, and one a class where there are several that differ."""
    style = "" if result.is_feasible else "red"
    own, of_class = _CELLS[part]
    yield _name(result), own(result), style
    rows = [(_class_name(table), of_class(table), "dim") for table in result.classes]
    if len({cells for _, cells, _ in rows}) > 1:
        yield from rows


def _name(result: Result) -> Text:
    mark = "" if result.is_feasible else " (infeasible)"
    return Text(f"  {result.name}{mark}")


def _count_cells(result: Result) -> _Cells:
    return (
        format_bytes(result.per_client("uplink_payload_bytes")),
        format_bytes(result.per_client("downlink_payload_bytes")),
        format_flop(result.client_flop),
        format_flop(result.server_flop) if result.server_flop else "-",
        format_bytes(result.peak_memory_bytes),
        format_bytes(result.setup_bytes),
    )


def _class_count_cells(table: Mapping[str, Any]) -> _Cells:
    costs, setup = table["per_client_round"], table["per_client_setup"]
    return (
        format_bytes(costs["uplink_payload_bytes"]),
        format_bytes(costs["downlink_payload_bytes"]),
        format_flop(costs["client_flop"]),
        "",
        format_bytes(costs["peak_memory_bytes"]),
        format_bytes(setup["uplink_payload_bytes"] + setup["downlink_payload_bytes"]),
    )


def _time_cells(result: Result) -> _Cells:
    time = result.round_time
    bound = "≥ " if result.is_lower_bound else ""
    return (
        f"{bound}{format_seconds(time['mean'])}",
        unit_range(time["mean"], time["low"], time["high"]),
        *(_part(time[part], time["mean"]) for part in ("compute", "transfer", "wait")),
        f"{bound}{format_seconds(result.table['makespan_s']['mean'])}",
    )


def _class_time_cells(table: Mapping[str, Any]) -> _Cells:
    own = table["own_round_s"]
    compute = own["client_compute"] + own["server_compute"] + own["messages"]
    return (
        format_seconds(own["total"]),
        "",
        _part(compute, own["total"]),
        _part(own["transfer"], own["total"]),
        "",
        "",
    )


def _class_name(table: Mapping[str, Any]) -> Text:
    return Text(f"    {table['name']}, {table['num_clients']:,} clients")


def _part(seconds: float, total: float) -> str:
    """A part of a time; what is left of it by rounding is nothing."""
    return format_seconds(seconds) if seconds > 1e-9 * total else "-"


_CELLS: Final[Mapping[str, tuple[Callable[[Result], _Cells], Callable[[Any], _Cells]]]] = {
    "counts": (_count_cells, _class_count_cells),
    "times": (_time_cells, _class_time_cells),
}
