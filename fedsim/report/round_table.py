"""What became of the clients of simulated rounds, how busy the server was, and what it all took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

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
        """One column for each kind of energy and cost."""
        energies, costs = (
            list(dict.fromkeys(name for result in self.results for name, _ in amounts(result)))
            for amounts in (_energies, _costs)
        )
        if not energies and not costs:
            return
        table = result_table("Energy and money, all rounds")
        table.add_column("result", overflow="fold", min_width=16)
        for name in (*energies, *costs):
            table.add_column(name, justify="right")
        for result in self.results:
            known = dict([*_energies(result), *_costs(result)])
            if known:
                cells = (known.get(name, "") for name in (*energies, *costs))
                table.add_row(Text(f"  {result.name}"), *cells)
        yield table


def _energies(result: Result) -> Iterator[tuple[str, str]]:
    for name, joules in _numbers(result.energy_j):
        yield _words(name.removesuffix("_j"), "energy"), format_joules(joules)
    wasted = result.wasted.get("energy_j")
    if wasted:
        yield "wasted\nenergy", format_joules(wasted)


def _costs(result: Result) -> Iterator[tuple[str, str]]:
    currency = result.money.get("currency", "")
    for name, amount in _numbers(result.money):
        yield _words(name, "cost"), f"{amount:,.2f} {currency}".rstrip()


def _numbers(table: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in table.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, float(value)


def _words(name: str, what: str) -> str:
    words = name.replace("_", " ")
    return words if what in words else f"{words}\n{what}"
