"""``fedsim verify`` for a reader: every step with what was predicted and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fedsim.agreement import StepCheck, Verification
from fedsim.ledger import LedgerRow
from fedsim.units import format_bytes, format_seconds

__all__ = ["machine_line", "print_verification", "verification_report"]

#: Nearer to 1 than this, a machine is as fast as it was.
_ALIKE: Final = 0.05


def print_verification(console: Console, outcomes: Sequence[Verification], title: str) -> None:
    """Print the tables of all frameworks and the verdict."""
    console.print(verification_report(outcomes, title))


def verification_report(outcomes: Sequence[Verification], title: str) -> RenderableType:
    """The tables of all frameworks and the verdict."""
    return Group(
        Panel(title, title="fedsim verify", title_align="left"),
        *(_framework(outcome) for outcome in outcomes),
        _verdict(outcomes),
    )


def _framework(outcome: Verification) -> RenderableType:
    is_named = outcome.case not in ("", outcome.framework)
    table = Table(
        title=f"{outcome.case} ({outcome.framework})" if is_named else outcome.framework,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("step", no_wrap=True)
    for name in ("payload B", "message B", "FLOP"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("=", justify="center", no_wrap=True)
    differing = {difference.key.step for difference in outcome.found}
    for check in outcome.steps:
        table.add_row(*_cells(check, is_equal=check.step not in differing))
    parts: list[RenderableType] = [table]
    if outcome.timed_rounds:
        parts.append(_times(outcome))
    return Group(*parts, _memory_line(outcome), Text())


def _times(outcome: Verification) -> RenderableType:
    is_predicted = outcome.profile_name is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("step", no_wrap=True)
    names = ["measured"]
    if is_predicted:
        names += ["predicted", "ratio", "95 % interval"]
    if outcome.slowness is not None:
        names.append(f"ratio / {outcome.slowness:.2g}")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    if is_predicted:
        table.add_column("outside", no_wrap=True)
    for check in outcome.steps:
        if check.measured_s is None:
            continue
        cells: list[RenderableType] = [check.step, format_seconds(check.measured_s)]
        if is_predicted:
            cells += _compared(check, outcome.slowness)
        table.add_row(*cells)
    lines = [Text(machine_line(outcome), style="yellow")] if outcome.slowness else []
    return Group(*lines, table)


def machine_line(outcome: Verification) -> str:
    """How fast the machine is now against its profile."""
    slowness = outcome.slowness
    assert slowness is not None
    if abs(slowness - 1) < _ALIKE:
        words = "as fast as"
    elif slowness > 1:
        words = f"{slowness:.1f}x slower than"
    else:
        words = f"{1 / slowness:.1f}x faster than"
    each = ", ".join(f"{name} {ratio:.2f}" for name, ratio in outcome.sentinel_ratios.items())
    return (
        f"This machine is now {words} the profile's (median of its sentinels, now over then: "
        f"{each}). Ratios are measured / predicted: outside the interval as the machine is now, or "
        "as it was then, its slowness taken off."
    )


def _compared(check: StepCheck, slowness: float | None) -> list[RenderableType]:
    """Prediction, ratio, interval, the ratio without the machine's slowness, and a mark."""
    ratio, interval = check.ratio, check.interval
    cells: list[RenderableType] = [format_seconds(check.predicted_s or 0.0)]
    if ratio is None or interval is None:
        return [*cells, "", "", *([""] if slowness is not None else []), ""]
    is_outside = check.is_outside()
    cells.append(Text(f"{ratio:.2f}", style="yellow" if is_outside else ""))
    cells.append(f"{interval[0]:.2f} .. {interval[1]:.2f}")
    if slowness is None:
        return [*cells, Text("now" if is_outside else "", style="yellow")]
    still = check.is_outside(slowness)
    cells.append(Text(f"{ratio / slowness:.2f}", style="yellow" if still else ""))
    mark = {
        (False, False): "",
        (True, False): "now",
        (False, True): "then",
        (True, True): "now, then",
    }[is_outside, still]
    return [*cells, Text(mark, style="yellow")]


def _cells(check: StepCheck, *, is_equal: bool) -> list[RenderableType]:
    measured, predicted = check.measured, check.predicted
    mark = Text("✓", style="green") if is_equal else Text("✗", style="bold red")
    cells: list[RenderableType] = [check.step]
    for one, other in zip(_counts(predicted), _counts(measured), strict=True):
        text = f"{other:,}" if other or one else ""
        cells.append(text if one == other else Text(f"{other:,}\npredicted {one:,}", style="red"))
    cells.append(mark)
    return cells


def _counts(row: LedgerRow) -> tuple[int, int, int]:
    return (
        row.uplink_payload_bytes + row.downlink_payload_bytes,
        row.uplink_message_bytes + row.downlink_message_bytes,
        row.client_flop + row.server_flop,
    )


def _memory_line(outcome: Verification) -> Text:
    parts = []
    for party, predicted in outcome.predicted_memory.items():
        measured = outcome.measured_memory[party]
        if predicted and measured:
            parts.append(
                f"{party} peak memory {format_bytes(measured)} measured, "
                f"{format_bytes(predicted)} predicted ({predicted / measured - 1:+.1%})"
            )
    return Text("; ".join(parts), style="dim")


def _verdict(outcomes: Sequence[Verification]) -> RenderableType:
    lines = Text()
    num_steps = sum(len([s for s in o.steps if s.step != "setup"]) for o in outcomes)
    for outcome in outcomes:
        if outcome.found:
            lines.append(f"{outcome.framework} differs: {outcome.found[0]}\n", style="bold red")
            if len(outcome.found) > 1:
                lines.append(f"  and {len(outcome.found) - 1} more differences\n", style="red")
    if not lines:
        lines.append(
            f"{num_steps} steps of {len(outcomes)} framework(s): predicted and measured bytes and "
            "FLOPs are equal to the last unit.\n",
            style="bold green",
        )
    first = outcomes[0]
    if first.timed_rounds:
        lines.append(
            f"Seconds: all clients of one round, median of {first.timed_rounds} rounds, one after "
            "the other in this process."
        )
        if first.profile_name:
            lines.append(
                f" Predicted by profile '{first.profile_name}' ({first.profile_source}), with its "
                "95 % interval; a machine of its own needs a profile of its own: fedsim calibrate."
            )
    return lines
