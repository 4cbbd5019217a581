"""Logits of the public set: made batch by batch, sent whole, distilled batch by batch."""

import pytest

pytest.importorskip("torch")

import torch

from fedsim.errors import ProtocolError
from fedsim.protocol.operation import Part
from fedsim.runtime.knowledge import KnowledgeBuffer
from fedsim.runtime.options import RunOptions
from fedsim.runtime.text_batch import TextSource
from fedsim.runtime.trainer import Trainer
from fedsim.spec.batch import Padding
from fedsim.spec.model import HeadSpec
from shapes import NUM_CLASSES, NUM_LAYERS
from tiny import LANGUAGE_MODEL, PAD, tiny_model, tiny_rows, tiny_training

LENGTHS = (4, 9, 1, 7, 2)
BATCHES = (2, 2, 1)
HEADS = {
    "classification": HeadSpec("classification", NUM_CLASSES),
    "language_model": LANGUAGE_MODEL,
}
PADDINGS: tuple[Padding, ...] = ("max_tokens", "longest", "none")


def party(kind: str, padding: Padding) -> tuple[KnowledgeBuffer, Trainer]:
    """A buffer of five public texts and a model without dropout."""
    training = tiny_training(head=HEADS[kind])
    public = TextSource(tiny_rows(LENGTHS, num_classes=0), padding, PAD)
    trainer = Trainer(tiny_model(training), Part.whole(NUM_LAYERS), RunOptions())
    return KnowledgeBuffer(public, training), trainer


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kind", HEADS)
def test_every_batch_is_taught_its_own_rows(kind: str, padding: Padding) -> None:
    """A model that made the logits has nothing to learn from them, in any batch of any pass."""
    buffer, trainer = party(kind, padding)
    for num_samples in BATCHES:
        buffer.infer(trainer, num_samples)
    buffer.receive(buffer.message())

    for num_samples in BATCHES * 2:
        buffer.distill(trainer, num_samples, is_update=False)
        assert trainer.last_loss == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", HEADS)
def test_rows_of_other_texts_teach_something_else(kind: str) -> None:
    """The same logits in another order are not for nothing."""
    buffer, trainer = party(kind, "none")
    for num_samples in BATCHES:
        buffer.infer(trainer, num_samples)
    sent = buffer.message()["logits"]
    buffer.receive({"logits": sent.roll(1, 0)})

    losses = []
    for num_samples in BATCHES:
        buffer.distill(trainer, num_samples, is_update=False)
        losses.append(trainer.last_loss)
    assert min(losses) > 1e-4


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kind", HEADS)
def test_batches_change_no_logit(kind: str, padding: Padding) -> None:
    """All at once or batch by batch, the message is the same but for rounding."""
    found = []
    for batches in (BATCHES, (5,), (1, 4)):
        buffer, trainer = party(kind, padding)
        for num_samples in batches:
            buffer.infer(trainer, num_samples)
        found.append(buffer.message()["logits"])

    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-6)


def test_each_pass_replaces_the_logits_of_the_last() -> None:
    """A second round sends five rows again, not ten."""
    buffer, trainer = party("classification", "none")
    for num_samples in BATCHES * 2:
        buffer.infer(trainer, num_samples)

    assert buffer.message()["logits"].shape == (5, NUM_CLASSES)


def test_a_pass_ends_with_the_public_set() -> None:
    """A batch never begins with the last text and goes on with the first."""
    buffer, trainer = party("classification", "none")
    buffer.infer(trainer, 4)
    assert not buffer.is_complete

    with pytest.raises(ProtocolError, match="public samples 4 to 5"):
        buffer.infer(trainer, 2)


def test_too_few_received_rows_are_refused() -> None:
    """Logits of four texts teach no fifth one."""
    buffer, trainer = party("classification", "none")
    buffer.infer(trainer, 5)
    buffer.receive({"logits": buffer.message()["logits"][:4]})

    with pytest.raises(ProtocolError, match="received logits have 4 rows"):
        buffer.distill(trainer, 5, is_update=False)
