"""How fast the simulating engines are, side by side, with the same answers. Asserts no time.

Run it with ``make bench``; every table names the machine's own conditions through the ratio to a
bare SimPy process in the same run.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
import simpy

from fedsim import des, scale
from fedsim.fleet import Simulation, SimulationResult, prepare
from fedsim.protocol import fedllm
from fedsim.spec.batch import TextLengths
from fedsim.spec.device_catalogue import device
from fedsim.spec.distribution import LogNormal
from fedsim.spec.federation import ClientClass, FederationSpec, ServerSpec, Spread
from fedsim.spec.link_catalogue import link
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, TrainingSpec
from fedsim.spec.policy import PolicySpec
from fedsim.spec.tuning import LoraTuning

_T = TypeVar("_T")

PLAN = ClientPlan(
    TrainingSpec(model("gpt2"), HeadSpec(num_classes=77), LoraTuning(r=8)),
    (TextLengths(100, 80),),
    batch_size=16,
)
SPREAD = Spread(
    slowdown=LogNormal(1.0, 0.5),
    uplink=LogNormal(1e6, 0.8),
    downlink=LogNormal(4e6, 0.8),
    round_sigma=0.2,
    dropout_probability=0.01,
)


def federation(num_clients: int, num_rounds: int) -> FederationSpec:
    """Phones and boards, no two alike, behind 10 Gbit/s; 1 % of them fail in a round."""
    half = num_clients // 2
    classes = (
        ClientClass("boards", half, PLAN, device("rpi5-8g"), link("home-global"), SPREAD),
        ClientClass(
            "phones", num_clients - half, PLAN, device("sd8gen3-phone"), link("lte-uk"), SPREAD
        ),
    )
    server = ServerSpec(device("h100-sxm"), 1, 1.25e9, 1.25e9)
    return FederationSpec(classes, server, PLAN, num_rounds)


def question(num_clients: int, num_rounds: int) -> Simulation:
    """Synchronous FedLLM with everybody."""
    return prepare(federation(num_clients, num_rounds), fedllm, PolicySpec(), seed=1)


def timed(work: Callable[[], _T], repeats: int = 3) -> tuple[float, _T]:
    """Median seconds, and what came out."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        answer = work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), answer


def bare_simpy(num_processes: int, num_events: int) -> float:
    """Seconds of processes that do nothing but wait, with as many events in all."""
    delays = np.random.default_rng(0).exponential(1.0, 1000).tolist()
    each = max(1, num_events // num_processes)

    def wait(environment: simpy.Environment, first: int) -> object:
        for number in range(each):
            yield environment.timeout(delays[(first + number) % 1000])

    def run() -> None:
        environment = simpy.Environment()
        for first in range(num_processes):
            environment.process(wait(environment, first))
        environment.run()

    return timed(run)[0] * num_events / (num_processes * each)


def same_answers(one: SimulationResult, other: SimulationResult) -> None:
    """Round ends and bytes of two engines."""
    assert one.rounds.end_s == pytest.approx(other.rounds.end_s, rel=1e-10)
    assert one.ledger.total().uplink_message_bytes == other.ledger.total().uplink_message_bytes
    assert one.ledger.total().client_flop == other.ledger.total().client_flop


@pytest.mark.parametrize("num_rounds", [1, 10])
def test_engines_side_by_side(num_rounds: int, capsys: pytest.CaptureFixture[str]) -> None:
    """``des``, ``scale`` and bare SimPy on the same 10,000 clients."""
    num_clients = 10_000
    simulation = question(num_clients, num_rounds)
    scale.simulate(simulation)  # compiles, or reads the compiled kernels
    scale_s, scaled = timed(lambda: scale.simulate(simulation), 9)
    des_s, reference = timed(lambda: des.simulate(simulation))
    bare_s = bare_simpy(num_clients, reference.num_events)
    same_answers(reference, scaled)
    client_rounds = num_clients * num_rounds
    with capsys.disabled():
        print(f"\n{num_clients:,} clients, rounds of FedLLM: {num_rounds}; same answers; medians")
        print(f"  des    {des_s:8.3f} s  {client_rounds / des_s:12,.0f} client-rounds/s  "
              f"{reference.num_events / des_s:12,.0f} events/s")  # fmt: skip
        print(f"  scale  {scale_s:8.4f} s  {client_rounds / scale_s:12,.0f} client-rounds/s  "
              f"{reference.num_events / scale_s:12,.0f} of des's events/s")  # fmt: skip
        print(f"  bare SimPy process, {reference.num_events:,} events: {bare_s:.3f} s")
        print(
            f"  scale is {des_s / scale_s:,.0f} x des; des takes {des_s / bare_s:.2f} x bare SimPy"
        )


def test_growth_with_clients(capsys: pytest.CaptureFixture[str]) -> None:
    """Seconds and memory of one round from 1,000 to a million clients, and the exponent."""
    numbers = [1_000, 3_162, 10_000, 31_623, 100_000, 316_228, 1_000_000]
    seconds = []
    with capsys.disabled():
        print("\nscale, seconds a round")
        for number in numbers:
            simulation = question(number, 2)
            scale.simulate(simulation)
            one, _ = timed(lambda s=simulation: scale.simulate(s))
            seconds.append(one / 2)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(f"  {number:>9,} clients  {one / 2:8.4f} s  {one / 2 / number * 1e9:7.0f} ns each"
                  f"  {peak:.2f} GB at most so far")  # fmt: skip
        n = np.array(numbers[2:], dtype=float)
        slope = np.polyfit(np.log(n), np.log(seconds[2:]), 1)[0]
        reference = np.polyfit(np.log(n), np.log(n * np.log(n)), 1)[0]
        print(f"  exponent from 10,000 on: {slope:.2f}; n log n would be {reference:.2f}")


def test_a_million_clients_for_a_hundred_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped scenario ``million``, from the file to the answer."""
    from fedsim.scenario import read_scenario

    start = time.perf_counter()
    asked = read_scenario("million")
    answer = asked.answer()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    with capsys.disabled():
        for result in answer.results:
            rounds = result["num_rounds"]
            clients = sum(table["num_clients"] for table in result["classes"])
            print(f"\n{clients:,} clients x {rounds} rounds: {seconds:.1f} s in all, "
                  f"{peak:.2f} GB, {clients * rounds / seconds:,.0f} client-rounds/s")  # fmt: skip
    assert all(result["status"] == "ok" for result in answer.results)
