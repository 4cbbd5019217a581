"""Whole simulations at random: small fleets under every policy, with ties and nothing to send.

Figures come from few round numbers as often as not, so that many events share a nanosecond.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedsim.fleet import Simulation, prepare
from fedsim.planning import (
    ByRound,
    ClientFacts,
    Need,
    ParticipationByRound,
    PolicySchedule,
    Schedule,
    View,
)
from fedsim.protocol import FRAMEWORKS
from fedsim.protocol.privacy import with_privacy
from fedsim.spec.availability import AlwaysOn, Diurnal, OnOff, Trace
from fedsim.spec.batch import TextLengths
from fedsim.spec.codec import Codecs
from fedsim.spec.device import DeviceSpec
from fedsim.spec.distribution import LogNormal, Table
from fedsim.spec.federation import ClientClass, FederationSpec, ServerSpec, Spread
from fedsim.spec.link import LinkSpec, RateTrace
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, TrainingSpec
from fedsim.spec.policy import PolicySpec
from fedsim.spec.privacy import PrivacySpec
from fedsim.spec.tuning import LoraTuning
from toy_codecs import named_codecs

__all__ = ["Case", "FewerForSome", "LongAway", "simulations"]

#: All blocks adapted; only the last, so that a client below the cut trains and sends nothing.
_TRAININGS = (
    TrainingSpec(model("gpt2-tiny"), HeadSpec(num_classes=4), LoraTuning(r=2)),
    TrainingSpec(model("gpt2-tiny"), HeadSpec(num_classes=4), LoraTuning(r=2, num_top_layers=1)),
)


#: Slower for a while; without any rate for a while.
_TRACES = (RateTrace((0.0, 1.5), (1.0, 0.25), 4.0), RateTrace((0.0, 1.5), (1.0, 0.0), 4.0))

_SUMMABLE = ["identity", "float16"]
_CODECS = [*_SUMMABLE, "largest", "delta"]


def _device(call_s: float) -> DeviceSpec:
    seconds = {"num_calls": 1.0, "num_messages": 1 / 8, "num_parameter_kernels": 1 / 256}
    # Unequal at both ends, so that none can be taken for the other.
    seconds |= {"encoded_bytes": 1 / 2**12, "decoded_bytes": 1 / 2**14, "num_codec_kernels": 1 / 64}
    return DeviceSpec(
        "toy", {name: call_s * share for name, share in seconds.items()}, relative_sigma=0.1
    )


class Case:
    """A simulation that is printed in a few lines."""

    def __init__(self, framework: str, simulation: Simulation) -> None:
        self.framework = framework
        self.simulation = simulation

    def __repr__(self) -> str:
        federation = self.simulation.federation
        plan, server = federation.server_plan, federation.server
        classes = [
            (c.num_clients, c.device.seconds_per_unit["num_calls"], c.link, c.spread,
             c.availability, c.client_samples)
            for c in federation.classes
        ]  # fmt: skip
        return (
            f"{self.framework}, seed {self.simulation.seed}, {federation.num_rounds} rounds\n"
            f"{self.simulation.policy}\n{plan.train_epochs} {plan.public_text} batch "
            f"{plan.batch_size} x {plan.accumulation_steps} {plan.server_variant} "
            f"{plan.training.tuning} {[c.plan.codecs for c in federation.classes]}\n"
            f"{server.num_accelerators} {server.uplink_bytes_per_s} "
            f"{server.downlink_bytes_per_s} {server.discipline} {server.max_batch} {server.order} "
            f"{server.device.seconds_per_unit}\n{federation.schedules}\n"
            + "\n".join(map(str, classes))
        )


@st.composite
def simulations(
    draw: st.DrawFn,
    *,
    modes: tuple[str, ...] = ("synchronous",),
    max_clients: int = 40,
    hides: bool = False,
) -> Case:
    """A simulation of up to ``max_clients`` clients, who hide what they send where ``hides``."""
    name = draw(st.sampled_from(sorted(FRAMEWORKS)))
    # A client that trains nothing sends no sum, and so nothing that could be hidden.
    is_choice = name == "split_fedllm" and not hides
    training = draw(st.sampled_from(_TRAININGS)) if is_choice else _TRAININGS[0]
    variant = draw(st.sampled_from(["v1", "v2"])) if name == "split_fedllm" else "v1"
    samples = draw(st.integers(1, 9))
    plan = ClientPlan(
        training,
        (TextLengths(samples, 8),) * draw(st.integers(1, 2)),
        TextLengths(draw(st.integers(0, 3)), 8),
        batch_size=draw(st.integers(1, 4)),
        accumulation_steps=draw(st.integers(1, 2)),
        cut=Cut(1),
        server_variant=variant,
    )
    num_classes = draw(st.integers(1, 3))
    # Vectors that are summed under masks are equally long.
    ranks = st.just(2) if hides else st.sampled_from([2, 2, 5])
    # Under masks all send values of one format, which add up.
    plan = replace(plan, codecs=draw(_codecs(_SUMMABLE if hides else _CODECS)))
    plans = [
        plan if hides else replace(plan, codecs=draw(_codecs(_CODECS))) for _ in range(num_classes)
    ]
    classes = tuple(
        draw(_client_class(str(i), _ranked(own, draw(ranks)), max_clients // num_classes))
        for i, own in enumerate(plans)
    )
    mode = draw(st.sampled_from(modes))
    # Who shares masks is settled ahead of the rounds; without rounds no plan changes by them.
    schedules = () if hides or mode != "synchronous" else draw(_schedules())
    federation = FederationSpec(
        classes, draw(_server()), plan, num_rounds=draw(st.integers(1, 4)), schedules=schedules
    )
    policy = draw(_policy(mode, federation.num_clients))
    if not hides and mode == "synchronous":
        policy = replace(policy, schedules=draw(_participation(federation.num_clients)))
    seed = draw(st.integers(0, 5))
    framework = FRAMEWORKS[name]
    if hides:
        asked = policy.num_asked(federation.num_clients)
        dropouts = asked - policy.num_awaited(asked)
        framework = with_privacy(framework, draw(_privacy(asked, dropouts)), asked, dropouts)
    return Case(name, prepare(federation, framework, policy, seed))


@st.composite
def _codecs(draw: st.DrawFn, names: list[str]) -> Codecs:
    """Others up than down, and others for each content."""
    contents = ("adapters", "logits", "activations", "activation_gradients")
    way = st.sampled_from([None, *names])
    return named_codecs(**{content: (draw(way), draw(way)) for content in contents})


@st.composite
def _privacy(draw: st.DrawFn, asked: int, dropouts: int) -> PrivacySpec:
    """Of whoever is asked; no secure sum where too few are awaited."""
    kinds = ["secagg", "secagg+"] if asked > 1 and 4 * dropouts <= asked - 3 else [None]
    return PrivacySpec(
        secure_aggregation=draw(st.sampled_from(kinds)),  # type: ignore[arg-type]
        differential_privacy=draw(st.sampled_from(["central", "local"])),  # type: ignore[arg-type]
    )


@st.composite
def _client_class(draw: st.DrawFn, name: str, plan: ClientPlan, most: int) -> ClientClass:
    num = draw(st.integers(1, max(1, most)))
    rate = draw(st.sampled_from([1e4, 2e4, 1e5]))
    link = LinkSpec(
        name,
        uplink_bytes_per_s=rate,
        downlink_bytes_per_s=rate * draw(st.sampled_from([1.0, 4.0])),
        round_trip_s=draw(st.sampled_from([0.0, 0.05, 0.5])),
        handshake_round_trips=draw(st.sampled_from([0.0, 1.0])),
        initial_window_bytes=draw(st.sampled_from([0, 1000])),
        payload_fraction=draw(st.sampled_from([1.0, 0.9])),
        message_s=draw(st.sampled_from([0.0, 0.01])),
        trace=draw(st.sampled_from([None, None, None, *_TRACES])),
    )
    sizes: dict[str, Any] = {}
    if draw(st.integers(0, 3)) == 0:
        counts = draw(st.lists(st.integers(1, 6), min_size=num, max_size=num))
        sizes["client_samples"] = tuple(counts)
        sizes["plans"] = {n: _sized(plan, n) for n in set(counts)}
    return ClientClass(
        name,
        num,
        plan,
        _device(draw(st.sampled_from([0.0, 0.25, 0.5, 1.0]))),
        link,
        Spread(
            slowdown=draw(st.sampled_from([None, LogNormal(1.0, 0.5), Table((1.0, 2.0))])),
            uplink=draw(st.sampled_from([None, None, LogNormal(rate, 0.8)])),
            round_trip=draw(st.sampled_from([None, None, Table((0.0, 0.1))])),
            round_sigma=draw(st.sampled_from([0.0, 0.0, 0.3])),
            dropout_probability=draw(st.sampled_from([0.0, 0.0, 0.3, 1.0])),
        ),
        draw(
            st.sampled_from(
                [
                    AlwaysOn(),
                    AlwaysOn(),
                    AlwaysOn(),
                    OnOff(20.0, 5.0),
                    Diurnal(0.0, 7200.0, probability=0.9),
                    Trace((((0.0, 4.0), (5.0, 9.0)), ((0.0, 10.0),)), 10.0),
                ]
            )
        ),
        **sizes,
    )


@dataclass(frozen=True)
class FewerForSome:
    """A schedule of one's own: from a round on, batches of one for clients of a class or a rate."""

    first_round: int
    slowest_bytes_per_s: float

    @property
    def needs(self) -> frozenset[Need]:
        """Facts and the round alone."""
        return frozenset()

    def groups(self, facts: ClientFacts, view: View) -> NDArray[np.int64]:
        """Whose uplink is slower than that."""
        is_late = view.round_index >= self.first_round
        return ((facts.uplink < self.slowest_bytes_per_s) & is_late).astype(np.int64)

    def plan(self, base: ClientPlan, group: int, view: View) -> ClientPlan:
        """Batches of one for the second group."""
        return replace(base, batch_size=1) if group else base


