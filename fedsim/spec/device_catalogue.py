"""Devices by name, for whoever has not measured one: published figures and stated assumptions.

Decides how a published peak and an assumed share of it become a time model's coefficients. A
measured profile (:mod:`fedsim.calibration`) is always the better answer; what is built here says of
itself that it is not calibrated, and carries a wide interval.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

from fedsim import units
from fedsim.errors import ScenarioError, nearest
from fedsim.spec.device import FEATURES, DeviceSpec

__all__ = ["DeviceFacts", "Figure", "Mark", "device", "device_facts", "device_names", "prices"]

Mark = Literal["source", "derived", "unverified", "assumption"]

#: Logarithmic standard deviation of an uncalibrated device: the truth is within a factor of two
#: of the estimate with 95 % probability (``exp(1.96 * 0.35)`` is 1.99).
_UNCALIBRATED_SIGMA: Final = 0.35


@dataclass(frozen=True, slots=True)
class Figure:
    """One published figure.

    Attributes
    ----------
    value : float
        In the unit that the name of the figure's field ends in.
    mark : {"source", "derived", "unverified", "assumption"}
        Read at its source; arithmetic; known only from hearsay; or our choice.
    source : str
        Where it was read, or the arithmetic.
    """

    value: float
    mark: Mark
    source: str


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What the catalogue knows of a device, published and assumed.

    Attributes
    ----------
    name, description : str
    peak_flop_per_s : mapping of str to Figure
        Dense peak by number format, ``tf32`` among them where it is published [FLOP/s].
    memory_bytes : Figure
        Memory size [B].
    bandwidth_bytes_per_s : Figure
        Peak memory bandwidth [B/s].
    power_watts : Figure
        Under load, or in the highest power mode [W].
    lowest_power_watts : Figure or None
        In the lowest power mode, where there are modes [W].
    achieved_fraction : mapping of str to float
        Assumed share of the peak that matrix products reach, by number format.
    bandwidth_fraction : float
        Assumed share of the memory bandwidth that elementwise work reaches.
    operator_s : float
        Assumed time to launch one operator [s].
    usable_memory_fraction : float
        Assumed share of the memory that a training process may use.
    notes : tuple of str
        Further sourced facts, for readers only.
    """

    name: str
    description: str
    peak_flop_per_s: Mapping[str, Figure] = field(hash=False)
    memory_bytes: Figure
    bandwidth_bytes_per_s: Figure
    power_watts: Figure
    lowest_power_watts: Figure | None
    achieved_fraction: Mapping[str, float] = field(hash=False)
    bandwidth_fraction: float
    operator_s: float
    usable_memory_fraction: float
    notes: tuple[str, ...]


def device_names() -> tuple[str, ...]:
    """Names of the catalogue, small devices first."""
    return tuple(_entries())


def device_facts(name: str) -> DeviceFacts:
    """Published figures of a device and what is assumed about it.

    Parameters
    ----------
    name : str
        As in :func:`device_names`.

    Returns
    -------
    DeviceFacts

    Raises
    ------
    ScenarioError
        If the catalogue has no such device: no other one is taken for it.
    """
    entry = _entries().get(name)
    if entry is None:
        raise ScenarioError(
            f"device '{name}' is not in the catalogue; allowed: {', '.join(device_names())}."
            f"{nearest(name, device_names(), by_part=True)}"
        )
    assumed, power = entry["assumed"], entry["power"]
    return DeviceFacts(
        name=name,
        description=entry["description"],
        peak_flop_per_s={
            dtype: _figure(peak, units.FLOP_PER_S) for dtype, peak in entry["peak"].items()
        },
        memory_bytes=_figure(entry["memory"]["size"], units.BYTES),
        bandwidth_bytes_per_s=_figure(entry["memory"]["bandwidth"], units.BYTES_PER_S),
        power_watts=_figure(power["high"], units.WATTS),
        lowest_power_watts=_figure(power["low"], units.WATTS) if "low" in power else None,
        achieved_fraction=dict(assumed["achieved_fraction"]),
        bandwidth_fraction=assumed["bandwidth_fraction"],
        operator_s=units.parse_seconds(assumed["operator"]),
        usable_memory_fraction=assumed["usable_memory_fraction"],
        notes=tuple(entry["notes"]),
    )


