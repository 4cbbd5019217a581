"""What KD-FedLLM must be by algebra, on real tensors through the real parties."""

from itertools import pairwise

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from fedsim.protocol.operation import Content
from fedsim.runtime.objective import distillation_loss
from fedsim.runtime.options import RunOptions
from identities import (
    LENGTHS,
    assert_moved,
    distillation_gradient,
    kd_federation,
    largest_difference,
    listening,
    local_only_difference,
    parameters,
    repeated_logits_difference,
    run,
    teacher_difference,
)
from tiny import CPU, LANGUAGE_MODEL, tiny_training


def test_identical_clients_teach_what_each_of_them_says() -> None:
    """K1: the refined logits are each client's own, bit by bit."""
    assert teacher_difference() == 0


@pytest.mark.parametrize("loss", ["kl", "mae"])
def test_a_student_at_its_teacher_has_nothing_to_learn(loss: str) -> None:
    """K2: the gradient is zero but for rounding, dropout off."""
    assert distillation_gradient(loss=loss) <= 2e-7


def test_dropout_gives_even_the_teacher_something_to_learn() -> None:
    """K2: with dropout the student is another function in every step."""
    assert distillation_gradient(dropout=0.1) > 1e-3


def test_without_public_data_clients_train_alone() -> None:
    """K3: a public set of size 0 leaves local training, bit by bit, over two rounds."""
    assert local_only_difference() == 0


def test_without_public_data_the_server_learns_nothing() -> None:
    """K3: the global model stays where it began."""
    federation = kd_federation(num_public=0)
    before = parameters(federation.server.trainer.model)
    run(federation)

    assert largest_difference(before, parameters(federation.server.trainer.model)) == 0


def test_logits_are_made_in_evaluation() -> None:
    """K4: the same twice, bit by bit, though the model has dropout and has just been trained."""
    assert repeated_logits_difference() == 0


def centered(logits: Tensor) -> Tensor:
    return logits - logits.mean(-1, keepdim=True)


def relative_difference_to_the_limit(temperature: float, factor: float = 1.0) -> float:
    """``factor`` T^2 KL's gradient against (v_s - v_t) / (C B), v the logits less their mean."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 5, generator=generator) for _ in range(2))
    student.requires_grad_(True)
    loss = distillation_loss(student, teacher, 4, RunOptions(distillation_temperature=temperature))
    torch.autograd.backward(factor * loss)
    limit = (centered(student) - centered(teacher)).detach() / (5 * 4)
    assert student.grad is not None
    return float((student.grad - limit).abs().max() / limit.abs().max())


def test_at_high_temperature_distillation_matches_logits() -> None:
    """K5: the gradient tends to that of half the squared error of centered logits, as 1 / T."""
    found = [relative_difference_to_the_limit(temperature) for temperature in (25, 50, 100)]

    assert found[2] < 0.02
    for one, other in pairwise(found):
        assert other == pytest.approx(one / 2, rel=0.1)


def test_without_the_square_of_the_temperature_the_gradient_fades() -> None:
    """K5, broken: KL alone is a ten-thousandth of the limit at T = 100."""
    assert relative_difference_to_the_limit(100, factor=1 / 100**2) > 0.99


def test_the_limit_is_half_the_mean_squared_error() -> None:
    """K5: (v_s - v_t) / (C B) is its gradient."""
    student, teacher = torch.randn(4, 5, requires_grad=True), torch.randn(4, 5)
    loss = torch.nn.functional.mse_loss(centered(student), centered(teacher)) / 2
    torch.autograd.backward(loss)

    assert student.grad is not None
    torch.testing.assert_close(student.grad, (centered(student) - centered(teacher)).detach() / 20)


def test_the_mean_absolute_difference_by_hand() -> None:
    """|1 - 0| + |2 - 4| over 1 row of 2 logits is 1.5."""
    options = RunOptions(distillation_loss="mae")
    student, teacher = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])

    assert float(distillation_loss(student, teacher, 1, options)) == 1.5


@pytest.mark.parametrize("head", ["classification", "language_model"])
def test_knowledge_goes_up_is_averaged_is_learned_and_comes_back(head: str) -> None:
    """b3 to b7: the teacher is the clients' plain mean; they get the global model's own logits."""
    training = tiny_training() if head == "classification" else tiny_training(head=LANGUAGE_MODEL)
    federation = kd_federation(training)
    server = federation.server
    before = parameters(server.trainer.model)
    with listening(federation) as heard:
        run(federation)
    own = heard.tensors(Content.LOGITS, "logits")

    teacher = server.knowledge.teacher
    assert teacher is not None
    # Samples decide FedLLM's average; here each client has one voice.
    assert len(own) == len(LENGTHS)
    torch.testing.assert_close(teacher, torch.stack(own).double().mean(0).float())
    assert_moved(before, parameters(server.trainer.model))
    for client in federation.clients.values():
        assert client.knowledge.teacher is not None
        assert torch.equal(client.knowledge.teacher, server.knowledge.own)


def test_the_global_model_s_logits_are_those_after_its_distillation() -> None:
    """b6 follows b5: what clients learn from is the server's model as it is at the round's end."""
    federation = kd_federation()
    run(federation)
    server = federation.server
    sent = server.knowledge.own
    server.knowledge.infer(server.trainer, 3)
    server.knowledge.infer(server.trainer, 1)

    assert torch.equal(server.knowledge.own, sent)


def test_clients_distill_on_the_texts_that_they_were_sent() -> None:
    """Token ids and lengths of the public set arrive unchanged, and no labels with them."""
    federation = kd_federation()
    run(federation)
    assert federation.server.public is not None
    sent = federation.server.public.data

    for client in federation.clients.values():
        assert client.public is not None
        received = client.public.data
        assert received is not sent
        assert len(received.labels) == 0
        assert [ids.tolist() for ids in received.token_ids] == [
            ids.tolist() for ids in sent.token_ids
        ]


def test_a_client_s_model_never_leaves_it() -> None:
    """After the set-up only logits travel, both ways."""
    federation = kd_federation()
    with listening(federation) as heard:
        run(federation)
    messages = (*heard.requests, *heard.replies)

    assert {m.content for m in messages if m.label != "setup"} == {Content.LOGITS}
    assert not any(m.body for m in heard.requests if m.label == "setup")


def test_bytes_of_a_round_are_those_of_the_logits() -> None:
    """4 public texts x 5 classes x 4 B = 80 B each way, whatever the model's size."""
    federation = kd_federation()
    executor = run(federation)

    for name in LENGTHS:
        total = executor.ledger.total(executor.ledger.select(round_index=1, party=name))
        assert total.uplink_payload_bytes == total.downlink_payload_bytes == 80
    assert executor.server.trainer.model.device == CPU
