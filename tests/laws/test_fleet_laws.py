"""Laws of whole simulations: order statistics, conservation, and what must change nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from fedsim.cost.flop import operation_flop
from fedsim.fleet import Simulation, SimulationResult
from fedsim.spec.distribution import LogNormal, Table
from fedsim.spec.federation import ClientClass, Spread
from fedsim.spec.policy import PolicySpec
from oracle import contradicts
from toy_fleet import ASK, BYTES, DOWN, UP, WORK, toy_class, toy_server, toy_simulation

Run = Callable[[Simulation], SimulationResult]

SEEDS = range(30)
LIMIT = 1e-3
thousandths = st.integers(1, 4000).map(lambda n: n / 1000)
paces = st.lists(st.tuples(thousandths, thousandths), min_size=1, max_size=12)


def fleet(dropout: float = 0.0, num: int = 4) -> list[ClientClass]:
    """A dozen clients, no two alike."""
    spread = Spread(
        slowdown=LogNormal(1.0, 0.5),
        uplink=LogNormal(BYTES, 0.5),
        downlink=LogNormal(2.0 * BYTES, 0.5),
        dropout_probability=dropout,
    )
    return [replace(toy_class(name, num=num), spread=spread) for name in ("a", "b", "c")]


def simple(some: list[tuple[float, float]], **changes: Any) -> Simulation:
    """Clients by seconds of work and of a message, with nothing left to the server."""
    classes = [toy_class(f"{i:02}", *pace) for i, pace in enumerate(some)]
    return toy_simulation(*classes, **({"server": toy_server(0.0)} | changes))


def exponential_round(simulate: Run, seed: int, slowness: float = 1.0) -> float:
    """How long a round of 16 clients takes whose work is exponential."""
    spread = Spread(slowdown=Table(tuple(EXPONENTIAL)))
    client = replace(toy_class("c", slowness, num=16), spread=spread)
    simulation = toy_simulation(client, steps=(WORK,), server=toy_server(0.0), seed=seed)
    return float(simulate(simulation).rounds.closed_s[0])


#: Quantiles in the middle of each of 4000 equal chances.
EXPONENTIAL = (-np.log1p(-(np.arange(4000) + 0.5) / 4000)).tolist()
HARMONIC = sum(1 / k for k in range(1, 17))


def test_a_round_of_exponential_clients_takes_the_harmonic_number_of_them(simulate: Run) -> None:
    """``H_n / mu``; the table's own expectation is within a tenth of a per cent of it."""
    edges = (np.arange(4001) / 4000) ** 16
    truth = float(EXPONENTIAL @ np.diff(edges))
    found = [exponential_round(simulate, seed) for seed in range(300)]

    assert truth == pytest.approx(HARMONIC, rel=1e-3)
    assert not contradicts(found, truth)
    slower = [exponential_round(simulate, seed, 1.1) for seed in range(300)]
    assert contradicts(slower, truth), "negative control: a tenth slower is seen"


@given(paces, st.data())
def test_a_quorum_closes_at_its_order_statistic(
    simulate: Run, some: list[tuple[float, float]], data: st.DataObject
) -> None:
    """``k`` of ``n``: the k-th smallest of the single clients' times, and k are used."""
    quorum = data.draw(st.integers(1, len(some)))
    rounds = simulate(simple(some, policy=PolicySpec(quorum=quorum))).rounds

    alone = sorted(work_s + message_s for work_s, message_s in some)
    assert rounds.closed_s[0] == pytest.approx(alone[quorum - 1], rel=1e-12)
    assert rounds.num_used[0] == quorum


