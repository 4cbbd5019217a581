"""What hides clients' contributions, step by step: the rows that ``[privacy]`` adds to a round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fedsim.comparison.result import Result
from fedsim.ledger import SERVER
from fedsim.protocol.privacy import PRIVACY_STEPS
from fedsim.report.adaptive_table import AdaptiveTable, Row
from fedsim.units import format_bytes, format_flop

__all__ = ["privacy_table"]

#: More results would be pages of rows that hardly differ; the JSON holds them all.
_MAX_SHOWN: Final = 6


def privacy_table(results: Sequence[Result]) -> AdaptiveTable | None:
    """Added steps of one client (of the largest class) and of the server, and their sum."""
    hidden = [result for result in results if result.privacy]
    if not hidden:
        return None
    rows = []
    for result in hidden[:_MAX_SHOWN]:
        rows.append(Row(f"{result.name}: {_scheme(result)}", (), "bold cyan"))
        rows.extend(Row(f"  {step} {what}".rstrip(), cells) for step, what, cells in _rows(result))
    if len(hidden) > _MAX_SHOWN:
        rows.append(Row(f"... and {len(hidden) - _MAX_SHOWN} more results; --json has their steps"))
    title = "What privacy adds: one client and the server, one round"
    return AdaptiveTable(title, ("up", "down", "FLOP"), rows)


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


def _rows(result: Result) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Steps in the order in which they happen, then what all of them and the masks come to."""
    largest = max(result.classes, key=lambda table: table["num_clients"])["name"]
    steps = {(row["party"], row["step"]): row for row in result.privacy["steps"]}
    for step, what in PRIVACY_STEPS.items():
        for party in (largest, SERVER):
            if (party, step) in steps:
                yield step, what, _cells(steps[party, step])
    for row in result.privacy["difference"]:
        if row["party"] == largest:
            yield "", "a client in all, against none of it (- is less)", _cells(row)


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
