"""Whole rounds of both engines against exact brute force, on toys with plenty of ties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fedsim.cost.work import operation_work
from fedsim.draws import client_keys, purpose_key, uniforms
from fedsim.fleet import Simulation, SimulationResult
from fedsim.protocol.operation import Content
from fedsim.protocol.payload import Payload
from fedsim.protocol.step import Compute, Repeat, Step, Transfer
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import ClientClass, ServerSpec, Spread
from fedsim.spec.link import LinkSpec
from fedsim.spec.policy import PolicySpec
from round_oracle import Answer, Toy, ToyClient, ToyServer, simulated
from toy_fleet import ASK, BYTES, DOWN, UP, WORK, toy_class, toy_simulation

STEPS: dict[str, Compute | Transfer] = {"work": WORK, "ask": ASK, "up": UP, "down": DOWN}
#: Nearer to a boundary between two nanoseconds than this, rounding decides what is simultaneous.
_MARGIN_NS = 1e-4


class Nothing(Payload):
    """A payload that takes no bytes, not even a header's."""

    __slots__ = ()

    @property
    def message_bytes(self) -> int:
        return 0


class Case:
    """The same question twice."""

    def __init__(self, simulation: Simulation, toy: Toy) -> None:
        self.simulation = simulation
        self.toy = toy

    def __repr__(self) -> str:
        return repr(self.toy)


def _device(shared_s: float, packing_s: float, own_s: float = 0.0) -> DeviceSpec:
    training = toy_class("c").plan.training
    flop = operation_work(WORK.operation, training).linear_flop
    units = {"num_calls": shared_s, "num_messages": packing_s, "linear_flop": own_s / flop}
    return DeviceSpec("toy", units, relative_sigma=0.0)


def _share(
    seed: int, name: str, number: int, chance: float, place: tuple[int, int]
) -> float | None:
    """At which share of its work a client fails; the draws' names are all that is known here."""
    key = client_keys(name, number + 1)[number:]
    fails, when = purpose_key(seed, "fails"), purpose_key(seed, "fails when")
    if float(uniforms(fails, place[0], key, place[1])[0]) >= chance:
        return None
    return float(uniforms(when, place[0], key, place[1])[0])


steps = st.lists(st.sampled_from(["work", "ask", "up", "down", "empty"]), min_size=1, max_size=5)
seconds = st.sampled_from([0.0, 0.1, 0.3, 0.7]) | st.integers(1, 3000).map(lambda n: n / 1000)
packing = st.sampled_from([0.0, 0.0, 0.0, 0.05])
paces = st.sampled_from([0.3, 1.0, 1.0]) | st.integers(100, 4000).map(lambda n: n / 1000)


@st.composite
def classes(draw: st.DrawFn) -> list[ClientClass]:
    """Up to three classes of up to four clients."""
    found = []
    for name in "abc"[: draw(st.integers(1, 3))]:
        link = LinkSpec(
            name,
            uplink_bytes_per_s=BYTES / draw(paces),
            downlink_bytes_per_s=BYTES / draw(paces),
            round_trip_s=draw(st.sampled_from([0.0, 0.0, 0.2])),
            handshake_round_trips=draw(st.sampled_from([0.0, 1.0])),
            initial_window_bytes=0,
            payload_fraction=1.0,
            message_s=draw(st.sampled_from([0.0, 0.0, 0.01])),
        )
        found.append(
            replace(
                toy_class(name, num=draw(st.integers(1, 4))),
                device=_device(draw(seconds), draw(packing)),
                link=link,
                spread=Spread(dropout_probability=draw(st.sampled_from([0.0, 0.0, 0.3, 0.8]))),
            )
        )
    return found