def device(name: str, precision: str = "float32") -> DeviceSpec:
    """A device nobody measured, as the time model sees it.

    Parameters
    ----------
    name : str
        As in :func:`device_names`.
    precision : str
        Of the matrix products, which run at different peaks: see
        :func:`fedsim.spec.dtype.precision_name`. Autocast is priced as its format.

    Returns
    -------
    DeviceSpec
        With ``is_calibrated`` false.

    Raises
    ------
    ScenarioError
        If the device is unknown, or no peak is known for ``precision``.

    Notes
    -----
    ``1 / (peak * achieved fraction)`` seconds a FLOP, the same for linear layers, attention and the
    head; ``1 / (bandwidth * fraction)`` seconds a byte, the same for adapters, elementwise work and
    the optimizer, weights and messages; and a constant for each operator and each tensor of a
    message. Left out: caches, throttling, what a call costs beyond its operators, and work that
    overlaps with the launches of the next.

    Examples
    --------
    >>> device("a100-80g-sxm").is_calibrated
    False
    """
    facts, dtype = device_facts(name), precision.removesuffix("-autocast")
    if dtype not in facts.achieved_fraction:
        raise ScenarioError(
            f"device '{name}': no peak rate is known for {dtype}; allowed: "
            f"{', '.join(facts.achieved_fraction)}. A rate that you know makes a device of your "
            'own, in any format: compute = "2 TFLOP/s", memory_bandwidth = "50 GB/s", '
            'operator_time = "20 us" in place of its name.'
        )
    peak = facts.peak_flop_per_s[dtype]
    fraction = facts.achieved_fraction[dtype]
    seconds_per_flop = 1 / (peak.value * fraction)
    seconds_per_byte = 1 / (facts.bandwidth_bytes_per_s.value * facts.bandwidth_fraction)
    return DeviceSpec(
        name=name,
        seconds_per_unit=dict.fromkeys(FEATURES, 0.0)
        | prices(seconds_per_flop, seconds_per_byte, facts.operator_s),
        relative_sigma=_UNCALIBRATED_SIGMA,
        memory_bytes=int(facts.memory_bytes.value * facts.usable_memory_fraction),
        power_w=facts.power_watts.value,
        precision=precision,
        precisions=tuple(facts.achieved_fraction),
        is_calibrated=False,
        source=(
            f"catalogue, not calibrated: {facts.description}; {dtype} peak "
            f"{units.format_flop_per_s(peak.value)} ({peak.mark}: {peak.source}), of which "
            f"{fraction:g} is assumed to be achieved"
        ),
    )


def prices(
    seconds_per_flop: float | None = None,
    seconds_per_byte: float | None = None,
    operator_s: float | None = None,
) -> dict[str, float]:
    """Seconds a unit of every kind of work that three figures of a device say.

    The one rule for whoever knows no more of a device than these: the catalogue, a device of one's
    own, and a figure that overrides one of another device. What a call costs beyond its operators
    is in none of them.

    Parameters
    ----------
    seconds_per_flop, seconds_per_byte, operator_s : float or None
        [s]; the work that a missing one would price is left out.

    Examples
    --------
    >>> prices(operator_s=1e-5)["num_messages"]
    1e-05
    """
    found = {}
    for feature in FEATURES:
        if feature == "num_calls":
            continue
        if feature.endswith("_flop"):
            price = seconds_per_flop
        else:
            price = seconds_per_byte if feature.endswith("_bytes") else operator_s
        if price is not None:
            found[feature] = price
    return found


def _figure(entry: Mapping[str, Any], dimension: units.Dimension) -> Figure:
    return Figure(float(dimension.parse(entry["value"])), entry["mark"], entry["source"])


@cache
def _entries() -> dict[str, dict[str, Any]]:
    table = files("fedsim.spec").joinpath("data", "devices.toml")
    return tomllib.loads(table.read_text(encoding="utf-8"))
