"""Energy and money of a run, from seconds and bytes: power by state, radio, prices.

What is not known is None and is named; it is never zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from fedsim.ledger import LedgerRow
from fedsim.spec.federation import ClientClass, ServerSpec
from fedsim.spec.price import PriceSpec

__all__ = ["Amounts", "Energy", "amounts_of", "class_energy", "money", "server_energy_j"]

_J_PER_KWH = 3.6e6
_S_PER_HOUR = 3600.0
_BYTES_PER_GB = 1e9


@dataclass(frozen=True, slots=True)
class Amounts:
    """What clients of one class did, added up.

    Attributes
    ----------
    compute_s, uplink_s, downlink_s, idle_s : float
        Computing, sending, receiving and waiting [s].
    uplink_bytes, downlink_bytes : float
        Message bytes [B].
    """

    compute_s: float = 0.0
    uplink_s: float = 0.0
    downlink_s: float = 0.0
    idle_s: float = 0.0
    uplink_bytes: float = 0.0
    downlink_bytes: float = 0.0

    def plus(self, other: Amounts, times: float = 1.0) -> Amounts:
        """The sum, the other one multiplied."""
        return Amounts(
            *(getattr(self, f.name) + times * getattr(other, f.name) for f in fields(Amounts))
        )


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of some clients by state [J]; None where a figure is missing.

    Attributes
    ----------
    compute_j, radio_j, idle_j : float or None
        [J].
    """

    compute_j: float | None
    radio_j: float | None
    idle_j: float | None

    @property
    def known_j(self) -> float:
        """Sum of the parts that are known [J]."""
        return sum(part for part in (self.compute_j, self.radio_j, self.idle_j) if part is not None)


def amounts_of(rows: Iterable[LedgerRow], idle_s: float = 0.0) -> Amounts:
    """Amounts of ledger rows of one class; a row's seconds of transfer go with its bytes' way."""
    total = Amounts(idle_s=idle_s)
    for row in rows:
        is_up = row.uplink_message_bytes > 0
        total = total.plus(
            Amounts(
                compute_s=row.compute_s - row.server_s,
                uplink_s=row.transfer_s if is_up else 0.0,
                downlink_s=0.0 if is_up else row.transfer_s,
                # While the server works for it a client idles, as it does in a queue.
                idle_s=row.wait_s + row.server_s,
                uplink_bytes=float(row.uplink_message_bytes),
                downlink_bytes=float(row.downlink_message_bytes),
            )
        )
    return total


def class_energy(amounts: Amounts, client_class: ClientClass) -> Energy:
    """Energy of clients of one class.

    Notes
    -----
    ``P_compute t_compute + (P_tx t_up + P_rx t_down + e_up n_up + e_down n_down) + P_idle t_wait``.
    The device's own draw while it sends is its idle power, which counts for those seconds too;
    the radio comes on top of it.
    """
    device, link = client_class.device, client_class.link
    compute = None if device.power_w is None else device.power_w * amounts.compute_s
    waiting_s = amounts.idle_s + amounts.uplink_s + amounts.downlink_s
    idle = None if device.idle_power_w is None else device.idle_power_w * waiting_s
    parts = (
        (link.transmit_power_w, amounts.uplink_s),
        (link.receive_power_w, amounts.downlink_s),
        (link.uplink_j_per_byte, amounts.uplink_bytes),
        (link.downlink_j_per_byte, amounts.downlink_bytes),
    )
    known = [rate * amount for rate, amount in parts if rate is not None]
    return Energy(compute, sum(known) if known else None, idle)


def server_energy_j(server: ServerSpec, busy_s: float, makespan_s: float) -> float | None:
    """Energy of the server's accelerators; idle ones count where their draw is known [J]."""
    if server.device.power_w is None:
        return None
    energy_j = server.device.power_w * busy_s
    if server.device.idle_power_w is not None:
        idle_s = max(0.0, server.num_accelerators * makespan_s - busy_s)
        energy_j += server.device.idle_power_w * idle_s
    return energy_j


def money(
    price: PriceSpec,
    total: LedgerRow,
    server: ServerSpec,
    makespan_s: float,
    energy_j: float | None,
) -> dict[str, float | str | None]:
    """Costs of a run by cause, wasted work included; None where no price is given."""

    def cost(rate: float | None, amount: float | None) -> float | None:
        return None if rate is None or amount is None else rate * amount

    hours = server.num_accelerators * makespan_s / _S_PER_HOUR
    parts = {
        "uplink": cost(price.per_uplink_gb, total.uplink_message_bytes / _BYTES_PER_GB),
        "downlink": cost(price.per_downlink_gb, total.downlink_message_bytes / _BYTES_PER_GB),
        "accelerators": cost(price.per_accelerator_hour, hours),
        "energy": cost(price.per_kwh, None if energy_j is None else energy_j / _J_PER_KWH),
    }
    known = [part for part in parts.values() if part is not None]
    return {"currency": price.currency, **parts, "total": sum(known) if known else None}
