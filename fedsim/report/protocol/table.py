"""A protocol as a table: every step with who, what, how often, and what it sends or computes."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedsim.comparison.result import framework_label
from fedsim.cost.flop import operation_flop
from fedsim.protocol.step import (
    Compute,
    Each,
    Gather,
    Protocol,
    Segment,
    Transfer,
    leaf_steps,
)
from fedsim.report.protocol.sequence_layout import words
from fedsim.spec.plan import TrainingSpec
from fedsim.units import format_bytes, format_flop

__all__ = ["protocol_table"]


def protocol_table(protocol: Protocol, training: TrainingSpec, plan_words: str) -> RenderableType:
    """All steps of a protocol.

    Parameters
    ----------
    protocol : Protocol
    training : TrainingSpec
        What FLOPs are counted for.
    plan_words : str
        The plan that the numbers are for, in words.
    """
    table = Table(
        title=f"{framework_label(protocol.name)}: {plan_words}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    table.add_column("step", no_wrap=True)
    table.add_column("who", no_wrap=True)
    table.add_column("what")
    for name in ("times", "payload bytes", "FLOP"):
        table.add_column(name, justify="right", no_wrap=True)
    for title, segments in (
        ("set-up, once", protocol.setup),
        ("every round", protocol.round),
        ("at the end, once", protocol.finish),
    ):
        if segments:
            table.add_row("", Text(title, style="bold cyan"))
            for segment in segments:
                for row in _rows(segment, training):
                    table.add_row(*row)
            table.add_section()
    note = "Bytes and FLOP are sums over the times, of one client (or of the server, once)."
    return Group(table, Text(f" * {note}", style="dim"))


def _rows(segment: Segment, training: TrainingSpec) -> Iterator[tuple[str, ...]]:
    """One row a step name, its batches summed."""
    if isinstance(segment, Gather):
        yield "", "server", f"gathers {segment.label} of all clients", "", "", ""
        return
    sums: dict[tuple[str, str, str], tuple[int, int, int]] = {}
    for times, step in leaf_steps(segment.steps):
        who, what = _who_and_what(step, is_each=isinstance(segment, Each))
        num_bytes = step.payload.payload_bytes if isinstance(step, Transfer) else 0
        flop = operation_flop(step.operation, training) if isinstance(step, Compute) else 0
        old = sums.get((step.label, who, what), (0, 0, 0))
        sums[step.label, who, what] = (
            old[0] + times,
            old[1] + times * num_bytes,
            old[2] + times * flop,
        )
    for (label, who, what), (times, num_bytes, flop) in sums.items():
        sent = format_bytes(num_bytes) if num_bytes else ""
        yield label, who, what, f"{times:,}", sent, format_flop(flop) if flop else ""


def _who_and_what(step: Compute | Transfer, *, is_each: bool) -> tuple[str, str]:
    if isinstance(step, Transfer):
        who = "client -> server" if step.direction == "up" else "server -> client"
        return who, f"sends {step.payload.content.replace('_', ' ')}"
    who = step.site.value
    if who == "server" and is_each:
        who = "server, for each"
    return who, words(type(step.operation).__name__)
