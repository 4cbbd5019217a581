"""A client's access link and what TCP does on it."""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.errors import ScenarioError

__all__ = ["LinkSpec"]


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """An access link, seen from the client.

    Attributes
    ----------
    name : str
    uplink_bytes_per_s, downlink_bytes_per_s : float
        Rate of the wire, headers included [B/s].
    round_trip_s : float
        Round-trip time [s].
    handshake_round_trips : float
        Round trips ahead of every message: 1 for a new TCP connection, 2 with TLS 1.3, 0 where the
        connection is kept open.
    initial_window_bytes : int
        TCP's first congestion window: 10 segments of 1448 bytes (RFC 6928). 0 switches slow start
        off (a connection that stays warm).
    payload_fraction : float
        Share of the wire's rate that carries message bytes: 1448 of 1514 for TCP over Ethernet
        with timestamps.
    message_s : float
        Constant cost of a message at the endpoints [s].
    source : str
    """

    name: str
    uplink_bytes_per_s: float
    downlink_bytes_per_s: float
    round_trip_s: float
    handshake_round_trips: float = 1.0
    initial_window_bytes: int = 14480
    payload_fraction: float = 1448 / 1514
    message_s: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        for field in ("uplink_bytes_per_s", "downlink_bytes_per_s"):
            if not 0 < getattr(self, field) < float("inf"):
                raise ScenarioError(
                    f"link '{self.name}': {field} = {getattr(self, field)}; a positive rate is "
                    "needed, for example '10 Mbit/s'."
                )
        for field in (
            "round_trip_s",
            "handshake_round_trips",
            "initial_window_bytes",
            "message_s",
        ):
            if not 0 <= getattr(self, field) < float("inf"):
                raise ScenarioError(
                    f"link '{self.name}': {field} = {getattr(self, field)}; allowed: 0 or more."
                )
        if not 0 < self.payload_fraction <= 1:
            raise ScenarioError(
                f"link '{self.name}': payload_fraction = {self.payload_fraction}; "
                "allowed: above 0, up to 1."
            )
