"""Server optimizers and the proximal term: each against its formula, and the bits they leave."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from fedsim.errors import ScenarioError, TrainingError
from fedsim.protocol.operation import Part
from fedsim.runtime.federation import Federation
from fedsim.runtime.losses import LossBook
from fedsim.runtime.noise import begin_noise
from fedsim.runtime.options import FedAdamOptions, RunOptions
from fedsim.runtime.server_optimizer import FedAdam
from fedsim.runtime.trainer import Trainer
from fedsim.spec.plan import Cut
from tiny import RoundSettings, tiny_batch, tiny_federation, tiny_model, tiny_training

CLIENTS = {"client-0": (5, 7, 3, 6), "client-1": (4, 4, 8)}
ADAPTIVE = FedAdamOptions(learning_rate=0.5, beta1=0.9, beta2=0.75, tau=0.25)


def run(framework: str, options: RunOptions, rounds: int = 2, **settings: Any) -> Federation:
    """A tiny federation after some rounds."""
    cut = Cut(1) if framework == "split_fedllm" else None
    federation = tiny_federation(
        framework,
        tiny_training(),
        RoundSettings(batch_size=2, padding="none", cut=cut, **settings),
        clients=CLIENTS,
        options=options,
    )
    executor = federation.executor(counts_flop=False)
    federation.run_setup(executor)
    for round_index in range(1, rounds + 1):
        federation.run_round(executor, round_index)
    return federation


def globals_of(federation: Federation) -> dict[str, torch.Tensor]:
    """The global model's trained parameters."""
    return federation.server.trainer.adapters(with_head=True)


