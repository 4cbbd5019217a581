"""What became of the clients of simulated rounds, how busy the server was, and what it all took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from fedsim.report.answer import Result, framework_label
from fedsim.report.cost_table import WIDE, result_table, unit_range
from fedsim.units import format_bytes, format_flop, format_joules

__all__ = ["ResourceTable", "RoundTable"]

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
_NARROW: Final = (0, 1, 2, 3, 4, 5)


@dataclass(frozen=True)
class RoundTable:
    """Clients of a round by what became of them, what was wasted, and the server's load.

    Attributes
    ----------
    results : sequence of Result
        Those that were not simulated have no row.
    """

    results: Sequence[Result]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose the columns by the width that there is."""
        simulated = [result for result in self.results if result.rounds]
        if not simulated:
            return
        columns = range(len(_COLUMNS)) if options.max_width >= WIDE else _NARROW
        table = result_table("Rounds: clients in the mean of rounds; waste and load over all")
        table.add_column("result", overflow="fold", min_width=16)
        for index in columns:
            table.add_column(_COLUMNS[index], justify="right", no_wrap=True)
        for framework, group in groupby(simulated, key=lambda result: result.framework):
            table.add_row(Text(framework_label(framework), style="bold cyan"))
            for result in group:
                cells = _cells(result)
                table.add_row(Text(f"  {result.name}"), *(cells[index] for index in columns))
            table.add_section()
        yield table


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


@dataclass(frozen=True)
class ResourceTable:
    """Energy and money, as far as they are known.

    Attributes
    ----------
    results : sequence of Result
    """

    results: Sequence[Result]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One column for each kind of energy and cost that a result knows."""
        cells = [{**_energies(result), **_costs(result)} for result in self.results]
        names = [name for name in _RESOURCES if any(name in known for known in cells)]
        if options.max_width < WIDE:
            names = [name for name in names if name in _NARROW_RESOURCES]
        if not names:
            return
        table = result_table("Energy and money, all clients and rounds")
        table.add_column("result", overflow="fold", min_width=16)
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        for result, known in zip(self.results, cells, strict=True):
            if known:
                row = (known.get(name, "-") for name in names)
                table.add_row(Text(f"  {result.name}"), *row)
        yield table


_ENERGIES: Final = {
    "compute_j": "clients'\ncomputing",
    "radio_j": "clients'\nradio",
    "idle_j": "clients'\nidling",
    "server_j": "server",
    "total_j": "energy\nin all",
    "wasted_j": "of it\nwasted",
}
_COSTS: Final = {
    "uplink": "uplink\ncost",
    "downlink": "downlink\ncost",
    "accelerators": "accel.\ncost",
    "energy": "energy\ncost",
    "total": "cost\nin all",
}
_RESOURCES: Final = (*_ENERGIES.values(), *_COSTS.values())
_NARROW_RESOURCES: Final = (_ENERGIES["total_j"], _ENERGIES["wasted_j"], _COSTS["total"])


def _energies(result: Result) -> dict[str, str]:
    bound = "≥ " if result.missing_energies else ""
    return {
        title: f"{bound if name == 'total_j' else ''}{format_joules(result.energy_j[name])}"
        for name, title in _ENERGIES.items()
        if result.energy_j.get(name)
    }


def _costs(result: Result) -> dict[str, str]:
    currency = result.money.get("currency", "")
    return {
        title: f"{result.money[name]:,.2f} {currency}".rstrip()
        for name, title in _COSTS.items()
        if result.money.get(name) is not None
    }
