"""Queues for the server's accelerators are those of Ciw, customer by customer."""

import pytest

pytest.importorskip("ciw")

from oracles.queues import (
    CLOSED,
    FCFS,
    SHARING,
    Closed,
    Open,
    closed_difference,
    fcfs_difference,
    sharing_difference,
)

ENGINES = ("des", "scale")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", [c for c in CLOSED if not c.is_split], ids=str)
def test_clients_that_ask_lap_by_lap_wait_as_in_ciw(engine: str, case: Closed) -> None:
    """The machine repairman with unequal constant think times: no difference at all."""
    assert closed_difference(engine, case) == 0.0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", [c for c in CLOSED if c.is_split], ids=str)
def test_clients_of_a_cut_model_wait_as_in_ciw(engine: str, case: Closed) -> None:
    """The same with a message each way around the server; a message's time is a quotient."""
    assert closed_difference(engine, case) < 1e-13


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", FCFS, ids=str)
def test_departures_first_come_first_served_are_those_of_ciw(engine: str, case: Open) -> None:
    """Poisson arrivals at one and at three servers: no difference at all."""
    assert fcfs_difference(engine, case) == 0.0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", SHARING, ids=str)
def test_departures_from_shared_servers_are_those_of_ciw(engine: str, case: Open) -> None:
    """Processor sharing, one and two servers: to rounding."""
    assert sharing_difference(engine, case) < 1e-12


@pytest.mark.parametrize("engine", ENGINES)
def test_a_service_that_is_longer_by_a_billionth_is_seen(engine: str) -> None:
    """Negative control: both comparisons of queues see one part in 10^9."""
    assert closed_difference(engine, CLOSED[0], pace=1 + 1e-9) > 1e-10
    assert fcfs_difference(engine, FCFS[0], pace=1 + 1e-9) > 1e-10
    assert sharing_difference(engine, SHARING[0], pace=1 + 1e-9) > 1e-10
