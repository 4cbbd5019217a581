"""Rounds in cohort mode are the reference's: parameters, losses and every counted row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from fedsim.agreement import check_agreement
from fedsim.errors import ScenarioError
from fedsim.runtime.cohort import CohortExecutor
from fedsim.runtime.data import EncodedDataset
from fedsim.runtime.federation import Federation
from fedsim.runtime.options import FedAdamOptions, RunOptions
from fedsim.runtime.training import FederatedRounds, Mode, RoundOutcome, RoundRunner, round_runner
from fedsim.spec.plan import Cut, Numerics
from fedsim.spec.tuning import LoraTuning
from tiny import LANGUAGE_MODEL, RoundSettings, models_of, tiny_federation, tiny_training

FRAMEWORKS = ("fedllm", "kd_fedllm", "split_fedllm")
#: In 64-bit floats. What is sent is rounded to 32 bits, and a value at the edge of a step may go
#: either way.
EXACT = 2e-7
#: In 32-bit ones, in which a server computes above the cut: by plain gradient steps, and by Adam's,
#: which blow up what rounding leaves of gradients that are nearly zero (one step is 0.05).
ROUNDED, ADAPTIVE = 1e-5, 2e-3
LENGTHS = {
    "client-0": (5, 7, 3, 9, 1),
    "client-1": (4, 8),
    "client-2": (6, 2, 2, 7, 8, 3, 4),
}


def federation(
    framework: str,
    *,
    training: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    options: RunOptions | None = None,
    clients: int = 3,
) -> Federation:
    """Clients with unequal numbers of samples, with LoRA dropout; 64-bit floats but for a cut."""
    chosen: dict[str, Any] = {"tuning": LoraTuning(r=2, alpha=8.0, dropout=0.3)}
    spec = tiny_training(**{**chosen, **(training or {})})
    found = tiny_federation(
        framework,
        spec,
        RoundSettings(
            **{
                "batch_size": 3,
                "padding": "none",
                "cut": Cut(1, True) if framework == "split_fedllm" else None,
                **(settings or {}),
            }
        ),
        clients=dict(list(LENGTHS.items())[:clients]),
        public=(3, 4, 5, 9) if framework == "kd_fedllm" else None,
        options=options or RunOptions(learning_rate=0.05),
        draws_masks_by_name=True,
    )
    if not found.is_cut:
        for model in models_of(found):
            model.module.to(torch.float64)
    return found


def outcomes(runner: RoundRunner, num_rounds: int = 2) -> list[RoundOutcome]:
    """Set-up and some rounds; tensors are copied, for they may be views."""
    found = [_kept(runner.run_setup())]
    found += [_kept(runner.run_round(index)) for index in range(1, num_rounds + 1)]
    return found


def _kept(outcome: RoundOutcome) -> RoundOutcome:
    own = {
        client_id: {name: tensor.clone() for name, tensor in tensors.items()}
        for client_id, tensors in outcome.own_parameters.items()
    }
    whole = {name: tensor.clone() for name, tensor in outcome.global_parameters.items()}
    return replace(outcome, own_parameters=own, global_parameters=whole)


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def tolerance(framework: str, **choices: Any) -> float:
    if framework != "split_fedllm":
        return EXACT
    is_adaptive = choices.get("training", {}).get("optimizer", "adam") == "adam"
    return ADAPTIVE if is_adaptive else ROUNDED


def assert_same(framework: str, **choices: Any) -> None:
    """Two rounds both ways."""
    limit = tolerance(framework, **choices)
    reference = outcomes(round_runner("sequential", federation(framework, **choices)))
    cohort = outcomes(round_runner("cohort", federation(framework, **choices)))
    for expected, found in zip(reference, cohort, strict=True):
        counted = {key: replace(row) for key, row in expected.ledger.rows.items()}
        assert counted.keys() == found.ledger.rows.keys()
        check_agreement(expected.ledger, found.ledger)
        assert found.losses.sums.keys() == expected.losses.sums.keys()
        for key, (total, samples) in expected.losses.sums.items():
            assert found.losses.sums[key] == (pytest.approx(total, rel=1e-4), samples)
        assert distance(expected.global_parameters, found.global_parameters) <= limit
        for client_id, tensors in expected.own_parameters.items():
            assert distance(tensors, found.own_parameters[client_id]) <= limit
    moved = distance(cohort[0].global_parameters, cohort[-1].global_parameters)
    assert moved > 1e-3


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("num_clients", [1, 3])
def test_rounds_are_those_of_the_reference(framework: str, num_clients: int) -> None:
    """With LoRA dropout, unequal clients and Adam; bytes, messages, samples and tokens equal."""
    assert_same(framework, clients=num_clients)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_clients_that_drop_out(framework: str) -> None:
    """Whoever is absent computes, sends and receives nothing; averages are over the others."""
    options = RunOptions(learning_rate=0.05, dropout_probability=0.5, seed=2)
    one = federation(framework, options=options)
    present = [one.participants(round_index) for round_index in (1, 2)]
    assert min(len(ids) for ids in present) < 3
    assert_same(framework, options=options)
    runner = round_runner("cohort", one)
    runner.run_setup()
    outcome = runner.run_round(1)
    parties = {key.party for key in outcome.ledger.rows} - {"server"}
    assert parties == set(present[0])


@pytest.mark.parametrize("mode", ["sequential", "cohort"])
@pytest.mark.parametrize("framework", ["fedllm", "split_fedllm"])
def test_an_average_is_over_those_who_were_there(framework: str, mode: Mode) -> None:
    """Weighted by their samples; a server-side copy that served nobody has no say either."""
    options = RunOptions(learning_rate=0.05, dropout_probability=0.5, seed=2)
    found = federation(framework, options=options)
    present = found.participants(1)
    assert len(present) < 3
    outcome = outcomes(round_runner(mode, found), 1)[1]
    weights = {client_id: len(LENGTHS[client_id]) for client_id in present}
    expected = {
        name: sum(
            weights[client_id] / sum(weights.values()) * outcome.own_parameters[client_id][name]
            for client_id in present
        )
        for name in outcome.global_parameters
    }
    gap = distance(outcome.global_parameters, expected)  # type: ignore[arg-type]
    assert gap <= 1e-6


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_optimizer_that_is_kept(framework: str) -> None:
    """Its state is in the trainers between rounds, as in the reference."""
    assert_same(framework, options=RunOptions(learning_rate=0.05, optimizer_state="keep"))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_accumulation_and_epochs(framework: str) -> None:
    """Groups of batches, over two passes."""
    settings = {"accumulation_steps": 2, "local_epochs": 2, "distillation_epochs": 2}
    assert_same(framework, settings=settings)


@pytest.mark.parametrize("framework", ["fedllm", "split_fedllm"])
@pytest.mark.parametrize(
    "options",
    [
        RunOptions(learning_rate=0.05, proximal_mu=0.5),
        RunOptions(learning_rate=0.05, fed_adam=FedAdamOptions(0.05)),
    ],
)
def test_other_optimizers_of_the_server(framework: str, options: RunOptions) -> None:
    """FedProx pulls to the round's start; FedAdam keeps moments of averages."""
    assert_same(framework, options=options)


