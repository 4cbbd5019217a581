"""Energy and money by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedsim.fleet.energy import Amounts, amounts_of, class_energy, money, server_energy_j
from fedsim.ledger import LedgerRow
from fedsim.spec.price import PriceSpec
from scenarios import answered, changed
from toy_fleet import toy_class, toy_server

CLASS = toy_class("phones")
KNOWN = replace(
    CLASS,
    device=replace(CLASS.device, power_w=5.0, idle_power_w=1.0),
    link=replace(CLASS.link, transmit_power_w=2.0, receive_power_w=0.5, uplink_j_per_byte=1e-3),
)


def test_every_state_draws_its_own_power() -> None:
    """10 s at 5 W; 4 s up at 2 W, 6 s down at 0.5 W, 1,000 B at 1 mJ; 4 + 6 + 20 s at 1 W."""
    amounts = Amounts(10.0, 4.0, 6.0, 20.0, 1000.0, 2000.0)

    energy = class_energy(amounts, KNOWN)

    assert energy.compute_j == pytest.approx(50.0)
    assert energy.radio_j == pytest.approx(8.0 + 3.0 + 1.0)
    assert energy.idle_j == pytest.approx(30.0)
    assert energy.known_j == pytest.approx(92.0)


def test_what_is_not_known_is_not_zero() -> None:
    """No figure, no energy."""
    energy = class_energy(Amounts(10.0, 1.0, 1.0), CLASS)

    assert energy.compute_j is None
    assert energy.radio_j is None
    assert energy.idle_j is None


def test_rows_are_sorted_by_their_way() -> None:
    """A client computes what the server does not; while that works, or is awaited, it idles."""
    rows = [
        LedgerRow(compute_s=3.0, server_s=1.0, transfer_s=5.0, uplink_message_bytes=7),
        LedgerRow(transfer_s=2.0, downlink_message_bytes=9, wait_s=0.5),
    ]

    assert amounts_of(rows, idle_s=4.0) == Amounts(2.0, 5.0, 2.0, 5.5, 7.0, 9.0)


def test_a_server_draws_what_it_is_doing() -> None:
    """Two accelerators for 100 s, busy for 50 s in all: 50 s at 300 W and 150 s at 40 W."""
    server = toy_server()
    busy = replace(server, num_accelerators=2, device=replace(server.device, power_w=300.0))
    known = replace(busy, device=replace(busy.device, idle_power_w=40.0))

    assert server_energy_j(server, 50.0, 100.0) is None
    assert server_energy_j(busy, 50.0, 100.0) == pytest.approx(15_000.0)
    assert server_energy_j(known, 50.0, 100.0) == pytest.approx(21_000.0)


def test_money_is_amounts_times_prices() -> None:
    """2 GB up at 0.09, 1 h of two accelerators at 3.5, 1 kWh at 0.3; nothing for the way down."""
    price = PriceSpec("USD", per_uplink_gb=0.09, per_accelerator_hour=3.5, per_kwh=0.3)
    server = replace(toy_server(), num_accelerators=2)
    total = LedgerRow(uplink_message_bytes=2 * 10**9, downlink_message_bytes=10**9)

    found = money(price, total, server, 3600.0, 3.6e6)

    assert found == {
        "currency": "USD",
        "uplink": pytest.approx(0.18),
        "downlink": None,
        "accelerators": pytest.approx(7.0),
        "energy": pytest.approx(0.3),
        "total": pytest.approx(7.48),
    }


@pytest.mark.parametrize("engine", ["des", "scale"])
def test_engines_and_the_closed_form_agree_on_energy(tmp_path: Path, engine: str) -> None:
    """Where nobody queues: computing, radio, waiting and the server, to the last joule."""
    table = changed(
        device={"power": "5 W", "idle_power": "1 W"},
        link={"transmit_power": "2 W", "receive_power": "1 W", "uplink_energy_per_mb": "3 J"},
        server={"device": {"power": "100 W", "idle_power": "10 W"}},
        price={"per_kwh": 0.3, "per_accelerator_hour": 2.0, "per_downlink_gb": 7.0},
    )

    expected = answered(tmp_path, {**table, "engine": "analytic"})
    found = answered(tmp_path, {**table, "engine": engine})

    for one, other in zip(found, expected, strict=True):
        for name in ("compute_j", "radio_j"):
            assert one["energy"]["clients"][name] == pytest.approx(
                other["energy"]["clients"][name], rel=1e-9
            )
        assert one["energy"]["server_j"] == pytest.approx(other["energy"]["server_j"], rel=1e-9)
        assert one["energy"]["missing"] == []
        assert one["money"]["accelerators"] == pytest.approx(other["money"]["accelerators"])
        # Simulated or not, what the set-up sends is paid.
        assert one["money"]["downlink"] == pytest.approx(other["money"]["downlink"])