def is_binomial(lost: NDArray[np.int64], num: int, chance: float) -> bool:
    """Whether counts have the mean and the dispersion of draws with this chance."""
    total = stats.binomtest(int(lost.sum()), num * len(lost), chance).pvalue
    spread = float(((lost - num * chance) ** 2).sum() / (num * chance * (1 - chance)))
    tails = stats.chi2.cdf(spread, len(lost)), stats.chi2.sf(spread, len(lost))
    return total > LIMIT and min(tails) > LIMIT / 2


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("steps", [(WORK, UP), (WORK, UP, ASK)])
def test_clients_that_are_lost_are_binomial(simulate: Run, steps: Any, retries: int) -> None:
    """With chance 0.3, or 0.09 where one may try again; 0.33 and clustered losses are refused."""
    policy = PolicySpec(retries=retries)
    lost = np.concatenate(
        [
            simulate(
                toy_simulation(
                    toy_class("c", num=40, dropout=0.3),
                    steps=steps, policy=policy, num_rounds=5, seed=seed,
                )
            ).rounds.num_lost
            for seed in SEEDS
        ]
    )  # fmt: skip
    chance = 0.3 ** (retries + 1)

    assert is_binomial(lost, 40, chance)
    assert not is_binomial(lost, 40, 1.1 * chance if retries == 0 else 1.3 * chance)
    assert not is_binomial(np.where(lost > np.median(lost), 2 * lost, 0), 40, chance)


def drained(seed: int, **changes: Any) -> Simulation:
    """Everything is shared, everybody is waited for, and nobody fails."""
    server = toy_server(
        num_accelerators=2,
        uplink_bytes_per_s=3.0 * BYTES,
        downlink_bytes_per_s=4.0 * BYTES,
        **changes,
    )
    steps = (DOWN, WORK, UP, ASK, DOWN, UP)
    return toy_simulation(*fleet(), steps=steps, server=server, num_rounds=3, seed=seed)


def visits_at(result: SimulationResult, resource: int) -> NDArray[np.void]:
    assert result.visits is not None
    found: NDArray[np.void] = result.visits[result.visits["resource"] == resource]
    return found


def mean_present(visits: NDArray[np.void], span_s: float, at_most: float = np.inf) -> float:
    """Time average of how many are there, of whom ``at_most`` count."""
    moments = np.concatenate((visits["join_s"], visits["leave_s"]))
    steps = np.repeat([1, -1], len(visits))
    order = np.argsort(moments, kind="stable")
    present = np.minimum(np.cumsum(steps[order])[:-1], at_most)
    return float(present @ np.diff(moments[order])) / span_s


@pytest.mark.parametrize("discipline", ["fcfs", "sharing"])
def test_littles_law_holds_at_every_resource(simulate: Run, discipline: str) -> None:
    """``L = lambda W``: who is there is counted from the visits, the times are the ledger's."""
    for seed in SEEDS[:10]:
        found = simulate(drained(seed, discipline=discipline))
        total = {step: row for step, row in found.ledger.by_step().items() if step != "merge"}
        spent = (
            total["up"].transfer_s,
            total["down"].transfer_s,
            total["ask"].server_s + total["ask"].wait_s,
        )
        for resource, seconds in enumerate(spent):
            visits = visits_at(found, resource)
            rate, mean_s = len(visits) / found.makespan_s, seconds / len(visits)
            present = mean_present(visits, found.makespan_s)
            assert present == pytest.approx(rate * mean_s, rel=1e-9)
            fewer = mean_present(visits[1:], found.makespan_s)
            assert fewer != pytest.approx(rate * mean_s, rel=1e-6)


@pytest.mark.parametrize("discipline", ["fcfs", "sharing"])
def test_every_second_of_every_client_is_spent_on_something(simulate: Run, discipline: str) -> None:
    """Little's law overall: all are there all the time, at work, on the way, or waiting."""
    for seed in SEEDS[:10]:
        found = simulate(drained(seed, discipline=discipline))
        total = found.ledger.total(item for item in found.ledger.rows.items() if _is_client(item))
        seconds = total.compute_s + total.transfer_s + total.wait_s + sum(found.idle_s)
        assert seconds == pytest.approx(12 * found.makespan_s, rel=1e-9)


def _is_client(item: tuple[Any, Any]) -> bool:
    return bool(item[0].party != "server")