@pytest.mark.parametrize("framework", ["fedllm", "kd_fedllm"])
def test_a_private_head(framework: str) -> None:
    """It stays with its client."""
    assert_same(framework, settings={"shares_head": False})


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_clients_in_several_passes(framework: str) -> None:
    """How many go through the network at once changes no result and no row."""
    whole = outcomes(round_runner("cohort", federation(framework)))
    found = federation(framework)
    executor = found.executor(counts_flop=False, kind=CohortExecutor)
    assert isinstance(executor, CohortExecutor)
    few = CohortExecutor(
        executor.server, executor.clients, executor.channel, False, seed=executor.seed,
        tokens_at_once=8,
    )  # fmt: skip
    parts = outcomes(FederatedRounds(found, few))
    for one, other in zip(whole, parts, strict=True):
        check_agreement(one.ledger, other.ledger)
        gap = distance(one.global_parameters, other.global_parameters)
        assert gap <= tolerance(framework)


@pytest.mark.parametrize("cut", [Cut(1), Cut(2), Cut(2, True)])
def test_every_cut(cut: Cut) -> None:
    """Between blocks and within one."""
    assert_same("split_fedllm", settings={"cut": cut}, training={"optimizer": "sgd"})


def test_messages_in_half_precision() -> None:
    """What is computed behind the cut is what the message would have brought."""
    numerics = Numerics(payload_dtype="bfloat16")
    for framework in FRAMEWORKS:
        training = {"numerics": numerics, "optimizer": "sgd"}
        sequential = outcomes(round_runner("sequential", federation(framework, training=training)))
        cohort = outcomes(round_runner("cohort", federation(framework, training=training)))
        check_agreement(sequential[1].ledger, cohort[1].ledger)
        # A value at the edge of a step of 2^-8 may be rounded either way.
        gap = distance(sequential[1].global_parameters, cohort[1].global_parameters)
        assert gap <= 2**-8


