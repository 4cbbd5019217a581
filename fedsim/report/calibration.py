"""``fedsim calibrate`` for a reader: what the device achieves and how well the fit holds."""

from __future__ import annotations

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from fedsim.calibration.run import Calibration
from fedsim.units import format_bytes, format_flop_per_s, format_seconds

__all__ = ["print_calibration"]


def print_calibration(console: Console, result: Calibration) -> None:
    """Print coefficients as rates, held-out errors and the machine's noise."""
    file, quality = result.file, result.file.quality
    machine = file.machine
    title = f"{machine.processor}, {machine.num_threads} threads, torch {file.provenance.torch}"
    console.print(Panel(title, title=f"profile '{file.name}'", title_align="left"))
    rates = Table("kind of work", "fitted rate", title="What the device achieves")
    for feature, seconds in result.fit.seconds_per_unit.items():
        rates.add_row(feature, _rate(feature, seconds))
    console.print(rates)
    errors = Table("relative error", "median", "p95", "max", "bias", title="How well it predicts")
    errors.add_row(
        f"held out by shape, {quality.num_points} points",
        f"{quality.held_out_median:.1%}",
        f"{quality.held_out_p95:.1%}",
        f"{quality.held_out_max:.1%}",
        f"{quality.held_out_bias:+.1%}",
    )
    errors.add_row(
        "the machine's own test-retest noise",
        f"{quality.noise_median:.1%}",
        f"{quality.noise_p95:.1%}",
        "",
        "",
    )
    console.print(errors)
    console.print(
        f"95 % interval: x / {_factor(file.fit.relative_sigma):.2f} around a prediction; it covers "
        f"{quality.coverage_95:.0%} of the held-out points. An error below the noise is luck."
    )
    if result.num_resumed:
        console.print(f"{result.num_resumed} measurements came from an interrupted run.")
    console.print(f'written: {result.path}  (use it: profile = "{result.path.parent}")')


def _rate(feature: str, seconds_per_unit: float) -> str:
    if seconds_per_unit == 0:
        return "no cost of its own found"
    if feature.endswith("_flop"):
        return format_flop_per_s(1 / seconds_per_unit)
    if feature.endswith("_bytes"):
        return f"{format_bytes(1 / seconds_per_unit)}/s"
    return f"{format_seconds(seconds_per_unit)} each"


def _factor(sigma: float) -> float:
    return float(2.718281828459045 ** (1.959963984540054 * sigma))
