"""What nobody knows exactly about a federation, one factor at a time, at both ends of its interval.

Decides which figures move together: the devices of all clients (and the server's, where it is the
same device), the server's own, and the links. A factor that moves nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fedsim.spec.device import DeviceSpec
from fedsim.spec.distribution import Distribution, LogNormal
from fedsim.spec.federation import ClientClass, FederationSpec
from fedsim.spec.link import rates_at_end

__all__ = ["CLIENT_DEVICES", "LINKS", "SERVER_DEVICE", "factor_ends"]

CLIENT_DEVICES = "client_devices"
SERVER_DEVICE = "server_device"
LINKS = "links"


def factor_ends(federation: FederationSpec) -> Iterator[tuple[str, tuple[FederationSpec, ...]]]:
    """Each factor, with the federation at the end of least time and at the end of most.

    Parameters
    ----------
    federation : FederationSpec
    """
    server = federation.server.device
    shares_device = any(_alike(c.device, server) for c in federation.classes)
    if any(_is_uncertain(c.device) for c in federation.classes):
        yield (
            CLIENT_DEVICES,
            tuple(_devices_moved(federation, end, server=shares_device) for end in (0, 1)),
        )
    if _is_uncertain(server) and not shares_device:
        yield SERVER_DEVICE, tuple(_server_moved(federation, end) for end in (0, 1))
    if any(rates_at_end(c.link, 1) != (1.0, 1.0) for c in federation.classes):
        yield (
            LINKS,
            tuple(
                replace(federation, classes=tuple(_link_moved(c, end) for c in federation.classes))
                for end in (0, 1)
            ),
        )


def _is_uncertain(device: DeviceSpec) -> bool:
    return any(device.ratios_95(regime) != (1.0, 1.0) for regime in ("model", "message"))


def _alike(first: DeviceSpec, second: DeviceSpec) -> bool:
    """Whether what is wrong about the one is as wrong about the other: slowed copies, say."""
    return first.name.partition(" (")[0] == second.name.partition(" (")[0]


def _devices_moved(federation: FederationSpec, end: int, *, server: bool) -> FederationSpec:
    classes = tuple(replace(c, device=c.device.at_end(end)) for c in federation.classes)
    moved = replace(federation, classes=classes)
    return _server_moved(moved, end) if server else moved


def _server_moved(federation: FederationSpec, end: int) -> FederationSpec:
    server = replace(federation.server, device=federation.server.device.at_end(end))
    return replace(federation, server=server)


def _link_moved(client_class: ClientClass, end: int) -> ClientClass:
    link, spread = client_class.link, client_class.spread
    up, down = rates_at_end(link, end)
    return replace(
        client_class,
        link=replace(
            link,
            uplink_bytes_per_s=link.uplink_bytes_per_s * up,
            downlink_bytes_per_s=link.downlink_bytes_per_s * down,
        ),
        spread=replace(
            spread, uplink=_scaled(spread.uplink, up), downlink=_scaled(spread.downlink, down)
        ),
    )


def _scaled(law: Distribution | None, factor: float) -> Distribution | None:
    """A law around a moved median; a table's rates are measured and stay."""
    return replace(law, median=law.median * factor) if isinstance(law, LogNormal) else law
