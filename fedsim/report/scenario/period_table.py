"""What one client takes in each stretch of rounds, where schedules change plans by round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fedsim.comparison.result import Result
from fedsim.report.adaptive_table import AdaptiveTable, Row
from fedsim.units import format_bytes, format_flop, format_seconds

__all__ = ["period_table"]

_COLUMNS: Final = (
    "asked",
    "batch",
    "samples",
    "up",
    "down",
    "client\nFLOP",
    "peak\nmemory",
    "round",
)


def period_table(results: Sequence[Result]) -> AdaptiveTable | None:
    """A row for each stretch of rounds with equal plans; of several classes, for each of them."""
    changing = [result for result in results if result.periods]
    if not changing:
        return None
    rows = [row for result in changing for row in _rows(result)]
    return AdaptiveTable("By round: one client, one round", _COLUMNS, rows)


def _rows(result: Result) -> Iterator[Row]:
    yield Row(result.name, (), "bold cyan")
    for period in result.periods:
        for number, table in enumerate(period["classes"]):
            name = _rounds(period) if number == 0 else ""
            if len(period["classes"]) > 1:
                name = f"{name} {table['name']}".lstrip()
            yield Row(f"  {name}", _cells(period, table, is_first=number == 0), "")


def _rounds(period: Mapping[str, Any]) -> str:
    first, last = period["first"], period["last"]
    return f"round {first:,}" if first == last else f"rounds {first:,}-{last:,}"


def _cells(
    period: Mapping[str, Any], table: Mapping[str, Any], *, is_first: bool
) -> tuple[str, ...]:
    costs, asked, round_s = (
        table["per_client_round"],
        period["clients_per_round"],
        period["round_time_s"],
    )
    return (
        ("all" if asked is None else f"{asked:,}") if is_first else "",
        f"{table['batch_size']:,}",
        f"{table['samples_per_client']:,}",
        format_bytes(costs["uplink_payload_bytes"]),
        format_bytes(costs["downlink_payload_bytes"]),
        format_flop(costs["client_flop"]),
        format_bytes(costs["peak_memory_bytes"]),
        format_seconds(round_s) if is_first and round_s is not None else "",
    )
