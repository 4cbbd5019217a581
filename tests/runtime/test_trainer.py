"""One party's training steps: accumulation, optimizer state, grouping, evaluation."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from fedsim.protocol.operation import Part
from fedsim.runtime.options import RunOptions
from fedsim.runtime.text_batch import TextBatch
from fedsim.runtime.trainer import Trainer
from fedsim.spec.plan import Numerics, TrainingSpec
from fedsim.spec.tuning import LoraTuning
from shapes import NUM_LAYERS
from tiny import LANGUAGE_MODEL, tiny_batch, tiny_model, tiny_training

WHOLE = Part.whole(NUM_LAYERS)
RATE = RunOptions(learning_rate=0.05)


def trainer(
    training: TrainingSpec | None = None,
    options: RunOptions = RATE,
    **changes: Any,
) -> Trainer:
    """A trainer of a whole model; the same parameters every time."""
    spec = training or tiny_training(**changes)
    return Trainer(tiny_model(spec), WHOLE, options)


def parameters(found: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in found.adapters(with_head=True).items()}


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor], atol: float = 1e-6) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=atol, msg=name)


def part_of(batch: TextBatch, rows: slice) -> TextBatch:
    """Some samples of a batch."""
    labels = None if batch.labels is None else batch.labels[rows]
    return TextBatch(batch.token_ids[rows], batch.last_index[rows], labels, batch.is_padded)


# --- accumulation --------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["max_tokens", "none"])
@pytest.mark.parametrize("num_batches", [3, 2])
def test_accumulating_equal_batches_is_one_large_batch(padding: Any, num_batches: int) -> None:
    """Some batches of two with SGD end where one large batch ends, however many they are."""
    batch = tiny_batch([3, 9, 1, 4, 4, 7][: 2 * num_batches], padding)
    one = trainer(optimizer="sgd")
    one.train(batch, is_update=True)

    other = trainer(optimizer="sgd")
    for index in range(num_batches):
        rows = slice(2 * index, 2 * index + 2)
        other.train(part_of(batch, rows), is_update=index == num_batches - 1)

    assert_close(parameters(one), parameters(other))
    assert one.last_loss > 0


def test_nothing_is_updated_before_the_last_batch_of_a_group() -> None:
    """Gradients wait; parameters do not move."""
    found = trainer()
    before = parameters(found)

    found.train(tiny_batch([3, 5]), is_update=False)

    assert_close(parameters(found), before, atol=0)
    found.train(tiny_batch([3, 5]), is_update=True)
    after = parameters(found)
    assert all(not torch.equal(after[name], before[name]) for name in before)


def test_gradients_end_with_their_group() -> None:
    """After an update the next group begins at zero."""
    found = trainer()
    found.train(tiny_batch([3, 5]), is_update=True)

    assert all(p.grad is None for p in found.model.module.parameters())


# --- optimizer state -----------------------------------------------------------------------------


def adam_after(*, resets: bool) -> dict[str, Tensor]:
    """Parameters after two steps of Adam, its state forgotten in between or kept."""
    found = trainer()
    found.train(tiny_batch([3, 5], seed=1), is_update=True)
    if resets:
        found.reset_optimizer()
    found.train(tiny_batch([9, 2], seed=2), is_update=True)
    return parameters(found)


def test_a_kept_state_is_torch_s_own_adam() -> None:
    """Two steps end where torch.optim.Adam ends when it is given the same gradients."""
    reference = tiny_model(tiny_training())
    optimizer = torch.optim.Adam(reference.trained(WHOLE).values(), lr=RATE.learning_rate)
    helper = Trainer(reference, WHOLE, RATE)
    for lengths, seed in (([3, 5], 1), ([9, 2], 2)):
        helper.train(tiny_batch(lengths, seed=seed), is_update=False)
        optimizer.step()
        optimizer.zero_grad()

    assert_close(adam_after(resets=False), parameters(helper), atol=0)


def test_a_reset_forgets() -> None:
    """The next step of Adam is the first: every moved value moves by the learning rate."""
    found = trainer()
    found.train(tiny_batch([3, 5], seed=1), is_update=True)
    before = parameters(found)
    found.reset_optimizer()
    found.train(tiny_batch([9, 2], seed=2), is_update=True)

    head = "base_model.model.score.weight"
    steps = (parameters(found)[head] - before[head]).abs()
    torch.testing.assert_close(steps, torch.full_like(steps, RATE.learning_rate), rtol=2e-3, atol=0)


def test_keeping_and_resetting_differ() -> None:
    """Otherwise the option would say nothing."""
    kept, reset = adam_after(resets=False), adam_after(resets=True)

    assert all(not torch.equal(kept[name], reset[name]) for name in kept)


def test_sgd_has_no_state_to_forget() -> None:
    """A step is the learning rate times the gradient, whatever came before."""
    found = trainer(optimizer="sgd")
    batch = tiny_batch([3, 5])
    found.train(batch, is_update=False)
    gradients = {n: p.grad for n, p in found.model.trained(WHOLE).items()}
    before = parameters(found)
    other = trainer(optimizer="sgd")
    other.train(batch, is_update=True)

    for name, gradient in gradients.items():
        assert gradient is not None
        expected = before[name] - RATE.learning_rate * gradient
        torch.testing.assert_close(parameters(other)[name], expected)


# --- padding and groups --------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["classification", "language_model"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_padding_changes_no_gradient(family: str, head: str) -> None:
    """Padded to the limit, to the longest, or each text at its own length: one training step."""
    is_labeled = head == "classification"
    found = []
    for padding in ("max_tokens", "longest", "none"):
        changes = {} if is_labeled else {"head": LANGUAGE_MODEL}
        one = trainer(tiny_training(family, optimizer="sgd", **changes))
        batch = tiny_batch([4, 7, 1, 4], padding, is_labeled=is_labeled)  # type: ignore[arg-type]
        one.train(batch, is_update=True)
        found.append((parameters(one), one.last_loss))

    for other, loss in found[1:]:
        assert_close(found[0][0], other)
        assert loss == pytest.approx(found[0][1], abs=1e-6)


@pytest.mark.parametrize("padding", ["max_tokens", "longest", "none"])
def test_logits_come_in_the_order_of_the_samples(padding: Any) -> None:
    """Grouping by length is nobody else's business."""
    lengths = [4, 7, 1, 4]
    found = trainer()
    together = found.infer(tiny_batch(lengths, padding), all_positions=False)
    batch = tiny_batch(lengths, padding)
    for row in range(len(lengths)):
        alone = found.infer(part_of(batch, slice(row, row + 1)), all_positions=False)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-6)


