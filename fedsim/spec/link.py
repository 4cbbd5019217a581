"""A client's access link and what TCP does on it."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, sqrt
from typing import Final

from fedsim.errors import ScenarioError
from fedsim.spec.device import Z95

__all__ = ["SEGMENT_BYTES", "LinkSpec", "RateTrace", "loss_limited_bytes_per_s", "rates_at_end"]

#: Of a message in a TCP segment over Ethernet, with timestamps [B].
SEGMENT_BYTES: Final = 1448
#: sqrt(3/2): every segment acknowledged, losses periodic.
_MATHIS_CONSTANT = sqrt(1.5)
#: Of a rate trace.
_LEAST_FACTOR = 1e-9


@dataclass(frozen=True, slots=True)
class RateTrace:
    """How a link's rates vary: a factor that is constant between times, over and over again.

    Attributes
    ----------
    times_s : tuple of float
        Starts of the pieces, the first at 0, rising [s].
    factors : tuple of float
        Both rates are multiplied by it; 0 in an outage, else at least 1e-9.
    period_s : float
        After which it starts over; beyond the last time [s].
    """

    times_s: tuple[float, ...]
    factors: tuple[float, ...]
    period_s: float

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.times_s, self.times_s[1:], strict=False))
        if not self.times_s or self.times_s[0] != 0 or not rising:
            raise ScenarioError("a rate trace needs times that start at 0 s and rise.")
        if len(self.times_s) != len(self.factors):
            raise ScenarioError(
                f"a rate trace of {len(self.times_s)} times and {len(self.factors)} factors; one "
                "factor belongs to each time."
            )
        for factor in self.factors:
            if not (factor == 0 or _LEAST_FACTOR <= factor < inf):
                raise ScenarioError(
                    f"a rate trace with a factor of {factor:g}; allowed: 0 for an outage, and from "
                    f"{_LEAST_FACTOR:g} on, for with less a message takes centuries."
                )
        if not any(self.factors):
            raise ScenarioError(
                "a rate trace that is 0 throughout: nothing would ever be sent; give it a positive "
                "factor at some time."
            )
        if not self.times_s[-1] + 1e-3 <= self.period_s < float("inf"):
            raise ScenarioError("a rate trace needs a period that ends after its last time.")

    @property
    def mean_factor(self) -> float:
        """Over time."""
        ends = (*self.times_s[1:], self.period_s)
        pieces = zip(self.times_s, ends, self.factors, strict=True)
        return sum((end - start) * factor for start, end, factor in pieces) / self.period_s

    def change(self, index: int) -> tuple[float, float]:
        """When the piece number ``index`` starts and what its factor is; 0 is the first."""
        laps, piece = divmod(index, len(self.times_s))
        return laps * self.period_s + self.times_s[piece], self.factors[piece]


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
    loss_probability : float
        Share of segments that are lost. A flow is then no faster than TCP's congestion avoidance
        lets it be; see :func:`loss_limited_bytes_per_s`.
    trace : RateTrace or None
        How its rates vary with time.
    transmit_power_w, receive_power_w : float or None
        What the radio draws beside the device while a message is on its way [W]; None where it is
        not known.
    uplink_j_per_byte, downlink_j_per_byte : float or None
        Energy that goes with every message byte, beside that [J/B]; None where it is not known.
    uplink_sigma, downlink_sigma : float
        Standard deviation of the logarithm of a fleet's typical rate around this one: 0 where the
        user gave or measured it.
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
    loss_probability: float = 0.0
    trace: RateTrace | None = None
    transmit_power_w: float | None = None
    receive_power_w: float | None = None
    uplink_j_per_byte: float | None = None
    downlink_j_per_byte: float | None = None
    uplink_sigma: float = 0.0
    downlink_sigma: float = 0.0
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
        for field in ("uplink_sigma", "downlink_sigma"):
            if not 0 <= getattr(self, field) <= 5:
                raise ScenarioError(
                    f"link '{self.name}': {field} = {getattr(self, field)}; allowed: 0 to 5."
                )
        if not 0 <= self.loss_probability < 1:
            raise ScenarioError(
                f"link '{self.name}': loss_probability = {self.loss_probability}; allowed: 0 to "
                "below 1."
            )
        if not 0 < self.payload_fraction <= 1:
            raise ScenarioError(
                f"link '{self.name}': payload_fraction = {self.payload_fraction}; "
                "allowed: above 0, up to 1."
            )


def rates_at_end(link: LinkSpec, end: int) -> tuple[float, float]:
    """Factors on both rates, up and down, at one end of their 95 % interval.

    Parameters
    ----------
    link : LinkSpec
    end : int
        0 for the fastest, 1 for the slowest.
    """
    sign = Z95 if end == 0 else -Z95
    return exp(sign * link.uplink_sigma), exp(sign * link.downlink_sigma)


def loss_limited_bytes_per_s(loss_probability: float, round_trip_s: float) -> float:
    """Goodput that TCP's congestion avoidance sustains under loss [B/s].

    Parameters
    ----------
    loss_probability : float
        Of a segment.
    round_trip_s : float
        [s].

    Notes
    -----
    ``1448 B / RTT * sqrt(3/2) / sqrt(p)``: equation 3 of Mathis, Semke, Mahdavi and Ott, "The
    macroscopic behavior of the TCP congestion avoidance algorithm", ACM CCR 27(3), 1997. It holds
    for Reno at small p without timeouts; CUBIC does better on long, fast paths, BBR does not
    depend on loss like this at all. No limit without loss or without a round trip.
    """
    if loss_probability == 0 or round_trip_s == 0:
        return inf
    return SEGMENT_BYTES / round_trip_s * _MATHIS_CONSTANT / sqrt(loss_probability)