@pytest.mark.parametrize("discipline", ["fcfs", "sharing"])
def test_accelerators_are_busy_as_long_as_there_is_work(simulate: Run, discipline: str) -> None:
    """Utilization law: ``U = X S``, and ``min(n, c)`` of them work while n requests are there."""
    for seed in SEEDS[:10]:
        found = simulate(drained(seed, discipline=discipline))
        visits = visits_at(found, 2)
        work_s = 0.5 * len(visits)
        merging_s = 0.5 * len(found.rounds.end_s)
        assert found.accelerator_busy_s == pytest.approx(work_s + merging_s, rel=1e-9)
        at_work = mean_present(visits, found.makespan_s, at_most=2)
        assert at_work * found.makespan_s == pytest.approx(work_s, rel=1e-9)
        one = mean_present(visits, found.makespan_s, at_most=1)
        assert one * found.makespan_s != pytest.approx(work_s, rel=1e-3)


@pytest.mark.parametrize("steps", [(WORK, UP), (WORK, UP, ASK)])
def test_bytes_and_flop_are_booked_once_whatever_becomes_of_them(simulate: Run, steps: Any) -> None:
    """Used, late and lost rows add up to what the visits say was sent and computed."""
    policy = PolicySpec(quorum=9, deadline_s=3.0, retries=1, retry_after_s=0.1)
    server = toy_server(num_accelerators=99)
    outcomes, excess = set[str](), 0.0
    for seed in SEEDS:
        simulation = toy_simulation(
            *fleet(dropout=0.3), steps=steps, policy=policy, server=server, num_rounds=3, seed=seed
        )
        found = simulate(simulation)
        outcomes |= {key.outcome for key in found.ledger.rows}
        sent, asked = visits_at(found, 0), visits_at(found, 2)
        rate = simulation.population.uplink[sent["client"]]
        amounts = np.minimum(rate * (sent["leave_s"] - sent["join_s"]) + 1e-6, BYTES)
        messages = [BYTES if n >= BYTES - 1e-3 else floor(n / 1448) * 1448 for n in amounts]
        total = found.ledger.total(item for item in found.ledger.rows.items() if _is_client(item))
        flop = operation_flop(WORK.operation, simulation.federation.server_plan.training)
        assert total.uplink_message_bytes == sum(messages)
        assert total.messages == messages.count(BYTES)
        assert total.client_flop == flop * len(sent)
        served = asked["leave_s"] - asked["join_s"] > 0.5 - 1e-8
        assert total.server_flop == flop * int(served.sum())
        excess += sum(amounts) - total.uplink_message_bytes

    assert excess > len(SEEDS), "negative control: parts of segments that were cut off do not count"
    assert outcomes == {"used", "late", "lost"}


def distant(faster: float, seed: int) -> Simulation:
    """Messages and nothing else, over links of every kind of delay."""
    classes = []
    for client in fleet():
        link = replace(
            client.link,
            round_trip_s=0.08 / faster,
            message_s=0.01 / faster,
            handshake_round_trips=2.0,
            initial_window_bytes=1448,
            payload_fraction=0.9,
        )
        spread = replace(
            client.spread,
            uplink=LogNormal(faster * BYTES, 0.5),
            downlink=LogNormal(2.0 * faster * BYTES, 0.5),
        )
        idle = replace(client.device, seconds_per_unit={"num_calls": 0.0})
        classes.append(replace(client, link=link, spread=spread, device=idle))
    server = toy_server(
        0.0, uplink_bytes_per_s=3.0 * faster * BYTES, downlink_bytes_per_s=4.0 * faster * BYTES
    )
    return toy_simulation(*classes, steps=(DOWN, WORK, UP), server=server, num_rounds=2, seed=seed)


def test_twice_the_rates_and_half_the_latency_halve_communication(simulate: Run) -> None:
    """Rounds and the ledger's seconds, queues on shared links included; and 1.99 does not."""
    for seed in SEEDS[:10]:
        one, two, less = (simulate(distant(faster, seed)) for faster in (1.0, 2.0, 1.99))
        assert 2 * two.rounds.end_s == pytest.approx(one.rounds.end_s, rel=1e-9)
        seconds = one.ledger.total().transfer_s
        assert 2 * two.ledger.total().transfer_s == pytest.approx(seconds, rel=1e-9)
        assert 2 * less.ledger.total().transfer_s != pytest.approx(seconds, rel=1e-3)


