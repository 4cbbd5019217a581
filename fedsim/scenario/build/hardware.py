"""Devices and links of a scenario: catalogue entries, a measured profile, and one's own figures.

Decides how a table becomes a spec. Nothing is made up where a figure is missing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from fedsim.calibration.link.profile import (
    MEASUREMENTS_FILE,
    find_link_profile,
    load_link_profile,
)
from fedsim.calibration.profile import Profile
from fedsim.errors import ScenarioError, nearest
from fedsim.scenario.file.context import Context
from fedsim.scenario.file.hardware_tables import DeviceTable, LinkTable
from fedsim.scenario.file.mistake import shown
from fedsim.spec import device_catalogue, link_catalogue
from fedsim.spec.device import FEATURES, DeviceSpec
from fedsim.spec.federation import FederationSpec
from fedsim.spec.link import LinkSpec
from fedsim.units import parse_bytes

__all__ = ["PROFILE_DEVICE", "device_spec", "device_warnings", "link_spec", "overlaid"]

_T = TypeVar("_T", DeviceTable, LinkTable)

#: The name that stands for the device that the profile measured.
PROFILE_DEVICE: Final = "profile"
#: As for catalogue devices: the truth is within a factor of two with 95 % probability.
_UNMEASURED_SIGMA: Final = 0.35
#: Round trips ahead of a message: TCP's, and one more for TLS 1.3 (RFC 8446).
_HANDSHAKES: Final = {"new": 1.0, "new-tls": 2.0, "reused": 0.0}


def overlaid(base: _T | None, change: _T | None) -> _T | None:
    """A class's table over the scenario's: one that says what it is like stands alone."""
    if base is None or change is None or change.like is not None:
        return change if change is not None else base
    if getattr(change, "profile", None) is not None:
        return change
    return base.model_copy(update={name: getattr(change, name) for name in change.model_fields_set})


def device_spec(table: DeviceTable | None, precision: str, profile: Profile | None) -> DeviceSpec:
    """The device of a table.

    Parameters
    ----------
    table : DeviceTable or None
    precision : str
        Of the matrix products, see :func:`fedsim.spec.dtype.precision_name`; devices run at
        another rate for each.
    profile : Profile or None
        What ``like = "profile"`` stands for.

    Raises
    ------
    ScenarioError
        If the device is unknown or a figure is missing; the message names no table.
    """
    names = (*device_catalogue.device_names(), PROFILE_DEVICE)
    if table is None:
        raise ScenarioError(f'is missing; write device = "NAME" with one of {", ".join(names)}.')
    if table.tf32 and precision == "float32":
        precision = "tf32"
    if table.like is None:
        spec = _own_device(table)
    elif table.like == PROFILE_DEVICE:
        if profile is None:
            raise ScenarioError(
                "like = 'profile': this is what a profile measured, and none is named; write "
                'profile = "NAME OR FOLDER" ahead of all tables.'
            )
        spec = profile.device_for(precision)
    elif table.like in names:
        spec = device_catalogue.device(table.like, precision)
    else:
        raise ScenarioError(
            f"like = {shown(table.like)}: no device of the catalogue; allowed: {', '.join(names)}."
            f"{nearest(table.like, names, by_part=True)}"
        )
    return _changed_device(spec, table)


def device_warnings(federation: FederationSpec) -> tuple[str, ...]:
    """Why seconds of some of a federation's devices must not be believed."""
    devices = [*(one.device for one in federation.classes), federation.server.device]
    return tuple(dict.fromkeys(device.warning for device in devices if device.warning))


def _own_device(table: DeviceTable) -> DeviceSpec:
    needed = {
        "compute": table.compute,
        "memory_bandwidth": table.memory_bandwidth,
        "operator_time": table.operator_time,
    }
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise ScenarioError(
            f'{", ".join(missing)} missing; give like = "NAME" of the catalogue, or all of '
            'compute = "2 TFLOP/s", memory_bandwidth = "100 GB/s", operator_time = "10 us".'
        )
    return DeviceSpec(
        name=table.name or "own device",
        seconds_per_unit=dict.fromkeys(FEATURES, 0.0),
        relative_sigma=_UNMEASURED_SIGMA,
        source="the scenario's own figures, not calibrated",
    )


