"""Laws of queueing that the accelerators of both engines obey.

Open systems go through the accelerators alone; the closed one through whole simulations. Seeds are
fixed, and their estimates are held against the truth by a t-test at 0.1 %. Wrong systems go
through the same checks and are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedsim.cost.work import operation_work
from fedsim.fleet import Simulation, SimulationResult, prepare
from fedsim.protocol.operation import InferLogits, Part
from fedsim.protocol.step import Compute, Each, Gather, Protocol, Site, Step
from fedsim.spec.batch import BatchShape, TextLengths
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import FederationSpec, ServerSpec
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySpec
from oracle import contradicts, queue_times, sharing_ends
from toy_fleet import toy_class

Reals = NDArray[np.float64]
QueueOf = Callable[..., tuple[Reals, Reals]]
SharingOf = Callable[[Reals, Reals, int], Reals]
Law = Callable[[np.random.Generator, int], Reals]

SEEDS = range(25)
#: Left out at the beginning, where the system is emptier than in the long run.
WARM_UP = 500
LOAD = 0.6


def exponential(rng: np.random.Generator, num: int) -> Reals:
    """Service of mean 1; so are the others."""
    return rng.exponential(1.0, num)


def constant(_: np.random.Generator, num: int) -> Reals:
    return np.ones(num)


def log_normal(rng: np.random.Generator, num: int) -> Reals:
    return rng.lognormal(-0.125, 0.5, num)


#: Second moments.
LAWS: list[tuple[Law, float]] = [(exponential, 2.0), (constant, 1.0), (log_normal, np.exp(0.25))]


def customers(engine: str) -> int:
    """As many as take a few hundredths of a second."""
    return 2_000 if engine == "des" else 25_000


def drawn(seed: int, rate: float, law: Law, num: int) -> tuple[Reals, Reals]:
    """Poisson arrivals, and services."""
    rng = np.random.default_rng(seed)
    return rng.exponential(1 / rate, num).cumsum(), law(rng, num)


def mean_waits(
    queue: QueueOf, num: int, law: Law, servers: int = 1, pace: float = 1
) -> list[float]:
    """Mean time in queue of each seed, with services ``pace`` times as long."""
    found = []
    for seed in SEEDS:
        arrival, service = drawn(seed, LOAD * servers, law, num)
        start, _ = queue(arrival, pace * service, num_accelerators=servers)
        found.append(float((start - arrival)[WARM_UP:].mean()))
    return found


def erlang_b(load: float, servers: int) -> float:
    """Chance that all servers are busy where nobody waits."""
    terms = [load**k / factorial(k) for k in range(servers + 1)]
    return terms[-1] / sum(terms)


def erlang_c(load: float, servers: int) -> float:
    """Chance that all servers are busy where all wait."""
    blocked = erlang_b(load, servers)
    return blocked / (1 - load / servers * (1 - blocked))


@pytest.mark.parametrize(("law", "second_moment"), LAWS)
def test_one_server_obeys_pollaczek_and_khinchine(
    engine: str, queue: QueueOf, law: Law, second_moment: float
) -> None:
    """Mean wait ``lambda E[S^2] / (2 (1 - rho))``, exponential services (M/M/1) among them."""
    waits = mean_waits(queue, customers(engine), law)

    assert not contradicts(waits, LOAD * second_moment / (2 * (1 - LOAD)))


@pytest.mark.parametrize("servers", [2, 5])
def test_several_servers_obey_erlang_c(engine: str, queue: QueueOf, servers: int) -> None:
    """Mean wait ``C(c, a) / (c mu - lambda)``."""
    waits = mean_waits(queue, customers(engine), exponential, servers)

    assert not contradicts(waits, erlang_c(LOAD * servers, servers) / (servers * (1 - LOAD)))


def test_arrivals_find_all_servers_busy_as_often_as_erlang_c_says(
    engine: str, queue: QueueOf
) -> None:
    """Poisson arrivals see time averages: a share ``C(3, 1.8)`` of them wait."""
    shares = []
    for seed in SEEDS:
        arrival, service = drawn(seed, 3 * LOAD, exponential, customers(engine))
        start, _ = queue(arrival, service, num_accelerators=3)
        shares.append(float((start > arrival)[WARM_UP:].mean()))

    assert not contradicts(shares, erlang_c(3 * LOAD, 3))


@pytest.mark.parametrize("law", [exponential, constant, log_normal])
def test_a_system_without_queue_obeys_erlang_b(engine: str, queue: QueueOf, law: Law) -> None:
    """A share ``B(3, 1.8)`` of requests with no patience at all is lost, whatever the service."""
    shares = []
    for seed in SEEDS:
        arrival, service = drawn(seed, 3 * LOAD, law, customers(engine))
        start, end = queue(arrival, service, num_accelerators=3, patience_s=0.0)
        is_lost = np.isinf(start)
        assert (end[is_lost] == arrival[is_lost]).all()
        shares.append(float(is_lost[WARM_UP:].mean()))

    assert not contradicts(shares, erlang_b(3 * LOAD, 3))


def test_first_come_first_served_sojourns_have_the_variance_of_their_law(
    engine: str, queue: QueueOf
) -> None:
    """In M/M/1 they are exponential: ``E[T^2] = 2 / (mu - lambda)^2``."""
    squares = []
    for seed in SEEDS:
        arrival, service = drawn(seed, LOAD, exponential, customers(engine))
        _, end = queue(arrival, service, num_accelerators=1)
        squares.append(float(((end - arrival)[WARM_UP:] ** 2).mean()))

    assert not contradicts(squares, 2 / (1 - LOAD) ** 2)


@pytest.mark.parametrize(("law", "_"), LAWS)
def test_mean_sojourns_of_processor_sharing_know_nothing_of_the_service_law(
    engine: str, sharing: SharingOf, law: Law, _: float
) -> None:
    """``E[T] = E[S] / (1 - rho)``."""
    means = []
    for seed in SEEDS:
        arrival, service = drawn(seed, LOAD, law, customers(engine))
        means.append(float((sharing(arrival, service, 1) - arrival)[WARM_UP:].mean()))

    assert not contradicts(means, 1 / (1 - LOAD))


SIZES = np.array([0.25, 1.0, 3.0])


def stretches(sharing: SharingOf, num: int) -> NDArray[np.float64]:
    """Mean sojourn over size, by size and seed: a third of the work belongs to each size."""
    found = np.zeros((3, len(SEEDS)))
    chances = 1 / SIZES / (1 / SIZES).sum()
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        which = rng.choice(3, num, p=chances)
        arrival = rng.exponential(float(chances @ SIZES) / LOAD, num).cumsum()
        took = sharing(arrival, SIZES[which], 1) - arrival
        for size in range(3):
            found[size, seed] = took[WARM_UP:][which[WARM_UP:] == size].mean() / SIZES[size]
    return found


def test_processor_sharing_stretches_all_sizes_alike(engine: str, sharing: SharingOf) -> None:
    """``E[T | x] = x / (1 - rho)``."""
    found = stretches(sharing, customers(engine))

    assert not any(contradicts(one, 1 / (1 - LOAD)) for one in found)


def test_a_queue_does_not_stretch_all_sizes_alike(engine: str, queue: QueueOf) -> None:
    """Negative control: first come, first served is no sharing."""
    found = stretches(lambda a, s, c: queue(a, s, num_accelerators=c)[1], customers(engine))

    assert all(contradicts(one, 1 / (1 - LOAD)) for one in found)


@pytest.mark.parametrize(
    ("gap", "service", "servers"), [(2.0, 3.0, 1), (1.0, 1.0, 1), (1.0, 3.0, 2)]
)
def test_constant_arrivals_and_services_run_like_clockwork(
    queue: QueueOf, gap: float, service: float, servers: int
) -> None:
    """D/D/c: number ``i`` starts at ``max(i gap, floor(i / c) service + (i mod c) gap)``."""
    num = np.arange(60)
    start, end = queue(num * gap, np.full(60, service), num_accelerators=servers)

    assert (
        start.tolist()
        == np.maximum(num * gap, num // servers * service + num % servers * gap).tolist()
    )
    assert (end - start).tolist() == [service] * 60


def follows_lindley(arrival: Reals, service: Reals, start: Reals) -> bool:
    """``W' = max(0, W + S - A)``, to 1e-12 of the time since the start."""
    wait, expected = 0.0, np.zeros(len(arrival))
    for i in range(1, len(arrival)):
        wait = max(0.0, wait + service[i - 1] - (arrival[i] - arrival[i - 1]))
        expected[i] = wait
    return bool(np.allclose(start, arrival + expected, rtol=1e-12, atol=0))


