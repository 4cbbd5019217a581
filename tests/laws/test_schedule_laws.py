"""Plans that change by round and client: what must hold whoever reads them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from engine_cases import FewerForSome, LongAway
from fedsim import des, scale
from fedsim.analytic import evaluate
from fedsim.analytic.count import count_client
from fedsim.analytic.evaluate import timed
from fedsim.errors import ScenarioError
from fedsim.fleet import Simulation, SimulationResult, prepare
from fedsim.fleet.planner import Planner
from fedsim.fleet.recent import NUM_RECENT
from fedsim.ledger import Ledger
from fedsim.planning import (
    ByRound,
    ClientFacts,
    Need,
    ParticipationByRound,
    Schedule,
    View,
    groups,
    plan,
)
from fedsim.planning import policy as planned_policy
from fedsim.protocol import FEDLLM
from fedsim.spec.batch import TextLengths
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import ClientClass, FederationSpec, ServerSpec, Spread
from fedsim.spec.link import LinkSpec
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, TrainingSpec
from fedsim.spec.policy import PolicySpec
from fedsim.spec.tuning import LoraTuning

TRAINING = TrainingSpec(model("gpt2-tiny"), HeadSpec(num_classes=4), LoraTuning(r=2))
PLAN = ClientPlan(TRAINING, (TextLengths(8, 8),), batch_size=4)
DEVICE = DeviceSpec("toy", {"num_calls": 1.0, "num_parameter_kernels": 1e-3}, relative_sigma=0.0)
NUM_ROUNDS = 5
ENGINES = (des.simulate, scale.simulate)

Engine = Callable[[Simulation], SimulationResult]


def simulation(*schedules: Schedule, base: ClientPlan = PLAN, policy: Any = None) -> Simulation:
    """Two classes, one behind a slow uplink, whose rounds take unequally long."""
    classes = tuple(
        ClientClass(
            name,
            3,
            base,
            DEVICE,
            LinkSpec(name, rate, 4 * rate, 0.0),
            Spread(round_sigma=0.3),
        )
        for name, rate in (("fast", 1e5), ("slow", 1e4))
    )
    federation = FederationSpec(classes, ServerSpec(DEVICE), base, NUM_ROUNDS, schedules)
    return prepare(federation, FEDLLM, policy or PolicySpec(), 3)


def round_s(found: SimulationResult) -> np.ndarray:
    """What each round took [s]."""
    return found.rounds.end_s - found.rounds.start_s


@pytest.mark.parametrize("engine", ENGINES)
def test_a_round_of_a_schedule_is_that_round_of_its_plan(engine: Engine) -> None:
    """k periods are k engines in a row: draws go by the round, so each round is found again."""
    mixed = round_s(engine(simulation(ByRound("batch_size", (2, 4), (2, 8)))))
    sizes = (4, 2, 2, 8, 8)
    alone = {
        size: round_s(engine(simulation(base=replace(PLAN, batch_size=size)))) for size in sizes
    }
    expected = [alone[size][place] for place, size in enumerate(sizes)]
    assert mixed == pytest.approx(expected, rel=1e-12)
    assert len({round(seconds, 9) for seconds in expected}) == NUM_ROUNDS


@pytest.mark.parametrize("engine", ENGINES)
def test_a_schedule_that_changes_nothing_changes_nothing(engine: Engine) -> None:
    """The same bytes, not only the same seconds."""
    one, other = engine(simulation()), engine(simulation(ByRound("batch_size", (1,), (4,))))
    assert one.ledger.rows == other.ledger.rows
    assert one.rounds.end_s.tolist() == other.rounds.end_s.tolist()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("schedule", [FewerForSome(3, 2e4), LongAway(1)])
def test_what_a_round_counts_is_its_plans(engine: Engine, schedule: Schedule) -> None:
    """Both engines count what the one function plans from the view of that round."""
    asked = simulation(schedule, policy=PolicySpec(clients_per_round=3))
    found = engine(asked)
    population, facts = asked.population, _facts(asked)
    last_used = np.zeros(len(population), dtype=np.int64)
    for index in range(1, NUM_ROUNDS + 1):
        rows = found.ledger.select(round_index=index)
        total = found.ledger.total(row for row in rows if row[0].party != "server")
        used = _cohort(asked, index)
        view = View(index, None, used, last_used.copy())
        own = groups((schedule,), facts, view)
        expected = Ledger()
        for client in used.tolist():
            planned = plan(PLAN, (schedule,), own[client], view)
            name = population.class_names[population.class_index[client]]
            count_client(expected, index, name, FEDLLM(planned).round, TRAINING)
        assert total.client_flop == expected.total(expected.rows.items()).client_flop
        assert total.samples == expected.total(expected.rows.items()).samples
        last_used[used] = index


def _facts(asked: Simulation) -> ClientFacts:
    return Planner(asked)._facts


def _cohort(asked: Simulation, round_index: int) -> np.ndarray:
    """Whom the server asks; all are there and none fails."""
    from fedsim.fleet.selection import Selector

    selector = Selector(asked, np.zeros(len(asked.population)))
    return selector.choose(round_index, np.arange(len(asked.population)), 3)


def alike(*schedules: Schedule) -> FederationSpec:
    """Clients that draw nothing, so that the closed form is exact."""
    asked = simulation(*schedules).federation
    classes = tuple(replace(each, spread=Spread()) for each in asked.classes)
    return replace(asked, classes=classes)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "schedules",
    [
        (ByRound("batch_size", (2, 4), (2, 8)),),
        (ByRound("local_epochs", (3,), (3,)), ByRound("num_samples", (1, 4), (5, 20))),
        (FewerForSome(3, 2e4),),
    ],
)
def test_the_closed_form_adds_up_periods_as_engines_run_through_them(
    engine: Engine, schedules: tuple[Schedule, ...]
) -> None:
    """Every count and the mean round, over all rounds."""
    federation = alike(*schedules)
    closed = evaluate(federation, FEDLLM)
    found = engine(prepare(federation, FEDLLM, PolicySpec(), 0))
    assert len(closed.periods) > 1
    assert closed.round_time.is_exact
    assert closed.round_time.mean_s == pytest.approx(found.makespan_s / NUM_ROUNDS, rel=1e-9)
    parts = [(each.period.num_rounds, each.round_time) for each in closed.periods]
    assert [(num, one.round_time) for num, one in timed(federation, FEDLLM)] == parts
    rounds = found.ledger.total()
    setup = sum(c.client_class.num_clients * c.setup.downlink_payload_bytes for c in closed.classes)
    assert closed.total.downlink_payload_bytes == rounds.downlink_payload_bytes + setup
    for name in ("uplink_payload_bytes", "uplink_message_bytes", "client_flop", "samples"):
        assert getattr(closed.total, name) == getattr(rounds, name), name


def test_what_must_fit_is_the_largest_round() -> None:
    """A batch that is doubled in round 4 is what the memory of round 1 does not show."""
    one, other, later = (
        evaluate(alike(*schedules), FEDLLM).classes[0].peak_memory_bytes
        for schedules in (
            (),
            (ByRound("batch_size", (1,), (8,)),),
            (ByRound("batch_size", (4,), (8,)),),
        )
    )
    assert one < other == later


def test_a_closed_form_knows_no_history() -> None:
    """It says which schedules it cannot answer, and what can."""
    with pytest.raises(ScenarioError, match="a schedule looks at history"):
        evaluate(alike(LongAway(1)), FEDLLM)


@dataclass(frozen=True)
class OfTheLoss(LongAway):
    """What a real run alone can know."""

    @property
    def needs(self) -> frozenset[Need]:
        """The losses so far."""
        return frozenset({Need.LOSSES})


def test_only_a_real_run_has_losses() -> None:
    """Simulators and the closed form refuse what they could not know, by name."""
    with pytest.raises(ScenarioError, match=r"OfTheLoss.* looks at losses, and nobody trains"):
        simulation(OfTheLoss(1))
    with pytest.raises(ScenarioError, match="a schedule looks at losses, which only a real run"):
        evaluate(replace(simulation().federation, schedules=(OfTheLoss(1),)), FEDLLM)


@dataclass(frozen=True)
class MovesTheCut(FewerForSome):
    """What nothing counts yet."""

    def plan(self, base: ClientPlan, group: int, view: View) -> ClientPlan:
        """Another cut for some."""
        return replace(base, cut=Cut(1)) if group else base


def test_what_nothing_counts_is_refused() -> None:
    """A cut that moves would ship blocks, and a number without them would mislead."""
    with pytest.raises(ScenarioError, match="round 2: a schedule changes a plan's cut"):
        des.simulate(simulation(MovesTheCut(2, 2e4)))


def test_equal_rounds_are_one_simulation() -> None:
    """So what an engine works out for a plan, it works out once."""
    planner = Planner(simulation(ByRound("batch_size", (3,), (2,)), FewerForSome(1, 2e4)))
    everybody = np.arange(6)
    rounds = [planner.at(index, everybody, 10.0 * index) for index in range(1, 6)]
    assert rounds[0] is rounds[1]
    assert rounds[2] is rounds[3] is rounds[4]
    assert rounds[1] is not rounds[2]


@dataclass(frozen=True)
class FewerForSomeAsked(FewerForSome):
    """Batches of one for every second client of a round: no two rounds are planned alike."""

    @property
    def needs(self) -> frozenset[Need]:
        """Whom the round asks."""
        return frozenset({Need.COHORT})

    def groups(self, facts: ClientFacts, view: View) -> np.ndarray:
        """Every second one of them."""
        assert view.asked is not None
        found = np.zeros(len(facts), dtype=np.int64)
        found[view.asked[::2]] = 1
        return found


@pytest.mark.parametrize("engine", ENGINES)
def test_rounds_that_are_never_alike_are_not_kept(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rounds there are, simulations of a few are alive: no cache keeps the others."""
    made: list[weakref.ref[Simulation]] = []
    alive: list[int] = []
    make = Planner._made

    def counted(*arguments: Any) -> Simulation:
        found = make(*arguments)
        made.append(weakref.ref(found))
        alive.append(sum(one() is not None for one in made))
        return found

    monkeypatch.setattr(Planner, "_made", counted)
    asked = simulation(FewerForSomeAsked(1, 0.0), policy=PolicySpec(clients_per_round=3))
    engine(replace(asked, federation=replace(asked.federation, num_rounds=30)))
    assert len(made) > 3 * NUM_RECENT
    # One more is in hand while the next one is made.
    assert max(alive) <= NUM_RECENT + 1


