"""Clients with settings, parts and trainings of their own, and plans that change by round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from numpy.typing import NDArray

from fedsim.agreement import differences
from fedsim.errors import ProtocolError, ScenarioError
from fedsim.planning import ByRound, ClientFacts, Need, ParticipationByRound, View
from fedsim.runtime.federation import Federation
from fedsim.runtime.options import RunOptions
from fedsim.runtime.training.rounds import FederatedRounds, round_runner
from fedsim.spec.plan import ClientPlan, Cut
from fedsim.spec.policy import PolicySpec
from fedsim.spec.tuning import LoraTuning
from fedsim.study.verify import predicted_ledger
from identities import largest_difference, parameters, run
from tiny import RoundSettings, tiny_federation, tiny_training

LENGTHS = {"ann": (4, 9, 1, 7, 2), "bob": (3, 3, 8), "cid": (5, 6, 2, 9)}
PUBLIC = (3, 4, 5, 9)
RATE = RunOptions(learning_rate=0.05)
SETTINGS = {
    "ann": RoundSettings(batch_size=2, padding="none", local_epochs=2),
    "bob": RoundSettings(batch_size=3, padding="none", accumulation_steps=2),
    "cid": RoundSettings(batch_size=1, padding="none", accumulation_steps=3),
}
CUTS = {"ann": Cut(1), "bob": Cut(2), "cid": Cut(1, True)}


def cut_settings(variant: Any = "v1") -> dict[str, RoundSettings]:
    """Each client's own cut."""
    return {
        cid: replace(own, cut=CUTS[cid], server_variant=variant) for cid, own in SETTINGS.items()
    }


def unequal(framework: str, **changes: Any) -> Federation:
    """Three clients that differ in all that a plan may say."""
    settings: Mapping[str, RoundSettings] = SETTINGS
    if framework == "split_fedllm":
        settings = cut_settings()
    choices: dict[str, Any] = {
        "clients": LENGTHS,
        "public": PUBLIC if framework == "kd_fedllm" else None,
        "options": RATE,
        "draws_masks_by_name": True,
    }
    return tiny_federation(framework, tiny_training(), settings, **{**choices, **changes})


def disagreement(federation: Federation, num_rounds: int = 2) -> list[str]:
    """What real rounds counted otherwise than the formulas."""
    executor = run(federation, num_rounds, counts_flop=True)
    return list(differences(predicted_ledger(federation, num_rounds), executor.ledger))


@pytest.mark.parametrize("framework", ["fedllm", "kd_fedllm", "split_fedllm"])
def test_unequal_clients_are_counted_each_by_its_own_plan(framework: str) -> None:
    """Bytes, FLOP, samples and tokens of every step, to the last unit."""
    federation = unequal(framework)
    assert disagreement(federation) == []
    samples = {
        party: sum(
            row.samples
            for key, row in predicted_ledger(federation, 1).rows.items()
            if key.party == party and key.round_index == 1
        )
        for party in LENGTHS
    }
    assert len(set(samples.values())) == len(LENGTHS)


@pytest.mark.parametrize("framework", ["fedllm", "kd_fedllm", "split_fedllm"])
def test_a_cohort_of_unequal_clients_learns_what_they_learn_alone(framework: str) -> None:
    """Two rounds, with other batch sizes, epochs and cuts."""
    found = []
    for mode in ("sequential", "cohort"):
        federation = unequal(framework)
        runner = round_runner(mode, federation)  # type: ignore[arg-type]
        runner.run_setup()
        before = parameters(federation.server.trainer.model)
        for index in (1, 2):
            runner.run_round(index)
        after = parameters(federation.server.trainer.model)
        assert largest_difference(before, after) > 1e-3
        found.append(after)
    assert largest_difference(*found) <= 2e-5


def test_cuts_of_their_own_change_nothing() -> None:
    """V1 with three cuts ends where FedLLM ends, and where one cut for all ends."""
    split, whole = unequal("split_fedllm"), unequal("fedllm")
    run(split, 2)
    run(whole, 2)
    moved, found = (parameters(f.server.trainer.model) for f in (whole, split))
    assert largest_difference(moved, found) <= 2e-6


def test_one_server_side_model_has_one_cut() -> None:
    """V2 with unequal cuts is refused with what to do."""
    with pytest.raises(ScenarioError, match=r"one server-side model.*'v1'"):
        tiny_federation("split_fedllm", tiny_training(), cut_settings("v2"), clients=LENGTHS)


def test_ranks_of_their_own_distil_and_do_not_average() -> None:
    """KD sends logits, whose shape no rank changes; a plain average of adapters is refused."""
    ranks = dict(zip(LENGTHS, (2, 4, 8), strict=True))
    trainings = {
        cid: tiny_training(tuning=LoraTuning(r=rank, alpha=8.0)) for cid, rank in ranks.items()
    }
    distilled = tiny_federation(
        "kd_fedllm",
        trainings["ann"],
        SETTINGS,
        trainings=trainings,
        clients=LENGTHS,
        public=PUBLIC,
        options=RATE,
    )
    assert disagreement(distilled) == []
    widths = {
        cid: {t.shape[0] for n, t in client.trainer.adapters(with_head=False).items() if "_A" in n}
        for cid, client in distilled.clients.items()
    }
    assert widths == {cid: {rank} for cid, rank in ranks.items()}
    averaged = tiny_federation(
        "fedllm", trainings["ann"], SETTINGS, trainings=trainings, clients=LENGTHS
    )
    with pytest.raises(ProtocolError, match="plain average needs equal ranks"):
        run(averaged)