@pytest.mark.parametrize(("law", "_"), LAWS)
def test_waits_follow_lindleys_recursion(queue: QueueOf, law: Law, _: float) -> None:
    """Customer by customer, at a load of nine tenths."""
    for seed in SEEDS:
        arrival, service = drawn(seed, 0.9, law, 500)
        assert follows_lindley(arrival, service, queue(arrival, service, num_accelerators=1)[0])


def last_come_first_served(arrival: Reals, service: Reals) -> Reals:
    """Starts in a wrong order, one server, nothing interrupted."""
    start, waiting, free, come = np.zeros(len(arrival)), list[int](), 0.0, 0
    for _ in range(len(arrival)):
        if not waiting:
            free = max(free, float(arrival[come]))
        while come < len(arrival) and arrival[come] <= free:
            waiting.append(come)
            come += 1
        chosen = waiting.pop()
        start[chosen] = free
        free += float(service[chosen])
    return start


def test_the_last_first_is_refused() -> None:
    """Negative control: the mean wait is that of the first first, so only other checks see it."""
    means, squares = [], []
    for seed in SEEDS:
        arrival, service = drawn(seed, LOAD, exponential, 10_000)
        start = last_come_first_served(arrival, service)
        means.append(float((start - arrival)[WARM_UP:].mean()))
        squares.append(float(((start + service - arrival)[WARM_UP:] ** 2).mean()))
        assert not follows_lindley(arrival, service, start)

    assert not contradicts(means, LOAD / (1 - LOAD))
    assert contradicts(squares, 2 / (1 - LOAD) ** 2)