@pytest.mark.parametrize("engine", ENGINES)
def test_participation_changes_by_round(engine: Engine) -> None:
    """So many are asked in each round as its policy says, and those of that policy alone."""
    by_round = ParticipationByRound((2, 4), (2, 5))
    policy = PolicySpec(schedules=(by_round,))
    assert [
        planned_policy(policy, View(index)).clients_per_round for index in range(1, NUM_ROUNDS + 1)
    ] == [None, 2, 2, 5, 5]
    found = engine(simulation(policy=policy))
    assert found.rounds.num_asked.tolist() == [6, 2, 2, 5, 5]
    alone = engine(simulation(policy=PolicySpec(clients_per_round=2)))
    assert round_s(found)[1:3] == pytest.approx(round_s(alone)[1:3], rel=1e-12)


@dataclass(frozen=True)
class MovesTheDeadline:
    """What nothing counts by round."""

    needs: frozenset[Need] = frozenset()

    def policy(self, base: PolicySpec, view: View) -> PolicySpec:
        """Another deadline."""
        return replace(base, deadline_s=3.0)


@pytest.mark.parametrize("engine", ENGINES)
def test_of_a_policy_participation_alone_changes(engine: Engine) -> None:
    """Whoever changes more of it is told so."""
    with pytest.raises(ScenarioError, match="round 1: a schedule changes the policy"):
        engine(simulation(policy=PolicySpec(schedules=(MovesTheDeadline(),))))


