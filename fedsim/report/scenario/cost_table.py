"""Tables of a scenario's answer: what is counted, and what time it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from fedsim.comparison.result import Result, framework_label
from fedsim.comparison.wording import figure, range_of
from fedsim.report.adaptive_table import AdaptiveTable, Row
from fedsim.units import SECONDS, format_bytes, format_flop, format_seconds

__all__ = ["count_table", "grouped", "time_table"]

_COUNTS: Final = (
    "up",
    "down",
    "client\nFLOP",
    "server FLOP\nall clients",
    "peak\nmemory",
    "set-up\nonce",
)
_TIMES: Final = ("round (95 %)", "compute", "transfer", "waiting", "all rounds")

_Cells = tuple[str, ...]


def count_table(results: Sequence[Result]) -> AdaptiveTable:
    """What one client sends, computes and holds in a round; the same for every engine."""
    rows = grouped(results, _count_cells, _class_count_cells)
    return AdaptiveTable("One client, one round", _COUNTS, list(rows))


def time_table(results: Sequence[Result]) -> AdaptiveTable:
    """A round and its parts along the critical path; a class's row is one client of it alone."""
    rows = grouped(results, _time_cells, _class_time_cells)
    title = "Time: a round along its critical path; of a class, its median client alone"
    return AdaptiveTable(title, _TIMES, list(rows))


def grouped(
    results: Sequence[Result],
    cells: Callable[[Result], _Cells],
    class_cells: Callable[[Mapping[str, Any]], _Cells] | None = None,
) -> Iterator[Row]:
    """A heading a framework, a row a result, and one a class where several differ."""
    for framework, group in groupby(results, key=lambda result: result.framework):
        yield Row(framework_label(framework), (), "bold cyan")
        for result in group:
            yield Row(f"  {_marked(result)}", cells(result), _style(result))
            if class_cells is None:
                continue
            rows = [(_class_name(table), class_cells(table)) for table in result.classes]
            if len({own for _, own in rows}) > 1:
                yield from (Row(name, own, "dim") for name, own in rows)


def _style(result: Result) -> str:
    return "" if result.status == "ok" else "red"


def _marked(result: Result) -> str:
    return result.name if result.status == "ok" else f"{result.name} ({result.status})"


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
    if not time:
        return ("-",) * len(_TIMES)
    bound = "≥ " if result.is_lower_bound else ""
    makespan = result.table["makespan_s"]
    return (
        f"{bound}{range_of(SECONDS, time)}",
        *(_part(time[part], time["mean"]) for part in ("compute", "transfer", "wait")),
        bound + figure(SECONDS, makespan["mean"], makespan["low"], makespan["high"]),
    )


def _class_time_cells(table: Mapping[str, Any]) -> _Cells:
    own = table["own_round_s"]
    if not own:
        return ("-",) * len(_TIMES)
    compute = own["client_compute"] + own["server_compute"] + own["messages"]
    return (
        format_seconds(own["total"]),
        _part(compute, own["total"]),
        _part(own["transfer"], own["total"]),
        "",
        "",
    )


def _class_name(table: Mapping[str, Any]) -> str:
    return f"    {table['name']}, {table['num_clients']:,} clients"


def _part(seconds: float, total: float) -> str:
    """A part of a time; what is left of it by rounding is nothing."""
    return format_seconds(seconds) if seconds > 1e-9 * total else "-"