def test_the_frozen_base_of_unequal_ranks_is_held_once() -> None:
    """In memory, as for equal ones."""
    trainings = {"bob": tiny_training(tuning=LoraTuning(r=4, alpha=8.0))}
    found = tiny_federation("fedllm", tiny_training(), trainings=trainings, clients=LENGTHS)
    places = {
        next(p.data_ptr() for p in client.trainer.model.module.parameters() if not p.requires_grad)
        for client in found.clients.values()
    }
    assert len(places) == 1


# --- plans by round ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patient:
    """Who was away for some rounds visits its texts twice."""

    rounds: int = 1

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset((Need.HISTORY,))

    def groups(self, facts: ClientFacts, view: View) -> NDArray[np.int64]:
        assert view.last_used is not None
        return (view.round_index - view.last_used > self.rounds).astype(np.int64)

    def plan(self, base: ClientPlan, group: int, view: View) -> ClientPlan:
        return replace(base, train_epochs=base.train_epochs * (1 + group))


@dataclass(frozen=True)
class Plateau:
    """Half the batch once the loss stops to fall by a tenth."""

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset((Need.LOSSES,))

    def groups(self, facts: ClientFacts, view: View) -> NDArray[np.int64]:
        return np.zeros(len(facts), dtype=np.int64)

    def plan(self, base: ClientPlan, group: int, view: View) -> ClientPlan:
        assert view.losses is not None
        losses = view.losses
        slow = sum(b > 0.9 * a for a, b in pairwise(losses) if a is not None and b is not None)
        return replace(base, batch_size=max(1, base.batch_size >> slow))


@dataclass(frozen=True)
class ByClock(Plateau):
    """Looks at a clock that no two runs share."""

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset((Need.CLOCK,))


SCHEDULES = {
    "batch": (ByRound("batch_size", (2,), (1,)),),
    "epochs": (ByRound("local_epochs", (2, 3), (3, 1)), ByRound("num_samples", (3,), (2,))),
    "history": (Patient(),),
    "losses": (Plateau(),),
}
DROPPING = replace(RATE, dropout_probability=0.4, seed=3)


@pytest.mark.parametrize(
    ("name", "framework"),
    [
        *((name, "fedllm") for name in SCHEDULES),
        ("epochs", "kd_fedllm"),
        ("history", "split_fedllm"),
    ],
)
def test_a_run_follows_its_schedules(name: str, framework: str) -> None:
    """Every round is counted by the plan that it had, whoever is away."""
    found = unequal(framework, schedules=SCHEDULES[name], options=DROPPING)
    assert disagreement(found, 4) == []
    plain = unequal(framework, options=DROPPING)
    rounds = range(1, 5)
    assert [found.protocols(i) for i in rounds] != [plain.protocols(i) for i in rounds]


def test_both_modes_follow_them_alike() -> None:
    """A schedule that looks at losses, which both have."""
    found = []
    for mode in ("sequential", "cohort"):
        federation = unequal("fedllm", schedules=SCHEDULES["losses"])
        runner = round_runner(mode, federation)  # type: ignore[arg-type]
        runner.run_setup()
        for index in range(1, 5):
            runner.run_round(index)
        found.append(federation)
    one, other = (f.round_plans for f in found)
    assert [one.plans(i) for i in range(1, 6)] == [other.plans(i) for i in range(1, 6)]
    assert len({tuple(p.batch_size for p in one.plans(i).values()) for i in range(1, 6)}) > 1


def test_a_clock_is_refused() -> None:
    """By name, with what to do."""
    with pytest.raises(ScenarioError, match=r"ByClock.*clock.*simulate"):
        unequal("fedllm", schedules=(ByClock(),))


def test_losses_that_are_not_known_yet_are_named() -> None:
    """Nobody plans a round from losses that nobody has seen."""
    found = unequal("fedllm", schedules=SCHEDULES["losses"])
    with pytest.raises(ScenarioError, match=r"round 3.*losses.*round 1"):
        found.protocols(3)


@pytest.mark.parametrize("framework", ["fedllm", "split_fedllm"])
def test_a_run_with_schedules_is_resumed_to_the_same_bits(framework: str) -> None:
    """From every round; losses are part of the state."""

    def rounds() -> FederatedRounds:
        federation = unequal(framework, schedules=SCHEDULES["losses"], options=DROPPING)
        return FederatedRounds(federation, federation.executor(counts_flop=False))

    whole = rounds()
    whole.run_setup()
    states = []
    for index in range(1, 5):
        whole.run_round(index)
        states.append({name: tensor.clone() for name, tensor in whole.tensors().items()})
    assert "plans/losses" in states[0]
    for last, state in enumerate(states[:-1], 1):
        resumed = rounds()
        resumed.load(state)
        for index in range(last + 1, 5):
            resumed.run_round(index)
        found = resumed.tensors()
        assert found.keys() == states[-1].keys()
        assert all(torch.equal(found[name], states[-1][name]) for name in found)


def test_some_clients_are_asked_each_round() -> None:
    """As many as were said, others in other rounds, and all of them some time."""
    found = unequal("fedllm", policy=PolicySpec(clients_per_round=2))
    asked = [found.participants(index) for index in range(1, 9)]
    assert {len(ids) for ids in asked} == {2}
    assert {cid for ids in asked for cid in ids} == set(LENGTHS)
    assert disagreement(found, 3) == []


def test_how_many_are_asked_changes_by_round() -> None:
    """As in a simulation, by the same schedule."""
    growing = PolicySpec(clients_per_round=1, schedules=(ParticipationByRound((2, 4), (3, 2)),))
    found = unequal("fedllm", policy=growing)
    assert [len(found.participants(index)) for index in range(1, 6)] == [1, 3, 3, 2, 2]
    assert disagreement(found, 4) == []