@dataclass(frozen=True)
class LongAway:
    """Another one, of history: who was not used for some rounds trains twice as long."""

    num_rounds: int

    @property
    def needs(self) -> frozenset[Need]:
        """When each client was used last."""
        return frozenset({Need.HISTORY})

    def groups(self, facts: ClientFacts, view: View) -> NDArray[np.int64]:
        """Whose last contribution is so many rounds ago."""
        assert view.last_used is not None
        return (view.round_index - view.last_used > self.num_rounds).astype(np.int64)

    def plan(self, base: ClientPlan, group: int, view: View) -> ClientPlan:
        """Two passes where there was one."""
        return replace(base, train_epochs=base.train_epochs * 2) if group else base


@st.composite
def _participation(draw: st.DrawFn, num_clients: int) -> tuple[PolicySchedule, ...]:
    """How many a round asks; as it is in half of all cases."""
    if draw(st.booleans()):
        return ()
    rounds = sorted(draw(st.sets(st.integers(1, 4), min_size=1, max_size=3)))
    values = tuple(draw(st.integers(1, num_clients + 1)) for _ in rounds)
    return (ParticipationByRound(tuple(rounds), values),)


@st.composite
def _schedules(draw: st.DrawFn) -> tuple[Schedule, ...]:
    """None as often as not."""
    found: list[Schedule] = []
    for field, values in (
        ("batch_size", st.integers(1, 4)),
        ("local_epochs", st.integers(1, 3)),
        ("num_samples", st.integers(1, 9)),
    ):
        if draw(st.integers(0, 3)) == 0:
            rounds = draw(st.sets(st.integers(1, 4), min_size=1, max_size=3))
            own = tuple(draw(values) for _ in rounds)
            classes = draw(st.sampled_from([None, None, ("0",)]))
            found.append(ByRound(field, tuple(sorted(rounds)), own, classes))
    if draw(st.integers(0, 3)) == 0:
        found.append(FewerForSome(draw(st.integers(1, 3)), 2e4))
    if draw(st.integers(0, 3)) == 0:
        found.append(LongAway(draw(st.integers(1, 2))))
    return tuple(found)