def test_a_language_model_s_rows_are_its_real_tokens_one_text_after_the_other() -> None:
    """Padded or not, the first text's rows come first, then the second's."""
    spec = tiny_training(head=LANGUAGE_MODEL)
    lengths = [4, 7, 1]
    found = trainer(spec)
    padded = tiny_batch(lengths, is_labeled=False)
    everything = found.infer(padded, all_positions=True)
    rows = torch.cat([everything[i, :length] for i, length in enumerate(lengths)])

    for padding in ("longest", "none"):
        batch = tiny_batch(lengths, padding, is_labeled=False)  # type: ignore[arg-type]
        torch.testing.assert_close(found.infer(batch, all_positions=False), rows, rtol=0, atol=1e-6)


# --- training and evaluation ---------------------------------------------------------------------


def test_training_learns() -> None:
    """Twenty steps on four texts bring the loss down."""
    found = trainer()
    batch = tiny_batch([3, 9, 1, 4])
    found.train(batch, is_update=True)
    first = found.last_loss
    for _ in range(20):
        found.train(batch, is_update=True)

    assert found.last_loss < first / 2


def test_evaluation_draws_no_noise_and_keeps_no_graph() -> None:
    """Logits of a model with dropout are the same twice, and need no gradient."""
    spec = tiny_training(tuning=LoraTuning(r=2, dropout=0.5), model_dropout=0.5)
    found, batch = trainer(spec), tiny_batch([3, 9])

    one, other = (found.infer(batch, all_positions=False) for _ in range(2))

    assert torch.equal(one, other)
    assert not one.requires_grad


