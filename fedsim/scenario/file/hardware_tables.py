"""Tables of machines and links: ``[device]``, ``[link]``, ``[fleet]``, ``[server]``.

Decides which keys there are and their ranges. What a catalogue entry holds, and how entries and
overrides become specs, is not known here.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from fedsim.scenario.file.availability_table import AvailabilityTable
from fedsim.scenario.file.codec_table import CodecTable
from fedsim.scenario.file.key import Affects, Table, key
from fedsim.spec.federation import Discipline
from fedsim.spec.quantity import ByteCount, ByteRate, FlopRate, Joules, Seconds, Watts

__all__ = [
    "ClassTable",
    "Device",
    "DeviceTable",
    "FleetTable",
    "Link",
    "LinkTable",
    "ServerTable",
]

_EVERYTHING: Final[tuple[Affects, ...]] = ("cost", "time", "learning")
_MAX_CLIENTS = 1_000_000_000
_MAX_CLASSES = 1000


class LinkTable(Table):
    """An access link, seen from the client."""

    like: str | None = key(
        "time", default=None, description="Catalogue link that the other keys override"
    )
    profile: str | None = key(
        "time",
        default=None,
        description="Folder of a link measured by 'fedsim calibrate link'; instead of 'like'",
        min_length=1,
    )
    name: str | None = key("label", default=None, description="What reports call it", min_length=1)
    uplink: ByteRate | None = key("time", default=None, description="Rate of the wire, up", gt=0)
    uplink_p95: ByteRate | None = key(
        "time",
        default=None,
        gt=0,
        description="95 % of clients are below it; 'uplink' is the median",
    )
    downlink: ByteRate | None = key(
        "time", default=None, description="Rate of the wire, down", gt=0
    )
    downlink_p95: ByteRate | None = key(
        "time", default=None, gt=0, description="Likewise; 'downlink' is the median"
    )
    round_trip: Seconds | None = key("time", default=None, description="Round-trip time")
    round_trip_p95: Seconds | None = key(
        "time", default=None, description="Likewise; 'round_trip' is the median"
    )
    connection: Literal["new", "new-tls", "reused"] | None = key(
        "time",
        default=None,
        description="1, 2 or 0 round trips of handshake ahead of every message",
    )
    loss_probability: float | None = key(
        "time", default=None, ge=0, lt=1, description="Share of segments that are lost"
    )
    transmit_power: Watts | None = key(
        "time", default=None, description="Of the radio while a message is sent"
    )
    receive_power: Watts | None = key(
        "time", default=None, description="Of the radio while a message is received"
    )
    uplink_energy_per_mb: Joules | None = key(
        "time", default=None, description="Of the radio for 10^6 message bytes, beside its power"
    )
    downlink_energy_per_mb: Joules | None = key("time", default=None, description="Likewise, down")
    trace: str | None = key(
        "time", default=None, min_length=1, description="CSV of times and factors on both rates"
    )
    trace_period: Seconds | None = key(
        "time", default=None, gt=0, description="After which the trace starts over"
    )
    handshake_round_trips: float | None = key(
        "time", default=None, ge=0, le=100, description="Round trips ahead of every message"
    )
    initial_window: ByteCount | None = key(
        "time", default=None, description="TCP's first congestion window; '0 B' for none"
    )
    payload_fraction: float | None = key(
        "time", default=None, gt=0, le=1, description="Share of the rate that carries messages"
    )
    message_time: Seconds | None = key(
        "time", default=None, description="Constant cost of a message at the endpoints"
    )


class DeviceTable(Table):
    """A device: one of the catalogue, the profile's, or one's own."""

    like: str | None = key(
        "time",
        "cost",
        default=None,
        description="Catalogue device, or 'profile' for the one that the profile measured",
    )
    name: str | None = key("label", default=None, description="What reports call it", min_length=1)
    slowdown: float = key(
        "time", default=1.0, gt=0, le=1e6, description="All times are multiplied by it"
    )
    slowdown_p95: float | None = key(
        "time",
        default=None,
        gt=0,
        le=1e6,
        description="95 % of clients are below it; 'slowdown' is the median",
    )
    round_variation: float = key(
        "time",
        default=0.0,
        ge=0,
        le=5,
        description="Standard deviation of the log of a client's computing time over rounds",
    )
    compute: FlopRate | None = key(
        "time", default=None, gt=0, description="Sustained (not peak) rate of matrix products"
    )
    memory_bandwidth: ByteRate | None = key(
        "time",
        default=None,
        gt=0,
        description="Sustained rate of all work on bytes: weights, elementwise, messages",
    )
    operator_time: Seconds | None = key(
        "time",
        default=None,
        description="Time to launch one operator, or to handle one tensor of a message",
    )
    tf32: bool = key(
        "time",
        "learning",
        when="the framework trains there",
        default=False,
        description="32-bit products on tensor cores (TF32)",
    )
    memory: ByteCount | None = key(
        "cost", "time", default=None, description="What training may use; more is infeasible"
    )
    power: Watts | None = key("time", default=None, description="Draw while computing")
    idle_power: Watts | None = key("time", default=None, description="Draw while waiting")
    uncertainty: float | None = key(
        "time", default=None, ge=0, lt=10, description="Standard deviation of the log of the time"
    )


def _named(value: object) -> object:
    """Accept ``"name"`` as short for ``{like = "name"}``."""
    return {"like": value} if isinstance(value, str) else value


Link = Annotated[LinkTable, BeforeValidator(_named, json_schema_input_type=str | LinkTable)]
Device = Annotated[DeviceTable, BeforeValidator(_named, json_schema_input_type=str | DeviceTable)]


class ClassTable(Table):
    """``[[fleet.class]]``: clients that are alike."""

    name: str = key("label", description="Unique among the classes", min_length=1, max_length=60)
    share: float | None = key(
        "cost", "time", default=None, gt=0, le=1, description="Share of fleet.num_clients"
    )
    num_clients: int | None = key(
        "cost", "time", default=None, ge=1, le=_MAX_CLIENTS, description="Instead of a share"
    )
    device: Device | None = key(
        "time",
        "cost",
        "learning",
        stands_for="device",
        default=None,
        description="Instead of [device], or changes to it",
    )
    link: Link | None = key("time", default=None, description="Instead of [link], or changes to it")
    samples_per_client: int | None = key(
        *_EVERYTHING,
        stands_for="workload.samples_per_client",
        default=None,
        ge=1,
        le=1_000_000,
        description="Instead of [workload]'s",
    )
    dropout_probability: float | None = key(
        *_EVERYTHING,
        stands_for="fleet.dropout_probability",
        default=None,
        ge=0,
        le=1,
        description="Instead of [fleet]'s",
    )
    availability: AvailabilityTable | None = key(
        *_EVERYTHING,
        stands_for="fleet.availability",
        default=None,
        description="Instead of [fleet]'s",
    )
    table: str | None = key(
        *_EVERYTHING,
        stands_for="fleet.table",
        default=None,
        min_length=1,
        description="CSV with a row for each client",
    )
    r: int | None = key(
        *_EVERYTHING,
        stands_for="lora.r",
        default=None,
        ge=1,
        le=65536,
        description="Instead of [lora]'s rank",
    )
    cut_layer: int | None = key(
        *_EVERYTHING,
        stands_for="split.cut_layer",
        default=None,
        ge=0,
        le=10_000,
        description="Instead of [split]'s",
    )
    local_epochs: int | None = key(
        *_EVERYTHING,
        stands_for="workload.local_epochs",
        default=None,
        ge=1,
        le=1000,
        description="Instead of [workload]'s",
    )
    batch_size: int | None = key(
        *_EVERYTHING,
        stands_for="workload.batch_size",
        default=None,
        ge=1,
        le=1_000_000,
        description="Instead of [workload]'s",
    )
    codec: CodecTable | None = key(
        *_EVERYTHING,
        stands_for="codec",
        default=None,
        description="Instead of [codec], or changes to it",
    )


_Classes = Annotated[tuple[ClassTable, ...], Field(strict=False, max_length=_MAX_CLASSES)]


class FleetTable(Table):
    """``[fleet]``: how many clients, and of which classes."""

    num_clients: int | None = key(
        *_EVERYTHING,
        learning="covariate",
        default=None,
        ge=1,
        le=_MAX_CLIENTS,
        description="K, all clients",
    )
    dropout_probability: float = key(
        *_EVERYTHING,
        learning="covariate",
        default=0.0,
        ge=0,
        le=1,
        description="That a client fails in a round's work",
    )
    availability: AvailabilityTable = key(
        *_EVERYTHING, default=AvailabilityTable(), description="When clients are there"
    )
    table: str | None = key(
        *_EVERYTHING,
        when="clients have unequal data",
        default=None,
        min_length=1,
        description="CSV with a row for each client",
    )
    classes: _Classes = key(
        *_EVERYTHING, default=(), alias="class", description="All clients are alike without it"
    )


class ServerTable(Table):
    """``[server]``: the server's accelerators and its own link."""

    device: Device = key("time", description="One accelerator")
    num_accelerators: int = key(
        "time", default=1, ge=1, le=1_000_000, description="How many of them"
    )
    uplink: ByteRate | None = key(
        "time", default=None, gt=0, description="What all clients together can send"
    )
    downlink: ByteRate | None = key(
        "time", default=None, gt=0, description="What all clients together can receive"
    )
    discipline: Discipline = key(
        "time", default="fcfs", description="Requests wait for an accelerator, or share them"
    )
    max_batch: int = key(
        "time", default=1, ge=1, le=1_000_000, description="Requests that are taken up at once"
    )
