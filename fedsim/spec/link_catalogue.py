"""Access links by name: published typical rates and round trips.

Decides what a published rate means to the transfer model, which adds headers and slow start
itself. One value stands for each link, with how far a fleet's own typical rate may be from it; how
the clients of one fleet spread is not here.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Final

from fedsim.errors import ScenarioError, nearest
from fedsim.spec.link import LinkSpec
from fedsim.units import parse_bytes_per_s, parse_seconds

__all__ = ["link", "link_names"]

#: Share of a rate that carries message bytes. A speed test's figure is payload already. On the wire
#: of an Ethernet port, 1448 B of TCP payload with timestamps take 1538 B: MTU 1500, header and
#: checksum 18, preamble 8, gap 12 (IEEE 802.3).
_PAYLOAD_FRACTION: Final = {"payload": 1.0, "wire": 1448 / 1538}


def link_names() -> tuple[str, ...]:
    """Names of the catalogue, wide-area links first."""
    return tuple(_entries())


def link(name: str) -> LinkSpec:
    """An access link of the catalogue.

    Parameters
    ----------
    name : str
        As in :func:`link_names`.

    Returns
    -------
    LinkSpec
        With a new TCP connection for every message, as is :class:`LinkSpec`'s default.

    Raises
    ------
    ScenarioError
        If the catalogue has no such link: no other one is taken for it.

    Notes
    -----
    A published range of round trips is used at its middle.

    Examples
    --------
    >>> link("lte-uk").uplink_bytes_per_s
    950000.0
    """
    entry = _entries().get(name)
    if entry is None:
        raise ScenarioError(
            f"link '{name}' is not in the catalogue; allowed: {', '.join(link_names())}."
            f"{nearest(name, link_names())}"
        )
    rate, round_trip = entry["rate"], entry["round_trip"]
    return LinkSpec(
        name=name,
        uplink_bytes_per_s=parse_bytes_per_s(rate["uplink"]),
        downlink_bytes_per_s=parse_bytes_per_s(rate["downlink"]),
        round_trip_s=(parse_seconds(round_trip["low"]) + parse_seconds(round_trip["high"])) / 2,
        payload_fraction=_PAYLOAD_FRACTION[rate["counts"]],
        uplink_sigma=entry["spread"]["sigma"],
        downlink_sigma=entry["spread"]["sigma"],
        source=(
            f"{entry['description']}; {rate['statistic']} rates ({rate['mark']}: {rate['source']});"
            f" round trip ({round_trip['mark']}: {round_trip['source']})"
        ),
    )


@cache
def _entries() -> dict[str, dict[str, Any]]:
    table = files("fedsim.spec").joinpath("data", "links.toml")
    return tomllib.loads(table.read_text(encoding="utf-8"))
