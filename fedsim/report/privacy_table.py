"""What hides clients' contributions, step by step: the rows that ``[privacy]`` adds to a round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from fedsim.ledger import SERVER
from fedsim.protocol.privacy import PRIVACY_STEPS
from fedsim.report.answer import Result
from fedsim.report.cost_table import result_table
from fedsim.units import format_bytes, format_flop

__all__ = ["PrivacyTable"]

#: More results would be pages of rows that hardly differ; the JSON holds them all.
_MAX_SHOWN: Final = 6


@dataclass(frozen=True)
class PrivacyTable:
    """Added steps of one client (of the largest class) and of the server, and their sum.

    Attributes
    ----------
    results : sequence of Result
        Those that hide nothing have no row.
    """

    results: Sequence[Result]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One block of rows a result."""
        hidden = [result for result in self.results if result.privacy]
        if not hidden:
            return
        table = result_table("What privacy adds: one client and the server, one round")
        table.add_column("step", no_wrap=True)
        table.add_column("what", overflow="fold", min_width=16)
        for name in ("up", "down", "FLOP"):
            table.add_column(name, justify="right", no_wrap=True)
        for result in hidden[:_MAX_SHOWN]:
            table.add_row("", Text(f"{result.name}: {_scheme(result)}", style="bold cyan"))
            for cells in _rows(result):
                table.add_row(*cells)
            table.add_section()
        yield table
        if len(hidden) > _MAX_SHOWN:
            rest = f"... and {len(hidden) - _MAX_SHOWN} more results; --json has their steps."
            yield Text(rest)


def _scheme(result: Result) -> str:
    privacy = result.privacy
    parts = []
    if privacy["secure_aggregation"]:
        parts.append(
            f"{privacy['secure_aggregation']} of {privacy['num_participants']:,} clients, "
            f"{privacy['num_neighbors']:,} neighbors each, {privacy['threshold']:,} of "
            f"{privacy['num_shares']:,} shares, {privacy['ring_bits']} bits a value"
        )
    if privacy["differential_privacy"]:
        parts.append(f"{privacy['differential_privacy']} differential privacy")
    return "; ".join(parts)


def _rows(result: Result) -> Iterator[tuple[str, ...]]:
    """Steps in the order in which they happen, then what all of them and the masks come to."""
    largest = max(result.classes, key=lambda table: table["num_clients"])["name"]
    steps = {(row["party"], row["step"]): row for row in result.privacy["steps"]}
    for step, what in PRIVACY_STEPS.items():
        for party in (largest, SERVER):
            if (party, step) in steps:
                yield step, what, *_cells(steps[party, step])
    for row in result.privacy["difference"]:
        if row["party"] == largest:
            yield "", "a client in all, against none of it (- is less)", *_cells(row)


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str]:
    flop = row["client_flop"] + row["server_flop"]
    return (
        _signed(row["uplink_payload_bytes"]),
        _signed(row["downlink_payload_bytes"]),
        format_flop(flop) if flop else "-",
    )


def _signed(num_bytes: int) -> str:
    """Quantized values may be smaller than the plain ones."""
    if not num_bytes:
        return "-"
    return f"{'-' if num_bytes < 0 else ''}{format_bytes(abs(num_bytes))}"