def test_a_client_below_the_lowest_adapter() -> None:
    """Nothing comes back over the cut."""
    tuning = LoraTuning(r=2, alpha=8.0, num_top_layers=1)
    training = {"tuning": tuning, "optimizer": "sgd"}
    assert_same("split_fedllm", training=training, settings={"cut": Cut(1)})


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_language_model(framework: str) -> None:
    """Next tokens, and KD's rows of a whole vocabulary."""
    training = {"head": LANGUAGE_MODEL, "optimizer": "sgd"}
    assert_same(framework, training=training, options=RunOptions(learning_rate=0.5))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_may_change_its_mode(framework: str) -> None:
    """A state of one mode goes on in the other: both keep everything in the same place."""
    options = RunOptions(learning_rate=0.05, optimizer_state="keep")
    whole = round_runner("sequential", federation(framework, options=options))
    outcomes(whole, 1)
    state = {name: tensor.clone() for name, tensor in whole.tensors().items()}
    whole.run_round(2)
    resumed = round_runner("cohort", federation(framework, options=options))
    resumed.load(state)
    resumed.run_round(2)
    expected, found = whole.tensors(), resumed.tensors()
    assert expected.keys() == found.keys()
    assert distance(expected, found) <= tolerance(framework)


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"settings": {"padding": "longest"}}, "padding = 'longest'"),
        ({"settings": {"server_variant": "v2"}}, "server_variant = 'v2'"),
        ({"training": {"model_dropout": 0.1}}, "model_dropout = 0.1"),
    ],
)
def test_what_a_cohort_cannot_do(choices: dict[str, Any], expected: str) -> None:
    """Is refused ahead of the first round, with the mode that can."""
    with pytest.raises(ScenarioError, match=expected) as found:
        round_runner("cohort", federation("split_fedllm", **choices))
    assert "sequential mode" in str(found.value)


def test_counting_flop_is_refused() -> None:
    """A pass computes less than its steps count."""
    with pytest.raises(ScenarioError, match="counts FLOP"):
        round_runner("cohort", federation("fedllm"), counts_flop=True)


def test_masks_that_are_not_drawn_by_name_are_seen() -> None:
    """The equality above is no accident: torch's own dropout ends elsewhere."""
    reference = federation("fedllm")
    for stream in reference.masks:
        stream.client_id += "-of-another-name"
    one = outcomes(round_runner("sequential", reference), 1)
    other = outcomes(round_runner("cohort", federation("fedllm")), 1)
    assert distance(one[1].global_parameters, other[1].global_parameters) > 1e-4


# --- identities of the frameworks, on the fast path ----------------------------------------------

PLAIN = {"tuning": LoraTuning(r=2, alpha=8.0)}


def one_round(found: Federation) -> RoundOutcome:
    return outcomes(round_runner("cohort", found), 1)[1]


def test_the_average_of_one_client_is_its_own_work() -> None:
    """F1, bit by bit: it was sent in 32 bits."""
    outcome = one_round(federation("fedllm", clients=1))
    sent = {n: t.float().double() for n, t in outcome.own_parameters["client-0"].items()}
    assert distance(outcome.global_parameters, sent) == 0