def test_a_server_that_is_one_per_cent_slower_is_refused(queue: QueueOf) -> None:
    """Negative control: by Lindley's recursion."""
    arrival, service = drawn(0, LOAD, exponential, 500)

    assert not follows_lindley(
        arrival, service, queue(arrival, 1.01 * service, num_accelerators=1)[0]
    )


def test_slower_servers_are_refused_by_their_means(engine: str, queue: QueueOf) -> None:
    """Negative control: 2 % where 25,000 customers come to each seed, 10 % where 2,000 do."""
    pace, num = (1.1 if engine == "des" else 1.02), customers(engine)
    truth = LOAD / (2 * (1 - LOAD))

    assert contradicts(mean_waits(queue, num, constant, pace=pace), truth)


NUM_MACHINES, NUM_LAPS, SETTLED = 6, 110, slice(20, 80)
REPAIR_S, PER_SECOND = 0.4, 400
_PART = Part.whole(3)


def call(label: str, site: Site, seconds: float) -> Compute:
    """A call that takes a number of seconds, in steps of one token."""
    tokens = max(1, round(seconds * PER_SECOND))
    return Compute(label, site, InferLogits(_PART, BatchShape.padded(1, tokens)))


def machines(seed: int, repair: Law, discipline: str, pace: float = 1.0) -> Simulation:
    """Clients that run for a second on average and then ask the one accelerator, lap by lap."""
    rng = np.random.default_rng(seed)
    toy = toy_class("machine", message_s=1.0)
    one = operation_work(call("", Site.CLIENT, 0.0).operation, toy.plan.training).linear_flop
    device = DeviceSpec("machine", {"linear_flop": 1 / (PER_SECOND * one)}, relative_sigma=0.0)
    steps: dict[int, tuple[Step, ...]] = {}
    for number in range(1, NUM_MACHINES + 1):
        run, mend = exponential(rng, NUM_LAPS), pace * REPAIR_S * repair(rng, NUM_LAPS)
        steps[number] = tuple(
            step
            for lap in range(NUM_LAPS)
            for step in (call("run", Site.CLIENT, run[lap]), call("mend", Site.SERVER, mend[lap]))
        )

    def protocol(plan: ClientPlan) -> Protocol:
        # A class has one protocol, which is told from the others by its number of samples.
        number = plan.train_epochs[0].num_samples
        return Protocol("machines", (), (Each(steps[number]), Gather("mend")))

    classes = tuple(
        replace(
            toy,
            name=f"machine {number}",
            device=device,
            plan=replace(toy.plan, train_epochs=(TextLengths(number, 16),)),
        )
        for number in steps
    )
    server = ServerSpec(device, discipline=discipline)  # type: ignore[arg-type]
    return prepare(FederationSpec(classes, server, classes[0].plan), protocol, PolicySpec(), seed)