def _ranked(plan: ClientPlan, rank: int) -> ClientPlan:
    lora = plan.training.lora
    assert lora is not None
    return replace(plan, training=replace(plan.training, tuning=replace(lora, r=rank)))


def _sized(plan: ClientPlan, samples: int) -> ClientPlan:
    return replace(plan, train_epochs=(TextLengths(samples, 8),) * len(plan.train_epochs))


@st.composite
def _server(draw: st.DrawFn) -> ServerSpec:
    discipline = draw(st.sampled_from(["fcfs", "fcfs", "sharing"]))
    return ServerSpec(
        _device(draw(st.sampled_from([0.0, 0.125, 0.5]))),
        draw(st.integers(1, 3)),
        draw(st.sampled_from([None, 3e4, 1e5])),
        draw(st.sampled_from([None, 3e4, 1e5])),
        discipline,  # type: ignore[arg-type]
        draw(st.integers(1, 3)) if discipline == "fcfs" else 1,
        draw(st.sampled_from(["turns", "interleaved"])),  # type: ignore[arg-type]
    )


@st.composite
def _policy(draw: st.DrawFn, mode: str, num_clients: int) -> PolicySpec:
    working = draw(st.none() | st.integers(1, num_clients))
    again: dict[str, Any] = {
        "clients_per_round": working,
        "retries": draw(st.integers(0, 2)),
        "retry_after_s": draw(st.sampled_from([0.0, 0.5, 3.0])),
        "failure_timeout_s": draw(st.sampled_from([None, None, 0.0, 0.5, 9.0])),
        "selection": draw(st.sampled_from(["random", "resource"])),
        "simulates_setup": draw(st.booleans()),
    }
    slots = num_clients if working is None else working
    if mode == "buffered":
        staleness = draw(st.none() | st.integers(0, 2))
        size = draw(st.integers(1, slots))
        return PolicySpec(mode="buffered", buffer_size=size, max_staleness=staleness, **again)
    if mode == "windowed":
        window = draw(st.sampled_from([0.5, 2.0, 10.0]))
        return PolicySpec(mode="windowed", window_s=window, **again)
    return PolicySpec(
        over_selection=draw(st.sampled_from([0.0, 0.5])) if working is not None else 0.0,
        quorum=draw(st.none() | st.integers(1, num_clients)),
        deadline_s=draw(st.sampled_from([None, None, 1.0, 2.5, 20.0])),
        min_available=draw(st.sampled_from([None, 1])),
        **again,
    )