@pytest.mark.parametrize("framework", ["fedllm", "split_fedllm"])
def test_the_average_of_equal_clients_is_any_one_s(framework: str) -> None:
    """F2: the same texts in one batch, without dropout, whoever is computed beside whom."""
    found = federation(framework, training=PLAIN, settings={"batch_size": 20})
    texts = found.data.clients["client-2"]
    found.data.clients.update(dict.fromkeys(found.data.clients, texts))
    plans = found.round_plans
    plans.base = dict.fromkeys(plans.base, plans.base["client-2"])
    for client in found.clients.values():
        client.private = replace(client.private, data=texts)
    outcome = one_round(found)
    # Each visits its texts in an order of its own, which a mean over all of them rounds away.
    for tensors in outcome.own_parameters.values():
        assert distance(outcome.global_parameters, tensors) <= tolerance(framework)


def test_one_full_gradient_step_each_is_a_step_on_all_texts() -> None:
    """F3: averages weighted by samples, one batch a client, plain gradient descent."""
    training = {**PLAIN, "optimizer": "sgd"}
    settings = {"batch_size": 20}
    apart = one_round(federation("fedllm", training=training, settings=settings))
    joint = tiny_federation(
        "fedllm",
        tiny_training(**training),
        RoundSettings(batch_size=20, padding="none"),
        clients={"all": _joined(federation("fedllm", training=training))},
        options=RunOptions(learning_rate=0.05),
        draws_masks_by_name=True,
    )
    for model in models_of(joint):
        model.module.to(torch.float64)
    whole = one_round(joint)
    assert distance(apart.global_parameters, whole.global_parameters) <= 1e-6


def _joined(found: Federation) -> EncodedDataset:
    rows = list(found.data.clients.values())
    first = rows[0]
    return replace(
        first,
        token_ids=tuple(text for own in rows for text in own.token_ids),
        labels=np.concatenate([own.labels for own in rows]),
    )


def test_the_order_of_clients_changes_nothing() -> None:
    """F4, bit by bit: clients stand in the order of their names."""
    one = federation("fedllm")
    other = federation("fedllm")
    turned = dict(reversed(list(other.clients.items())))
    other.clients.clear()
    other.clients.update(turned)
    assert distance(one_round(one).global_parameters, one_round(other).global_parameters) == 0


def test_without_public_texts_everybody_trains_alone() -> None:
    """K3: the server's model stands still, and each client has FedLLM's own local training."""
    found = federation("kd_fedllm", training=PLAIN)
    empty = replace(found.data.public, token_ids=(), labels=np.empty(0, np.int64))  # type: ignore[type-var]
    alone = tiny_federation(
        "kd_fedllm",
        tiny_training(**PLAIN),
        RoundSettings(batch_size=3, padding="none"),
        clients=LENGTHS,
        public=empty,
        options=RunOptions(learning_rate=0.05),
        draws_masks_by_name=True,
    )
    for model in models_of(alone):
        model.module.to(torch.float64)
    runner = round_runner("cohort", alone)
    before = _kept(runner.run_setup()).global_parameters
    outcome = _kept(runner.run_round(1))
    assert distance(before, outcome.global_parameters) == 0
    local = one_round(federation("fedllm", training=PLAIN))
    for client_id, tensors in outcome.own_parameters.items():
        assert distance(tensors, local.own_parameters[client_id]) <= EXACT


@pytest.mark.parametrize("cut", [Cut(1), Cut(2), Cut(1, True)])
def test_copies_for_each_client_are_fedllm(cut: Cut) -> None:
    """S2: Split-FedLLM (V1) ends a round where FedLLM does, with LoRA dropout too."""
    split = federation("split_fedllm", settings={"cut": cut})
    for model in models_of(split):
        model.module.to(torch.float64)
    whole = one_round(federation("fedllm"))
    assert distance(one_round(split).global_parameters, whole.global_parameters) <= EXACT


def test_dropout_by_another_name_breaks_the_identity() -> None:
    """S2, broken: a server whose copies drop something else ends elsewhere."""
    split = federation("split_fedllm", settings={"cut": Cut(1)})
    for model in models_of(split):
        model.module.to(torch.float64)
    for stream in split.masks:
        stream.client_id += "-of-another-name"
    sequential = outcomes(round_runner("sequential", federation("fedllm")), 1)[1]
    runner = round_runner("cohort", split)
    for stream in runner.executor.cohort._streams:  # type: ignore[attr-defined]
        stream.client_id += "-of-another-name"
    found = outcomes(runner, 1)[1]
    assert distance(found.global_parameters, sequential.global_parameters) > 1e-4
