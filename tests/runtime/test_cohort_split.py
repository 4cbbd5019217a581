"""Split-FedLLM's update (V1) in one pass: what crosses the cut is what two parties would send."""

from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from cohorts import RATE, WHOLE, Pair, batches_of_step, largest_distance, pair
from fedsim.protocol.operation import Part
from fedsim.runtime.cut_exchange import pack_tokens, unpack_tokens
from fedsim.runtime.trainer import Trainer
from fedsim.spec.tuning import LoraTuning
from shapes import NUM_LAYERS
from tiny import LANGUAGE_MODEL, tiny_training

EXACT = 1e-8


class Halves:
    """A client and the server's copy for it, cut apart."""

    def __init__(self, whole: Trainer, position: int, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.below = Trainer(whole.model.clone(), Part.below(position), RATE)
        self.above = Trainer(whole.model.clone(), Part.above(position, NUM_LAYERS), RATE)

    def train(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        """One batch; what crossed the cut, both ways, in sample order."""
        forward = self.below.forward_to_cut(batch)
        up = pack_tokens(forward.outputs, batch).to(self.dtype)
        received = unpack_tokens(up.to(forward.outputs[0].dtype), batch)
        wants = bool(self.below.model.trained(self.below.part))
        found = self.above.train_above_cut(received, batch, is_update=True, wants_gradient=wants)
        if not wants:
            return up, None
        down = pack_tokens(found, batch).to(self.dtype)
        self.below.backward_from_cut(forward, unpack_tokens(down, batch), is_update=True)
        return up, down

    def parameters(self) -> dict[str, Tensor]:
        return {**self.below.adapters(with_head=True), **self.above.adapters(with_head=True)}


def crossed(
    found: Pair, batches: Sequence[Any], positions: Sequence[int], dtype: torch.dtype
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """One step of the cohort across its cuts; what was sent up and down, by slot."""
    own = found.cohort.forward_to_cut(batches, positions)
    up = [None if sent is None else sent.to(dtype) for sent in own]
    received = [None if sent is None else sent.to(torch.float64) for sent in up]
    gradients = found.cohort.train_above_cut(received, batches, positions, is_update=True)
    down = [None if sent is None else sent.to(dtype) for sent in gradients]
    back = [None if sent is None else sent.to(torch.float64) for sent in down]
    found.cohort.backward_from_cut(back, is_update=True)
    found.cohort.forget_forward(range(len(batches)))
    return up, down


def exchange(found: Pair, position: int | Sequence[int], dtype: torch.dtype) -> float:
    """Two steps both ways: the parameters' distance, after a look at what was exchanged."""
    positions = [position] * len(found.alone) if isinstance(position, int) else position
    halves = [
        Halves(trainer, own, dtype) for trainer, own in zip(found.alone, positions, strict=True)
    ]
    is_labeled = found.cohort.network.is_classifier
    for step in range(2):
        batches = batches_of_step(step, padding="none", is_labeled=is_labeled)
        sent, returned = crossed(found, batches, positions, dtype)
        for slot, batch in enumerate(batches):
            if batch is None:
                assert sent[slot] is None
                continue
            up, down = halves[slot].train(batch)
            torch.testing.assert_close(sent[slot], up, rtol=0, atol=1e-6)
            assert (down is None) == (returned[slot] is None)
            if down is not None:
                torch.testing.assert_close(returned[slot], down, rtol=0, atol=1e-6)
    return max(
        largest_distance(found.cohort.adapters(slot, with_head=True), half.parameters())
        for slot, half in enumerate(halves)
    )


@pytest.mark.parametrize("position", range(1, 2 * NUM_LAYERS))
def test_the_update_is_that_of_two_parties(position: int) -> None:
    """At every cut and half cut, and so are activations and gradients."""
    assert exchange(pair(), position, torch.float64) <= EXACT


def test_every_client_has_a_cut_of_its_own() -> None:
    """And two that are cut alike still pass together."""
    found = pair()
    positions = [1, 4, *[4] * (len(found.alone) - 2)]

    assert exchange(found, positions, torch.float64) <= EXACT


@pytest.mark.parametrize("position", [2, 5])
def test_what_is_sent_is_rounded(position: int) -> None:
    """Both sides go on with what a message in half precision would have brought."""
    found = pair(tiny_training(optimizer="sgd"))

    assert exchange(found, position, torch.bfloat16) <= EXACT


def test_rounding_is_seen() -> None:
    """A cut that rounded nothing would end elsewhere."""
    found = pair(tiny_training(optimizer="sgd"))
    batches = batches_of_step(0)
    crossed(found, batches, [2] * len(batches), torch.bfloat16)
    for trainer, batch in zip(found.alone, batches, strict=True):
        assert batch is not None
        trainer.train(batch, is_update=True)

    assert found.distance() > 1e-6


def test_a_client_without_adapters_gets_no_gradients() -> None:
    """Nothing comes back over a cut below the lowest adapter."""
    tuning = LoraTuning(r=2, num_top_layers=1)

    assert exchange(pair(tiny_training(tuning=tuning)), 2, torch.float64) <= EXACT


def test_a_language_model_is_cut() -> None:
    """Every token of it has a gradient."""
    found = pair(tiny_training(head=LANGUAGE_MODEL, optimizer="sgd"))

    assert exchange(found, 3, torch.float64) <= 1e-5


def test_the_whole_model_s_names_stay() -> None:
    """Both halves' parameters together are the cohort's, in its order."""
    found = pair(num_clients=1)
    whole = list(found.alone[0].model.trained(WHOLE))

    assert list(found.cohort.adapters(0, with_head=True)) == whole
