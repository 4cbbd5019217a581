"""``[price]``: what a run costs in money."""

from __future__ import annotations

from fedsim.scenario.file.key import Table, key

__all__ = ["PriceTable"]


class PriceTable(Table):
    """``[price]``: what a run costs in money."""

    currency: str = key("label", default="", description="A label", max_length=12)
    per_uplink_gb: float | None = key(
        "cost", default=None, ge=0, le=1e9, description="For 10^9 message bytes, up"
    )
    per_downlink_gb: float | None = key(
        "cost", default=None, ge=0, le=1e9, description="For 10^9 message bytes, down"
    )
    per_accelerator_hour: float | None = key(
        "cost", default=None, ge=0, le=1e9, description="For each of the server's accelerators"
    )
    per_kwh: float | None = key(
        "cost", default=None, ge=0, le=1e9, description="For the energy of clients and server"
    )