def test_who_is_asked_does_not_say_how_many() -> None:
    """A schedule of participation that looks at the cohort would look at itself."""
    with pytest.raises(ScenarioError, match="looks at whom a round asks"):
        simulation(policy=PolicySpec(schedules=(MovesTheDeadline(frozenset({Need.COHORT})),)))


def test_no_schedule_is_the_simulation_itself() -> None:
    """A run without schedules pays nothing for them."""
    asked = simulation()
    planner = Planner(asked)
    assert planner.at(3, np.arange(6), 0.0) is asked
    assert planner.policy(3, 0.0) is asked.policy


def test_a_schedule_of_the_round_alone_makes_no_arrays() -> None:
    """Who has which of the base's variants stays the same array, so nobody is told anew."""
    asked = simulation(ByRound("batch_size", (3,), (2,)))
    planner = Planner(asked)
    later = planner.at(3, np.arange(6), 0.0)
    assert later.population.group_index is asked.population.group_index
    assert {v.plan.batch_size for v in later.population.groups} == {2}


def test_a_schedule_of_some_classes_leaves_the_others_and_the_server() -> None:
    """Only theirs is another plan."""
    planner = Planner(simulation(ByRound("batch_size", (1,), (2,), ("slow",))))
    found = planner.at(1, np.arange(6), 0.0)
    own = {
        found.population.class_names[v.class_index]: v.plan.batch_size
        for v in found.population.groups
    }
    assert own == {"fast": 4, "slow": 2}
    assert found.federation.server_plan.batch_size == 4


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (lambda: ByRound("rank", (1,), (2,)), "schedule of 'rank': allowed: "),
        (lambda: ByRound("batch_size", (3, 2), (1, 2)), "each is later than the one before"),
        (lambda: ByRound("batch_size", (0,), (1,)), "they begin at 1 or later"),
        (lambda: ByRound("batch_size", (1, 2), (1,)), "one value for each round"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(
    schedule: Callable[[], Schedule], message: str
) -> None:
    """With what is wrong and what is allowed."""
    with pytest.raises(ScenarioError, match=message):
        schedule()


def test_a_bad_plan_names_what_is_wrong_with_it() -> None:
    """A value that no plan may have is found when its round begins."""
    with pytest.raises(ScenarioError, match="batch_size = 0"):
        des.simulate(simulation(ByRound("batch_size", (2,), (0,))))


def test_without_rounds_nothing_changes_by_round() -> None:
    """Other modes have no moment at which all begin."""
    with pytest.raises(ScenarioError, match="no rounds by which plans could change"):
        simulation(
            ByRound("batch_size", (2,), (1,)),
            policy=PolicySpec(mode="buffered", buffer_size=1),
        )
