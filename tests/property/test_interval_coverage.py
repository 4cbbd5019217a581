"""A 95 % interval holds what other seeds give; ``python -m fuzz.coverage`` asks uncut scenarios."""

from __future__ import annotations

from functools import cache
from typing import Final

import pytest

from fuzz.coverage import Coverage, coverages, drawn_scenarios, refuted

#: Few clients, rounds and samples, so that each is answered within seconds. Nights stay nights:
#: with shorter rounds all of them would end within the first one.
CUTS: Final[dict[str, tuple[str, ...]]] = {
    "half_fleet_lte": ("fleet.num_clients=8", "workload.num_rounds=3"),
    "overnight": (
        *("fleet.num_clients=40", "workload.num_rounds=10", "policy.clients_per_round=8"),
        "workload.samples_per_client=500",
    ),
    "saturation": ("fleet.num_clients=8", "workload.num_rounds=3"),
    "second_gpu": ("fleet.num_clients=8", "workload.num_rounds=3"),
    "stragglers": (
        *("fleet.num_clients=20", "workload.num_rounds=3", "policy.clients_per_round=8"),
    ),
}
_SHORT: Final = "workload.samples_per_client=32"


@cache
def cut(name: str) -> tuple[Coverage, ...]:
    """The results of a cut scenario, each against forty seeds."""
    return tuple(coverages(name, (_SHORT, *CUTS[name])))


def test_every_shipped_scenario_that_draws_is_asked() -> None:
    """But for the one of a million clients, which stays at one draw and says so."""
    assert drawn_scenarios() == sorted(CUTS)


@pytest.mark.parametrize("name", sorted(CUTS))
def test_another_seed_is_no_surprise(name: str) -> None:
    """Whoever plans with the interval is not caught out by the draw that comes true."""
    found = cut(name)

    assert found
    for each in found:
        assert len(each.round_s) == 40
        assert not each.is_refuted, f"{each.name}: {each.num_held} of {len(each.round_s)}"


@pytest.mark.parametrize("name", sorted(CUTS))
def test_an_interval_is_no_wider_than_it_has_to_be(name: str) -> None:
    """An interval that holds everything decides nothing."""
    for each in cut(name):
        assert not each.is_too_wide, f"{each.name}: {each.width / each.needed:.2f} times"


def test_devices_alone_do_not_hold_what_other_seeds_give() -> None:
    """The check sees an interval that knows of no draws."""
    found = [each for name in CUTS for each in cut(name)]

    assert any(refuted(each.held_by_devices_alone(), len(each.round_s)) for each in found)


def test_a_hundredfold_interval_is_too_wide() -> None:
    """The check sees an interval that holds everything."""
    (first, *_) = cut("second_gpu")

    assert Coverage(
        first.name, first.low / 10, first.high * 10, first.round_s, first.ends, first.table
    ).is_too_wide