def responses(
    simulate: Callable[[Simulation], SimulationResult],
    repair: Law,
    discipline: str,
    pace: float = 1.0,
) -> list[float]:
    """Mean time at the accelerator of each seed."""
    found = []
    for seed in SEEDS:
        visits = simulate(machines(seed, repair, discipline, pace)).visits
        assert visits is not None
        took = (visits["leave_s"] - visits["join_s"]).reshape(NUM_MACHINES, NUM_LAPS)
        found.append(float(took[:, SETTLED].mean()))
    return found


def mean_value_response(num: int, think_s: float, service_s: float) -> float:
    """Exact mean-value analysis: an arrival sees the system with one customer less."""
    queue, response = 0.0, service_s
    for n in range(1, num + 1):
        response = service_s * (1 + queue)
        queue = n / (think_s + response) * response
    return response


@pytest.mark.parametrize(
    ("repair", "discipline"),
    [(exponential, "fcfs"), (exponential, "sharing"), (constant, "sharing")],
)
def test_closed_systems_obey_mean_value_analysis(
    simulate: Callable[[Simulation], SimulationResult], repair: Law, discipline: str
) -> None:
    """The machine repairman; where the repairman is shared, the service law plays no part."""
    found = responses(simulate, repair, discipline)

    assert not contradicts(found, mean_value_response(NUM_MACHINES, 1.0, REPAIR_S))


def test_mean_value_analysis_has_its_asymptotes() -> None:
    """Alone nobody waits; with very many, each waits for all but those that run."""
    assert mean_value_response(1, 1.0, REPAIR_S) == REPAIR_S
    assert mean_value_response(500, 1.0, REPAIR_S) == pytest.approx(500 * REPAIR_S - 1.0)


def test_closed_systems_that_are_none_of_these_are_refused(
    simulate: Callable[[Simulation], SimulationResult],
) -> None:
    """Negative controls: constant repairs in a queue; repairs that take 10 % longer."""
    truth = mean_value_response(NUM_MACHINES, 1.0, REPAIR_S)

    assert contradicts(responses(simulate, constant, "fcfs"), truth)
    assert contradicts(responses(simulate, exponential, "fcfs", pace=1.1), truth)


moments = st.sampled_from([0.0, 0.5, 1.0, 1.25]) | st.integers(0, 9999).map(lambda n: n / 1000)
seconds = st.sampled_from([0.0, 0.5, 1.0]) | st.integers(1, 3000).map(lambda n: n / 1000)
requests = st.lists(st.tuples(moments, seconds, seconds), min_size=1, max_size=25)


@given(requests, st.integers(1, 3), st.integers(1, 4))
def test_batches_are_those_of_a_queue_that_is_sorted_anew_every_time(
    queue: QueueOf, drawn: list[tuple[float, float, float]], servers: int, max_batch: int
) -> None:
    """Ties, services of no time, shared parts, any number of accelerators."""
    arrival, own, shared = (np.array(column) for column in zip(*drawn, strict=True))
    start, end = queue(arrival, own, num_accelerators=servers, max_batch=max_batch, shared_s=shared)
    expected = queue_times(arrival.tolist(), own.tolist(), shared.tolist(), servers, max_batch)

    assert np.allclose(np.stack((start, end), axis=1), expected, rtol=1e-12, atol=1e-12)


@given(requests, st.integers(1, 4))
def test_sharing_is_that_of_speeds_that_are_worked_out_at_every_event(
    sharing: SharingOf, drawn: list[tuple[float, float, float]], servers: int
) -> None:
    """Ties and requests of no work included."""
    arrival, work, _ = (np.array(column) for column in zip(*drawn, strict=True))
    expected = sharing_ends(arrival.tolist(), work.tolist(), servers)

    assert np.allclose(sharing(arrival, work, servers), expected, rtol=1e-10, atol=1e-8)
