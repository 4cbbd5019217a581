"""Laws of dropout masks that are drawn by name."""

from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from cohorts import RATE, WHOLE, largest_distance
from fedsim.errors import ScenarioError
from fedsim.protocol.operation import Part
from fedsim.runtime.keyed_dropout import (
    MaskStream,
    dropout_threshold,
    keep_mask,
    kept_scale,
    layer_key,
    token_keys,
)
from fedsim.runtime.trainer import Trainer
from fedsim.spec.plan import Numerics
from fedsim.spec.tuning import LoraTuning
from shapes import NUM_LAYERS
from tiny import tiny_batch, tiny_model, tiny_training

LAYER = layer_key(0, "attn.c_attn")
#: Worked out with plain integers: SplitMix64 of rows 0 and 1, positions 2 and 3, batch 1, layer 5.
GOLDEN_MASK = [[1, 0, 1, 1, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0, 0, 1]]


def keys(seed: int = 0, client: str = "ann", num_rows: int = 50, length: int = 20) -> Any:
    key = MaskStream(seed, client).next_key()
    return token_keys(key, torch.arange(num_rows)[:, None], torch.arange(length)[None, :])


def mask(rate: float = 0.3, num_channels: int = 64, layer: int = LAYER, **name: Any) -> Any:
    return keep_mask(keys(**name), layer, dropout_threshold(rate), num_channels)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.1, 0.5, 0.9])
def test_as_many_are_dropped_as_the_rate_says(rate: float) -> None:
    """Of 64,000 channels, to within five standard deviations."""
    dropped = 1 - float(mask(rate).double().mean())
    assert dropped == pytest.approx(rate, abs=5 * (rate * (1 - rate) / 64_000) ** 0.5)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.999999])
def test_what_is_kept_is_scaled_up_to_the_same_mean(rate: float) -> None:
    """One over the fraction that is kept, of the rate as 16 bits can say it."""
    kept = (2**15 - dropout_threshold(rate)) / 2**16
    assert kept_scale(rate) * kept == pytest.approx(1.0)


def test_the_bits_are_these() -> None:
    """A golden mask: it may change with no platform, device or version."""
    found = keep_mask(
        token_keys(1, torch.tensor([0, 1]), torch.tensor([2, 3])), 5, dropout_threshold(0.5), 8
    )
    assert found.int().tolist() == GOLDEN_MASK


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"client": "bob"}, {"layer": layer_key(1, "attn.c_attn")}],
    ids=["seed", "client", "layer"],
)
def test_every_word_of_the_name_counts(other: dict[str, Any]) -> None:
    """Two masks agree on 58 % of the channels at a rate of 0.3, as independent ones do."""
    agreement = float((mask() == mask(**other)).double().mean())
    assert agreement == pytest.approx(0.58, abs=0.015)


def test_rows_positions_and_channels_are_independent() -> None:
    """Neighbours agree as often as strangers do."""
    found = mask()
    for dimension in range(3):
        agreement = float((found == found.roll(1, dimension)).double().mean())
        assert agreement == pytest.approx(0.58, abs=0.015)


def test_batches_and_rounds_have_masks_of_their_own() -> None:
    """A round that is run again draws the same again."""
    stream = MaskStream(0, "ann")
    first = [stream.next_key() for _ in range(3)]
    stream.begin_round(1)
    second = [stream.next_key() for _ in range(3)]
    stream.begin_round(0)

    assert len({*first, *second}) == 6
    assert [stream.next_key() for _ in range(3)] == first


def test_a_mask_does_not_depend_on_its_neighbours() -> None:
    """Computed alone, a token's channels are those of the whole batch."""
    whole = keys()
    part = keep_mask(whole[3:4, 7:8], LAYER, dropout_threshold(0.3), 64)
    assert torch.equal(part, mask()[3:4, 7:8])


# --- in the trainer ------------------------------------------------------------------------------


def trainer(part: Part = WHOLE, **changes: Any) -> Trainer:
    spec = tiny_training(tuning=LoraTuning(r=2, dropout=0.5), optimizer="sgd", **changes)
    return Trainer(tiny_model(spec), part, RATE, MaskStream(0, "ann"))


def test_padding_and_groups_change_no_mask() -> None:
    """Padded, or each length apart: one training step."""
    found = []
    for padding in ("max_tokens", "none"):
        one = trainer()
        one.train(tiny_batch([4, 7, 1, 4], padding), is_update=True)  # type: ignore[arg-type]
        found.append(one.adapters(with_head=True))
    assert largest_distance(*found) <= 1e-6


def test_torch_s_generator_is_not_asked() -> None:
    """Its seed decides nothing."""
    losses = set()
    for seed in range(3):
        one = trainer()
        torch.manual_seed(seed)
        one.train(tiny_batch([4, 7, 1, 4]), is_update=True)
        losses.add(one.last_loss)
    assert len(losses) == 1


def test_two_halves_of_a_cut_model_draw_what_the_whole_draws() -> None:
    """A layer's masks have its own name, on whichever side of the cut it is."""
    batch = tiny_batch([4, 7, 1, 4])
    whole, below, above = trainer(), trainer(Part.below(2)), trainer(Part.above(2, NUM_LAYERS))
    whole.train(batch, is_update=False)
    forward = below.forward_to_cut(batch)
    above.train_above_cut(forward.outputs, batch, is_update=False, wants_gradient=True)

    assert above.last_loss == pytest.approx(whole.last_loss, abs=1e-6)


def test_recomputed_blocks_are_refused() -> None:
    """Their second forward pass comes when other samples' masks are current."""
    with pytest.raises(ScenarioError, match="is_checkpointed = false"):
        trainer(numerics=Numerics(is_checkpointed=True))