@pytest.mark.parametrize("steps", [(WORK, UP), (WORK, ASK)])
@given(paces, st.tuples(thousandths, thousandths), st.integers(1, 2))
def test_one_client_more_never_shortens_a_round_that_waits_for_all(
    simulate: Run,
    steps: Any,
    some: list[tuple[float, float]],
    more: tuple[float, float],
    servers: int,
) -> None:
    """Where one resource is shared.

    Behind one another they may: who is held up at one leaves the next one to others.
    """
    server = toy_server(0.3, num_accelerators=servers, uplink_bytes_per_s=1.3 * BYTES)
    before = simulate(simple(some, steps=steps, server=server)).rounds.closed_s[0]
    after = simulate(simple([*some, more], steps=steps, server=server)).rounds.closed_s[0]

    assert after >= before - 1e-8


def figures(result: SimulationResult) -> list[Any]:
    """All that is summed up, by class."""
    rows = sorted(result.ledger.rows.items())
    rounds = [getattr(result.rounds, name).tolist() for name in ("start_s", "closed_s", "end_s")]
    counts = [(r.times, r.messages, r.uplink_message_bytes, r.client_flop) for _, r in rows]
    seconds = [x for _, r in rows for x in (r.compute_s, r.transfer_s, r.wait_s, r.start_s)]
    return [
        [key for key, _ in rows],
        counts,
        np.array([*(moment for one in rounds for moment in one), *seconds]),
    ]


def is_same(one: SimulationResult, other: SimulationResult) -> bool:
    """Equal counts, and equal seconds but for the order in which they are added up."""
    first, second = figures(one), figures(other)
    return first[:2] == second[:2] and np.allclose(first[2], second[2], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [(DOWN, WORK, UP), (DOWN, WORK, UP, ASK, DOWN, UP)])
def test_the_order_of_classes_changes_nothing(simulate: Run, steps: Any) -> None:
    """Every row of every class stays, drop-outs and retries included; another name changes it."""
    policy = PolicySpec(quorum=9, retries=1)
    server = toy_server(num_accelerators=2, uplink_bytes_per_s=3.0 * BYTES)
    for seed in SEEDS[:10]:
        found = [
            simulate(
                toy_simulation(
                    *classes, steps=steps, policy=policy, server=server, num_rounds=2, seed=seed
                )
            )
            for some in [fleet(dropout=0.2)]
            for classes in (some, some[::-1], [some[1], some[2], some[0]])
        ]
        renamed = [*fleet(dropout=0.2)[:2], replace(fleet(dropout=0.2)[2], name="d")]
        other = simulate(
            toy_simulation(
                *renamed, steps=steps, policy=policy, server=server, num_rounds=2, seed=seed
            )
        )
        assert all(is_same(found[0], one) for one in found)
        assert not is_same(found[0], other)


@given(st.permutations([1, 2, 3, 5]), st.integers(1, 11), st.sampled_from(["fcfs", "sharing"]))
def test_which_of_those_that_tie_is_first_changes_no_sum(
    simulate: Run, sizes: list[int], quorum: int, discipline: str
) -> None:
    """Eleven clients alike, in classes of any sizes: only the sums by class differ."""
    server = toy_server(num_accelerators=2, uplink_bytes_per_s=2.5 * BYTES, discipline=discipline)
    found = []
    for nums in ([1, 2, 3, 5], sizes):
        classes = [toy_class(name, num=num) for name, num in zip("abcd", nums, strict=True)]
        result = simulate(
            toy_simulation(
                *classes, steps=(WORK, ASK, UP), policy=PolicySpec(quorum=quorum), server=server
            )
        )
        total = result.ledger.total()
        found.append(
            [*result.rounds.end_s, result.rounds.num_used[0], total.times, total.messages,
             total.uplink_message_bytes, total.client_flop, total.compute_s, total.transfer_s,
             total.wait_s, sum(result.idle_s), result.accelerator_busy_s]
        )  # fmt: skip

    assert found[0] == pytest.approx(found[1], rel=1e-12)