def test_training_draws_noise() -> None:
    """Dropout is on in training whatever was evaluated before."""
    spec = tiny_training(tuning=LoraTuning(r=2, dropout=0.5), model_dropout=0.5)
    found, batch = trainer(spec), tiny_batch([3, 9])
    losses = []
    for _ in range(3):
        found.infer(batch, all_positions=False)
        found.train(batch, is_update=False)
        losses.append(found.last_loss)

    assert len(set(losses)) == 3


def test_only_trained_parameters_move() -> None:
    """The base is frozen: bit by bit what it was."""
    found = trainer()
    frozen = {name: p.clone() for name, p in found.model.frozen(WHOLE).items()}
    for _ in range(3):
        found.train(tiny_batch([3, 9]), is_update=True)

    for name, parameter in found.model.frozen(WHOLE).items():
        assert torch.equal(parameter, frozen[name]), name


def test_a_part_without_trained_parameters_keeps_no_graph() -> None:
    """A client below the lowest adapter runs forward and remembers nothing."""
    spec = tiny_training(tuning=LoraTuning(r=2, num_top_layers=1))
    found = Trainer(tiny_model(spec), Part.below(2), RATE)

    forward = found.forward_to_cut(tiny_batch([3, 9]))

    assert not any(output.requires_grad for output in forward.outputs)


def test_received_parameters_take_the_place_of_one_s_own() -> None:
    """Sent in half precision, they are kept in the receiver's own format."""
    sender, receiver = trainer(), trainer()
    sender.train(tiny_batch([3, 9]), is_update=True)
    sent = {name: t.to(torch.float16) for name, t in sender.adapters(with_head=True).items()}

    receiver.load(sent)

    for name, tensor in receiver.adapters(with_head=True).items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, sent[name].float()), name


def test_a_private_head_is_left_out() -> None:
    """Everything else is still sent."""
    found = trainer()
    every, shared = found.adapters(with_head=True), found.adapters(with_head=False)

    assert set(every) - set(shared) == {"base_model.model.score.weight"}


def test_autocast_trains_float32_parameters_in_half_precision() -> None:
    """Products run in bfloat16; what is trained stays in float32 and is near the exact step."""
    numerics = Numerics(compute_dtype="bfloat16")
    exact, rounded = trainer(optimizer="sgd"), trainer(numerics=numerics, optimizer="sgd")
    batch = tiny_batch([3, 9])
    for found in (exact, rounded):
        found.train(batch, is_update=True)

    one, other = parameters(exact), parameters(rounded)
    assert {tensor.dtype for tensor in other.values()} == {torch.float32}
    assert_close(one, other, atol=5e-3)
    assert not all(torch.equal(one[name], other[name]) for name in one)


# --- distillation --------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["kl", "mae"])
def test_distillation_brings_the_student_to_the_teacher(loss: Any) -> None:
    """Its loss on the teacher's logits falls."""
    found = trainer(options=RunOptions(learning_rate=0.01, distillation_loss=loss))
    batch = tiny_batch([3, 9, 1])
    teacher = 3 * torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    found.distill(batch, teacher, is_update=True)
    first = found.last_loss
    for _ in range(30):
        found.distill(batch, teacher, is_update=True)

    assert found.last_loss < first / 2


@pytest.mark.parametrize("padding", ["max_tokens", "longest", "none"])
@pytest.mark.parametrize("head", ["classification", "language_model"])
def test_a_teacher_s_rows_meet_the_student_s(head: str, padding: Any) -> None:
    """Distilling towards one's own logits costs nothing, however they were packed."""
    is_labeled = head == "classification"
    spec = tiny_training() if is_labeled else tiny_training(head=LANGUAGE_MODEL)
    found = trainer(spec)
    batch = tiny_batch([4, 7, 1], padding, is_labeled=is_labeled)
    teacher = found.infer(batch, all_positions=padding == "max_tokens")

    found.distill(batch, teacher, is_update=False)

    assert found.last_loss == pytest.approx(0, abs=1e-6)
    # Another order of rows is not for nothing.
    found.distill(batch, teacher.flip(0) if is_labeled else teacher.roll(1, -1), is_update=False)
    assert found.last_loss > 1e-3