def is_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether all tensors are equal, bit by bit."""
    assert one.keys() == other.keys()
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("framework", ["fedllm", "split_fedllm"])
def test_fedprox_with_mu_of_zero_is_fedavg(framework: str) -> None:
    """Bit by bit; and a positive mu changes the result."""
    average = globals_of(run(framework, RunOptions()))
    assert is_equal(average, globals_of(run(framework, RunOptions(proximal_mu=0.0))))
    assert not is_equal(average, globals_of(run(framework, RunOptions(proximal_mu=0.1))))


def test_the_proximal_gradient_is_autograds() -> None:
    """The step equals one on the loss with ``mu / 2 |w - w0|^2`` written out."""
    training = tiny_training(optimizer="sgd")
    batches = [tiny_batch((4, 6, 3), seed=seed) for seed in range(2)]
    mu, rate = 3.0, 0.05
    whole = Part.whole(training.model.num_layers)
    ours = Trainer(tiny_model(training), whole, RunOptions(learning_rate=rate, proximal_mu=mu))
    ours.set_anchor()
    for batch in batches:
        ours.train(batch, is_update=True)
    plain = Trainer(tiny_model(training), whole, RunOptions(learning_rate=rate))
    parameters = plain.model.trained(whole)
    start = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    for batch in batches:
        distance = sum(((p - start[name]) ** 2).sum() for name, p in parameters.items())
        (mu / 2 * distance).backward()
        plain.train(batch, is_update=True)
    for name, parameter in ours.model.trained(whole).items():
        torch.testing.assert_close(parameter, parameters[name], rtol=1e-5, atol=1e-6)


def test_a_large_mu_keeps_clients_where_the_round_began() -> None:
    """The pull wins over the loss as mu grows, as long as the step is stable."""
    begun = globals_of(run("fedllm", RunOptions(), rounds=0))

    def moved(mu: float) -> float:
        training = tiny_training(optimizer="sgd")
        federation = tiny_federation(
            "fedllm",
            training,
            RoundSettings(batch_size=1, local_epochs=3),
            clients=CLIENTS,
            options=RunOptions(learning_rate=0.01, proximal_mu=mu),
        )
        executor = federation.executor(counts_flop=False)
        federation.run_setup(executor)
        federation.run_round(executor, 1)
        found = globals_of(federation)
        return math.sqrt(sum(float(((found[n] - begun[n]) ** 2).sum()) for n in begun))

    assert moved(50.0) < moved(10.0) < moved(0.0)


def test_fedadams_first_step_by_hand() -> None:
    """Global 1, average 3, so the change is 2.

    m = (1 - 0.9) * 2 = 0.2; v = 0.75 * 0.25^2 + 0.25 * 2^2 = 1.046875; its root 1.023169 (6 dp).
    Next: 1 + 0.5 * 0.2 / (1.023169 + 0.25) = 1.078544 (6 dp).
    """
    found = FedAdam(ADAPTIVE).step("client", {"w": torch.ones(1)}, {"w": torch.full((1,), 3.0)})
    assert float(found["w"]) == pytest.approx(1.078544, abs=1e-6)


def test_fedadams_second_step_by_hand() -> None:
    """Then an average 1 below: m = 0.9 * 0.2 - 0.1 = 0.08; v = 0.75 * 1.046875 + 0.25."""
    optimizer = FedAdam(ADAPTIVE)
    first = optimizer.step("client", {"w": torch.ones(1)}, {"w": torch.full((1,), 3.0)})
    second = optimizer.step("client", first, {"w": first["w"] - 1})
    step = 0.5 * 0.08 / (math.sqrt(0.75 * 1.046875 + 0.25) + 0.25)
    assert float(second["w"] - first["w"]) == pytest.approx(step, abs=1e-6)


def test_equal_parameters_do_not_move_under_fedadam() -> None:
    """No change, no step: the first moment stays zero."""
    tensor = torch.tensor([0.1, -7.0])
    assert torch.equal(FedAdam(ADAPTIVE).step("client", {"w": tensor}, {"w": tensor})["w"], tensor)


def test_groups_of_fedadam_have_moments_of_their_own() -> None:
    """One name in two groups is two parameters."""
    optimizer = FedAdam(ADAPTIVE)
    current, average = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
    one = optimizer.step("client", current, average)
    other = optimizer.step("server", current, average)
    assert torch.equal(one["w"], other["w"])
    assert sorted(optimizer.tensors()) == ["m/client/w", "m/server/w", "v/client/w", "v/server/w"]


def test_split_v1_is_fedllm_under_fedadam_and_fedprox_too() -> None:
    """Cutting the model changes no bit that cut and uncut training share, whatever averages it."""
    options = RunOptions(proximal_mu=0.3, fed_adam=ADAPTIVE)
    whole, cut = (globals_of(run(name, options)) for name in ("fedllm", "split_fedllm"))
    assert is_equal(whole, cut)


@pytest.mark.parametrize("framework", ["fedllm", "split_fedllm"])
def test_one_client_is_stepped_like_many(framework: str) -> None:
    """FedAdam acts on both sides of a cut, with a single client as well."""
    cut = Cut(1) if framework == "split_fedllm" else None
    results = []
    for adaptive in (None, ADAPTIVE):
        federation = tiny_federation(
            framework,
            tiny_training(),
            RoundSettings(batch_size=2, cut=cut),
            clients={"client-0": (5, 7)},
            options=RunOptions(fed_adam=adaptive),
        )
        executor = federation.executor(counts_flop=False)
        federation.run_setup(executor)
        federation.run_round(executor, 1)
        results.append(globals_of(federation))
    changed = [name for name in results[0] if not torch.equal(results[0][name], results[1][name])]
    assert changed == list(results[0])


def test_dropout_depends_on_names_and_not_on_what_was_drawn_before() -> None:
    """The same turn gives the same numbers in whatever state the stream was."""
    begin_noise(1, 2, "client-0", 0)
    first = torch.rand(3)
    torch.rand(17)
    begin_noise(1, 2, "client-0", 0)
    assert torch.equal(torch.rand(3), first)
    begin_noise(1, 2, "client-0", 1)
    assert not torch.equal(torch.rand(3), first)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run(loss: float) -> None:
    """The message names round, party, step and batch."""
    book = LossBook()
    book.note(3, "client-0", "a2", 1.0, 4)
    with pytest.raises(TrainingError, match=r"round 3, client-0, step a2, batch 2: the loss is"):
        book.note(3, "client-0", "a2", loss, 4)


def test_mean_losses_are_weighted_by_samples() -> None:
    """(1 * 3 + 2 * 1) / 4 = 1.25 over all; 2 for the second client alone."""
    book = LossBook()
    book.note(1, "client-0", "a2", 1.0, 3)
    book.note(1, "client-1", "a2", 2.0, 1)
    assert book.mean(["a2"]) == 1.25
    assert book.mean(["a2"], "client-1") == 2.0
    assert book.mean(["b8"]) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": 0.1, "beta1": 1.0}, "beta1"),
        ({"learning_rate": 0.1, "tau": 0.0}, "tau"),
    ],
)
def test_constants_out_of_range_are_refused(values: dict[str, float], message: str) -> None:
    """Each names itself and what is allowed."""
    with pytest.raises(ScenarioError, match=message):
        FedAdamOptions(**values)
    with pytest.raises(ScenarioError, match="proximal_mu"):
        RunOptions(proximal_mu=-0.1)
