"""What things cost in money."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PriceSpec"]


@dataclass(frozen=True, slots=True)
class PriceSpec:
    """Prices, in one currency; None where there is none.

    Attributes
    ----------
    currency : str
        A label.
    per_uplink_gb, per_downlink_gb : float or None
        For 10^9 message bytes.
    per_accelerator_hour : float or None
        For each of the server's accelerators, busy or not, from the first round to the last.
    per_kwh : float or None
        For the energy of clients and server.
    """

    currency: str = ""
    per_uplink_gb: float | None = None
    per_downlink_gb: float | None = None
    per_accelerator_hour: float | None = None
    per_kwh: float | None = None
