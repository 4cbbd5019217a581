"""``fedsim calibrate link`` for a reader: what the link does and how well the fit holds."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from fedsim.calibration.link.run import LinkCalibration
from fedsim.units import format_bytes, format_bytes_per_s, format_seconds

__all__ = ["print_link_calibration"]

_MODELED: Final = frozenset({"cubic", "reno"})


def print_link_calibration(console: Console, result: LinkCalibration) -> None:
    """Print fitted values, held-out errors, the link's noise, and how to use the profile."""
    file = result.file
    title = f"{file.here.operating_system} and {file.there.operating_system}"
    console.print(
        Panel(escape(title), title=escape(f"link profile '{file.name}'"), title_align="left")
    )
    console.print(_values(result))
    console.print(_slow_start(result))
    console.print(_errors(result))
    console.print("An error below the noise is luck. Positive bias: predicted too slow.")
    senders = {file.here.congestion_control, file.there.congestion_control}
    if senders - _MODELED:
        console.print(
            f"Congestion control: {escape(', '.join(sorted(senders)))}; the model knows slow start "
            "as reno and cubic have it, and another one's pacing shows in the errors."
        )
    largest = file.provenance.largest_bytes
    if largest < result.largest_planned_bytes:
        console.print(
            f"Messages above {format_bytes(largest)} did not fit the time budget; raise "
            "--time-budget to measure them."
        )
    if result.num_resumed:
        console.print(f"{result.num_resumed} visits came from an interrupted run.")
    folder = escape(str(result.path.parent))
    console.print(f"written: {escape(str(result.path))}", soft_wrap=True)
    console.print(
        f'use it in a scenario: \\[link] profile = "{folder}", relative to the scenario\'s folder',
        soft_wrap=True,
    )


def _values(result: LinkCalibration) -> Table:
    fit = result.file.fit
    window = format_bytes(fit.initial_window_bytes) if fit.slow_start_visible else "not seen"
    table = Table("quantity", "fitted", "key of a scenario", title="What the link does")
    table.add_row("rate up, message bytes", _rate(fit.uplink_bytes_per_s), "uplink")
    table.add_row("rate down, message bytes", _rate(fit.downlink_bytes_per_s), "downlink")
    table.add_row("round trip", _seconds(fit.round_trip_s), "round_trip")
    table.add_row(
        "round trips to connect", f"{fit.handshake_round_trips:.2f}", "handshake_round_trips"
    )
    table.add_row("first window", window, "initial_window")
    table.add_row("endpoints, each message", _seconds(fit.message_s), "message_time")
    return table


def _slow_start(result: LinkCalibration) -> str:
    fit = result.file.fit
    if not fit.slow_start_visible:
        return (
            "Slow start: not seen; without it the times are explained as well, and the profile has "
            "none."
        )
    pause = {
        "yes": "a message after a pause takes it again",
        "no": "a message after a pause does not take it again",
        "not seen": "what a pause does was not seen",
    }[fit.restarts_after_idle]
    return f"Slow start: seen on new connections; {pause}."


def _errors(result: LinkCalibration) -> Table:
    quality, fit = result.file.quality, result.fit
    table = Table("relative error", "median", "p95", "max", "bias", title="How well it predicts")
    for what, errors in (
        ("sizes held out", fit.held_out),
        ("  on new connections", fit.held_out_new),
        ("  on connections in use", fit.held_out_reused),
        ("sizes of the fit", fit.fitted),
    ):
        table.add_row(
            f"{what}, {errors.count} points",
            f"{errors.median:.1%}",
            f"{errors.p95:.1%}",
            f"{errors.largest:.1%}",
            f"{errors.bias:+.1%}",
        )
    table.add_row(
        "the link's own test-retest noise",
        f"{quality.noise_median:.1%}",
        f"{quality.noise_p95:.1%}",
        "",
        "",
    )
    return table


def _rate(bytes_per_s: float) -> str:
    return f"{format_bytes_per_s(bytes_per_s)} ({format_bytes(bytes_per_s)}/s)"


def _seconds(seconds: float) -> str:
    return format_seconds(seconds) if seconds > 0 else "nothing seen"
