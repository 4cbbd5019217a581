"""Inference, distillation and evaluation of a cohort are those of each client alone."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from cohorts import Pair, batches_of_step, pair
from fedsim.errors import ProtocolError
from fedsim.runtime.options import RunOptions
from fedsim.spec.tuning import LoraTuning
from shapes import NUM_CLASSES, VOCAB_SIZE
from tiny import LANGUAGE_MODEL, tiny_batch, tiny_training

EXACT = 1e-8
ROUNDED = 1e-5
LENGTHS = [4, 9, 1, 7]


def public(is_labeled: bool = False) -> Any:
    return tiny_batch(LENGTHS, "none", seed=7, is_labeled=is_labeled)


def teacher(num_rows: int, seed: int, width: int = NUM_CLASSES) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(num_rows, width, generator=generator)


def assert_logits(found: Pair, batches: Any) -> None:
    logits = found.cohort.infer(batches)
    for slot, trainer in enumerate(found.alone):
        batch = batches[slot] if isinstance(batches, list) else batches
        if batch is None:
            assert logits[slot] is None
            continue
        expected = trainer.infer(batch, all_positions=False)
        torch.testing.assert_close(logits[slot], expected, rtol=0, atol=ROUNDED)


# --- inference -----------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [None, LANGUAGE_MODEL])
@pytest.mark.parametrize("num_top_layers", [None, 1])
def test_logits_on_one_public_batch(num_top_layers: int | None, head: Any) -> None:
    """All clients read it; what is below the lowest adapter is computed once for all of them."""
    tuning = LoraTuning(r=2, num_top_layers=num_top_layers)
    assert_logits(pair(tiny_training(tuning=tuning, head=head)), public())


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma"])
def test_logits_of_other_families(family: str) -> None:
    """Rotary positions, grouped queries and norms of queries and keys."""
    assert_logits(pair(tiny_training(family)), public())


def test_logits_on_batches_of_their_own() -> None:
    """Some clients have none."""
    assert_logits(pair(), batches_of_step(1))


def test_inference_keeps_no_graph_and_moves_nothing() -> None:
    """Nothing waits for a backward pass, and a later update finds no gradient of it."""
    found = pair()
    logits = found.cohort.infer(public())

    assert not any(own.requires_grad for own in logits if own is not None)
    assert not found.cohort.bank.gradients.any()


# --- distillation --------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["kl", "mae"])
@pytest.mark.parametrize("is_shared", [True, False])
def test_distilling_from_a_teacher(is_shared: bool, loss: Any) -> None:
    """One teacher for all, or one for each; twice, so that the optimizer's state matters."""
    options = RunOptions(learning_rate=0.05, distillation_loss=loss)
    found = pair(options=options)
    teachers = [teacher(len(LENGTHS), 0 if is_shared else slot) for slot in range(3)]
    for _ in range(2):
        found.cohort.distill(public(), teachers[0] if is_shared else teachers, is_update=True)
        for trainer, own in zip(found.alone, teachers, strict=True):
            trainer.distill(public(), own, is_update=True)

    assert found.distance() <= EXACT
    losses = [trainer.last_loss for trainer in found.alone]
    assert found.cohort.last_losses.tolist() == pytest.approx(losses, rel=1e-6)


@pytest.mark.parametrize("is_padded", [True, False])
def test_distilling_a_language_model(is_padded: bool) -> None:
    """A teacher has a row a real token, or one a position of the padded texts."""
    found = pair(tiny_training(head=LANGUAGE_MODEL, optimizer="sgd"), 2)
    num_rows = len(LENGTHS) * max(LENGTHS) if is_padded else sum(LENGTHS)
    own = teacher(num_rows, 0, VOCAB_SIZE)
    if is_padded:
        own = own.view(len(LENGTHS), max(LENGTHS), -1)
    found.cohort.distill(public(), own, is_update=True)
    for trainer in found.alone:
        trainer.distill(public(), own, is_update=True)

    assert found.distance() <= ROUNDED


def test_distilling_with_dropout_and_shared_blocks() -> None:
    """Blocks that are computed once for all drop nothing; the others have each client's masks."""
    tuning = LoraTuning(r=2, dropout=0.4, num_top_layers=2)
    found = pair(tiny_training(tuning=tuning))
    own = teacher(len(LENGTHS), 0)
    found.cohort.distill(public(), own, is_update=True)
    for trainer in found.alone:
        trainer.distill(public(), own, is_update=True)

    assert found.distance() <= EXACT


def test_a_missing_teacher_is_named() -> None:
    """So is one of another size."""
    found = pair(num_clients=2)
    with pytest.raises(ProtocolError, match=r"client 1 .* no teacher"):
        found.cohort.distill(public(), [teacher(4, 0), None], is_update=True)
    with pytest.raises(ProtocolError, match="4 target rows and a teacher of 3 rows"):
        found.cohort.distill(public(), teacher(3, 0), is_update=True)


# --- evaluation ----------------------------------------------------------------------------------