def _changed_device(spec: DeviceSpec, table: DeviceTable) -> DeviceSpec:
    seconds = dict(spec.seconds_per_unit) | device_catalogue.prices(
        None if table.compute is None else 1 / table.compute,
        None if table.memory_bandwidth is None else 1 / table.memory_bandwidth,
        table.operator_time,
    )
    is_other = seconds != spec.seconds_per_unit or table.slowdown != 1
    changes: dict[str, Any] = {}
    if table.memory is not None:
        changes["memory_bytes"] = table.memory
    if table.power is not None:
        changes["power_w"] = table.power
    if table.idle_power is not None:
        changes["idle_power_w"] = table.idle_power
    if table.uncertainty is not None:
        changes["relative_sigma"] = table.uncertainty
        changes["interval_95"] = {}
    return replace(
        spec,
        name=table.name or _slowed_name(spec.name, table),
        seconds_per_unit={name: value * table.slowdown for name, value in seconds.items()},
        # Nobody measured a device whose figures were changed by hand.
        is_calibrated=spec.is_calibrated and not is_other,
        **changes,
    )


def _slowed_name(name: str, table: DeviceTable) -> str:
    return name if table.slowdown == 1 else f"{name} (times x {table.slowdown:g})"


def link_spec(table: LinkTable | None, context: Context | None = None) -> LinkSpec:
    """The access link of a table.

    Parameters
    ----------
    table : LinkTable or None
    context : Context, optional
        Where a relative path of a measured link or trace starts (default: the current folder).

    Raises
    ------
    ScenarioError
        If the link is unknown, its profile is damaged or a figure is missing; the message names no
        table.
    """
    names = link_catalogue.link_names()
    if table is None:
        raise ScenarioError(f'is missing; write link = "NAME" with one of {", ".join(names)}.')
    if table.like is not None and table.profile is not None:
        raise ScenarioError(
            f"like = {shown(table.like)} and profile = {shown(table.profile)}: a link is either of "
            "the catalogue or measured; leave one of them out."
        )
    if table.like is not None and table.like not in names:
        raise ScenarioError(
            f"like = {shown(table.like)}: no link of the catalogue; allowed: {', '.join(names)}."
            f"{nearest(table.like, names)}"
        )
    if table.connection is not None and table.handshake_round_trips is not None:
        raise ScenarioError(
            f"connection = '{table.connection}' and handshake_round_trips = "
            f"{table.handshake_round_trips:g} say the same thing; leave one of them out."
        )
    if (table.trace is None) != (table.trace_period is None):
        raise ScenarioError("trace and trace_period belong together; give both or neither.")
    figures: dict[str, Any] = {
        name: value
        for name, value in (
            ("uplink_bytes_per_s", table.uplink),
            ("downlink_bytes_per_s", table.downlink),
            ("round_trip_s", table.round_trip),
            ("handshake_round_trips", table.handshake_round_trips),
            ("initial_window_bytes", table.initial_window),
            ("payload_fraction", table.payload_fraction),
            ("message_s", table.message_time),
            ("loss_probability", table.loss_probability),
            ("transmit_power_w", table.transmit_power),
            ("receive_power_w", table.receive_power),
            ("uplink_j_per_byte", _per_byte(table.uplink_energy_per_mb)),
            ("downlink_j_per_byte", _per_byte(table.downlink_energy_per_mb)),
        )
        if value is not None
    }
    # A rate that the user gives is the fleet's own.
    figures |= {f"{way}_sigma": 0.0 for way in ("uplink", "downlink") if getattr(table, way)}
    if table.connection is not None:
        figures["handshake_round_trips"] = _HANDSHAKES[table.connection]
    if table.trace is not None:
        context = context or Context(Path())
        figures["trace"] = context.rate_trace(table.trace, table.trace_period or 0.0)
    if table.like is not None or table.profile is not None:
        spec = _named_link(table, context or Context(Path()))
        name = table.name or (f"{spec.name} (changed)" if figures else spec.name)
        return replace(spec, name=name, **figures)
    missing = [k for k in ("uplink", "downlink", "round_trip") if getattr(table, k) is None]
    if missing:
        raise ScenarioError(
            f'{", ".join(missing)} missing; give like = "NAME" of the catalogue, or all of '
            'uplink = "10 Mbit/s", downlink = "50 Mbit/s", round_trip = "40 ms".'
        )
    return LinkSpec(name=table.name or "own link", source="the scenario's own figures", **figures)


def _per_byte(joules_per_mb: float | None) -> float | None:
    return None if joules_per_mb is None else joules_per_mb / parse_bytes("1 MB")


def _named_link(table: LinkTable, context: Context) -> LinkSpec:
    if table.profile is None:
        return link_catalogue.link(table.like or "")
    try:
        path = find_link_profile(table.profile, context.folder)
        context.note(str(path.absolute()), MEASUREMENTS_FILE)
        return load_link_profile(path).link
    except (OSError, ValueError) as error:
        # Names that no system takes: too long, or with a null in them.
        raise ScenarioError(f"profile = {shown(table.profile)}: {error}") from error
