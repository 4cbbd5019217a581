"""What became of the clients of simulated rounds, how busy the server was, what was wasted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fedsim.comparison.result import Result
from fedsim.report.adaptive_table import AdaptiveTable
from fedsim.report.scenario.cost_table import grouped
from fedsim.units import SECONDS, format_bytes, format_flop, format_seconds

__all__ = ["round_table"]

_COLUMNS: Final = (
    "5 % .. 95 %\nof rounds",
    "asked",
    "used",
    "late",
    "lost",
    "wasted\nbytes",
    "wasted\nFLOP",
    "uplink\nbusy",
    "downlink\nbusy",
    "accel.\nbusy",
)


def round_table(results: Sequence[Result]) -> AdaptiveTable | None:
    """Clients of a round by what became of them; those that were not simulated have no row."""
    simulated = [result for result in results if result.rounds]
    if not simulated:
        return None
    title = "Rounds: clients in the mean of rounds; waste and load over all"
    return AdaptiveTable(title, _COLUMNS, list(grouped(simulated, _cells)))


def _cells(result: Result) -> tuple[str, ...]:
    time, wasted = result.round_time, result.wasted
    num_bytes = sum(n for name, n in wasted.items() if name.endswith("_message_bytes"))
    flop = sum(n for name, n in wasted.items() if name.endswith("_flop"))
    return (
        unit_range(time["mean"], time["p05"], time["p95"]),
        *(_count(result.mean_of_rounds(name)) for name in ("asked", "used", "late", "lost")),
        format_bytes(num_bytes) if num_bytes else "-",
        format_flop(flop) if flop else "-",
        *(_share(result.utilization.get(name)) for name in ("uplink", "downlink", "accelerators")),
    )


def unit_range(mean: float, low: float, high: float) -> str:
    """Both ends in the mean's unit, so that the three can be compared at a glance."""
    unit = format_seconds(mean).split()[1]
    first, last = (SECONDS.format(end, (unit,)) for end in (low, high))
    return f"{first.split()[0]} .. {last}"


def _count(mean: float) -> str:
    if mean == 0:
        return "-"
    return f"{mean:,.0f}" if mean == round(mean) or mean >= 1000 else f"{mean:.3g}"


def _share(share: float | None) -> str:
    """Per cent; nothing where there is no limit to be a share of."""
    if share is None or share == 0:
        return "-"
    if share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