def case_of(
    some: list[ClientClass],
    server: ToyServer,
    ahead: list[str],
    behind: list[str],
    *,
    laps: int = 1,
    num_rounds: int = 1,
    seed: int = 0,
    **policy: Any,
) -> Case:
    """A toy as a simulation and as plain numbers."""
    retries = policy.get("retries", 0)
    toy = Toy(
        clients=[
            _toy_client(c, n, seed, num_rounds, retries) for c in some for n in range(c.num_clients)
        ],
        server=server,
        steps=[step for step in ahead if step != "empty"] * laps,
        message_bytes=BYTES,
        wire_bytes=BYTES,
        behind=[step for step in behind if step != "empty"],
        num_rounds=num_rounds,
        **policy,
    )
    simulation = toy_simulation(
        *some,
        steps=(Repeat(laps, _steps(ahead)),),
        behind=_steps(behind),
        policy=PolicySpec(**policy),
        server=_server(server),
        num_rounds=num_rounds,
        seed=seed,
    )
    return Case(simulation, toy)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Anything that the oracle knows."""
    some = draw(classes())
    capacity = st.none() | st.sampled_from([0.4, 1.0, 2.0]).map(lambda n: n * BYTES)
    sharing = draw(st.booleans())
    server = ToyServer(
        own_s=draw(st.sampled_from([0.0, 0.0, 0.25])),
        shared_s=draw(st.sampled_from([0.0, 0.3, 0.5])),
        packing_s=draw(packing),
        up_bytes_per_s=draw(capacity),
        down_bytes_per_s=draw(capacity),
        num_accelerators=draw(st.integers(1, 3)),
        max_batch=1 if sharing else draw(st.integers(1, 3)),
        is_sharing=sharing,
    )
    return case_of(
        some,
        server,
        draw(steps),
        draw(st.just([]) | steps),
        laps=draw(st.integers(1, 2)),
        num_rounds=draw(st.integers(1, 2)),
        seed=draw(st.integers(0, 99)),
        quorum=draw(st.none() | st.integers(1, sum(c.num_clients for c in some))),
        deadline_s=draw(st.sampled_from([None, None, 1.0, 2.3])),
        retries=draw(st.integers(0, 2)),
        retry_after_s=draw(st.sampled_from([0.0, 0.5])),
        failure_timeout_s=draw(st.sampled_from([None, 0.0, 0.7])),
    )


def _steps(names: list[str]) -> tuple[Step, ...]:
    empty = replace(UP, label="empty", payload=Nothing(Content.ADAPTERS, ()))
    return tuple(STEPS.get(name, empty) for name in names)


def _toy_client(
    kind: ClientClass, number: int, seed: int, num_rounds: int, retries: int
) -> ToyClient:
    link, units = kind.link, kind.device.seconds_per_unit
    failures = {}
    for place in [(r, a) for r in range(1, num_rounds + 1) for a in range(retries + 1)]:
        share = _share(seed, kind.name, number, kind.spread.dropout_probability, place)
        if share is not None:
            failures[place] = share
    return ToyClient(
        units["num_calls"],
        units["num_messages"],
        link.uplink_bytes_per_s,
        link.downlink_bytes_per_s,
        link.message_s + link.handshake_round_trips * link.round_trip_s,
        link.round_trip_s / 2,
        failures,
    )


def _server(server: ToyServer) -> ServerSpec:
    return ServerSpec(
        _device(server.shared_s, server.packing_s, server.own_s),
        server.num_accelerators,
        server.up_bytes_per_s,
        server.down_bytes_per_s,
        "sharing" if server.is_sharing else "fcfs",
        server.max_batch,
    )


def assert_equal(found: SimulationResult, expected: Answer) -> None:
    """Rounds, every visit, all that was finished and what was cut off."""
    rounds = found.rounds
    times = np.stack((rounds.start_s, rounds.closed_s, rounds.end_s), axis=1)
    assert np.allclose(times, [r[:3] for r in expected.rounds], rtol=1e-12, atol=1e-8)
    counts = np.stack((rounds.num_used, rounds.num_late, rounds.num_lost), axis=1)
    assert counts.tolist() == [list(r[3:]) for r in expected.rounds]
    assert found.visits is not None
    visits = [v for v in found.visits.tolist() if _counts(v[5], v[6], v[7])]
    true = [v for v in expected.visits if _counts(v[0][5], v[1], v[2])]
    assert [v[:6] for v in visits] == [place for place, _, _ in true]
    assert np.allclose([v[6:] for v in visits], [v[1:] for v in true], rtol=1e-12, atol=1e-8)
    done: dict[tuple[str, str], list[int]] = {}
    for key, row in found.ledger.rows.items():
        if key.party != "server":
            sums = done.setdefault((key.step, key.outcome), [0, 0])
            sums[0] += row.times
            sums[1] += row.uplink_message_bytes + row.downlink_message_bytes
    for place in done | expected.counts:
        assert done.get(place, [0, 0]) == expected.counts.get(place, [0, 0]), place
    assert found.accelerator_busy_s == pytest.approx(float(expected.busy_s), rel=1e-9, abs=1e-7)


def wrong(toy: Toy) -> dict[str, Toy]:
    """Questions to which the answer is another one."""
    server = toy.server
    return {
        "slower": replace(toy, server=replace(server, own_s=1.01 * server.own_s)),
        "no limit": replace(toy, server=replace(server, up_bytes_per_s=None)),
        "one accelerator": replace(toy, server=replace(server, num_accelerators=1)),
        "no batches": replace(toy, server=replace(server, max_batch=1)),
        "sharing": replace(toy, server=replace(server, is_sharing=True, max_batch=1)),
        "all awaited": replace(toy, quorum=None),
        "no deadline": replace(toy, deadline_s=None),
        "no retries": replace(toy, retries=0),
        "noticed at once": replace(toy, failure_timeout_s=0.0),
        "no failures": replace(toy, clients=[replace(c, failures={}) for c in toy.clients]),
        "one byte less": replace(toy, wire_bytes=toy.wire_bytes - 1),
    }


def _counts(resource: int, join_s: float, leave_s: float) -> bool:
    """Whether a visit must be there: a flow that was cut off as it began may be left out."""
    return resource == 2 or leave_s - join_s > 1e-8


@settings(suppress_health_check=list(HealthCheck))
@given(cases())
def test_rounds_are_those_of_exact_brute_force(
    simulate: Callable[[Simulation], SimulationResult], case: Case
) -> None:
    """Quorums, deadlines, drop-outs in mid-transfer, retries, batches, sharing, ties, no work."""
    expected = simulated(case.toy)
    assume(expected.margin_ns > _MARGIN_NS)

    assert_equal(simulate(case.simulation), expected)


def crowded(**policy: Any) -> Case:
    """Six clients behind a narrow uplink and two busy accelerators, some of which fail."""
    spread = Spread(dropout_probability=0.4)
    some = [
        replace(toy_class(name, message_s=pace, num=2), device=_device(pace, 0.02), spread=spread)
        for name, pace in (("a", 0.3), ("b", 0.5), ("c", 0.8))
    ]
    server = ToyServer(0.3, 0.2, 0.01, 2.0 * BYTES, None, 2, 2, is_sharing=False)
    return case_of(some, server, ["work", "up", "ask", "down"], ["down"], num_rounds=3, **policy)


@pytest.mark.parametrize("name", sorted(wrong(crowded().toy)))
def test_answers_to_other_questions_are_refused(
    simulate: Callable[[Simulation], SimulationResult], name: str
) -> None:
    """Negative control: what is 1 % slower, a byte shorter or without a rule is seen."""
    closings: dict[str, dict[str, Any]] = {
        "all awaited": {"quorum": 4},
        "no deadline": {"deadline_s": 2.0},
        "noticed at once": {"failure_timeout_s": 5.0},
    }
    closing = closings.get(name, {})
    case = crowded(retries=1, retry_after_s=0.2, **closing)
    found = simulate(case.simulation)

    assert_equal(found, simulated(case.toy))
    with pytest.raises(AssertionError):
        assert_equal(found, simulated(wrong(case.toy)[name]))
