"""Matrix FLOPs of an operation against closed forms that were derived by hand.

T tokens, d hidden, r rank, L blocks, C or V head columns; 2 FLOPs a multiply-add. A GPT-2 block
with LoRA on ``c_attn``::

    forward  = 24 T d^2 + 4 T^2 d +  8 T d r   (c_attn 6, attention output 2, feed-forward 16)
    backward = 24 T d^2 + 8 T^2 d + 16 T d r   (gradients of inputs; of the adapter's factors too)
    low_save =  6 T d^2 + 2 T d r              (upstream of the lowest adapter nothing is needed)
    head     =  2 T d C

The code holds none of these: it walks the table of the block's products.
"""

import json
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.cost.flop import flop_by_class, operation_flop
from fedsim.protocol.operation import (
    Aggregate,
    BackwardFromCut,
    Content,
    Distill,
    ForwardToCut,
    Part,
    ProcessKnowledge,
    Replace,
    Train,
    TrainAboveCut,
)
from fedsim.spec.batch import BatchShape
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import Numerics, TrainingSpec
from fedsim.spec.tuning import FullTuning, LoraTuning
from sample_flop import split_flop, whole_flop
from shapes import tiny_shape
from strategies import batch_shapes, trainings

GPT2 = model("gpt2")
CHECKPOINTED = Numerics(is_checkpointed=True)
LANGUAGE_MODEL = HeadSpec("language_model")
# f = 4 d, as the closed forms of GPT-2 have it; no two other sizes are equal.
L, D, C, V = 5, 20, 7, 29
SHAPE = tiny_shape(
    "gpt2", num_layers=L, hidden_size=D, head_size=D // 4, intermediate_size=4 * D, vocab_size=V
)
SIZES = [(1, 1), (9, 2), (80, 3), (7, 20)]  # tokens, rank


def training(r: int, **changes: Any) -> TrainingSpec:
    """LoRA of rank r on ``c_attn`` of the small GPT-2, and C classes."""
    targets = changes.pop("targets", ("attn.c_attn",))
    lora = LoraTuning(r=r, target_modules=targets, num_top_layers=changes.pop("top", None))
    return TrainingSpec(
        **({"model": SHAPE, "head": HeadSpec(num_classes=C), "tuning": lora} | changes)
    )


def forward(t: int, r: int) -> int:
    return 24 * t * D**2 + 4 * t**2 * D + 8 * t * D * r


def backward(t: int, r: int) -> int:
    return 24 * t * D**2 + 8 * t**2 * D + 16 * t * D * r


def low_save(t: int, r: int) -> int:
    return 6 * t * D**2 + 2 * t * D * r


def head(t: int) -> int:
    return 2 * t * D * C


@pytest.mark.parametrize(("t", "r"), SIZES)
def test_inference_costs_one_forward_pass(t: int, r: int) -> None:
    """L forward + head, the head at every position."""
    assert whole_flop(training(r), t, trains=False) == L * forward(t, r) + head(t)


@pytest.mark.parametrize(("t", "r"), SIZES)
def test_training_saves_what_lies_upstream_of_the_lowest_adapter(t: int, r: int) -> None:
    """L (forward + backward) - low_save + 3 head = L (48 T d^2 + 12 T^2 d + 24 T d r) - ..."""
    expected = L * (forward(t, r) + backward(t, r)) - low_save(t, r) + 3 * head(t)

    assert whole_flop(training(r), t) == expected


def test_the_case_study_s_training_is_28_gigaflop_a_sample() -> None:
    """GPT-2, T = 80, r = 8, C = 77: forward 13.882 GF and training 27.773 GF, twice and not thrice.

    Block forward: 24 x 80 x 768^2 + 4 x 80^2 x 768 + 8 x 80 x 768 x 8 = 1,156,055,040, and the head
    2 x 80 x 768 x 77 = 9,461,760, so 12 x 1,156,055,040 + 9,461,760 = 13,882,122,240. Backward:
    1,179,648,000 a block less 6 x 80 x 768^2 + 2 x 80 x 768 x 8 = 284,098,560, and 2 heads.
    """
    spec = TrainingSpec(GPT2, HeadSpec(), LoraTuning(r=8))

    assert whole_flop(spec, 80, trains=False) == 13_882_122_240
    assert whole_flop(spec, 80) == 13_882_122_240 + 12 * 1_179_648_000 - 284_098_560 + 2 * 9_461_760


@pytest.mark.parametrize(
    ("r", "teraflop"),
    [(1, 46.092), (2, 46.121), (4, 46.180), (8, 46.297), (16, 46.531), (32, 47.0)],
)
def test_rank_hardly_changes_the_work_of_a_round(r: int, teraflop: float) -> None:
    """1667 samples of 80 tokens: 46.1 TF at r = 1 and only 2 % more at r = 32."""
    spec = TrainingSpec(GPT2, HeadSpec(), LoraTuning(r=r))

    assert 1667 * whole_flop(spec, 80) == pytest.approx(teraflop * 1e12, abs=0.5e9)


def test_text_without_padding_costs_a_sixth() -> None:
    """Banking77 unpadded: 4.698 GF a sample on average, 5.912 times less than at 80 tokens.

    Costs are linear in the sums of lengths and of squared lengths, so the mean over texts is not
    the cost of the mean text (4.690 GF).
    """
    text = files("fedsim.spec").joinpath("data", "banking77_gpt2_lengths.json").read_text()
    counts = {int(n): count for n, count in json.loads(text)["histogram"].items()}
    lengths = [min(n, 80) for n, count in counts.items() for _ in range(count)]
    spec = TrainingSpec(GPT2, HeadSpec(), LoraTuning(r=8))
    batch = BatchShape.unpadded(lengths)

    mean = operation_flop(Train(Part.whole(12), batch), spec) / len(lengths)

    assert mean == pytest.approx(4.698e9, abs=0.5e6)
    assert whole_flop(spec, 80) / mean == pytest.approx(5.912, abs=5e-4)


@pytest.mark.parametrize(("t", "r"), SIZES)
@pytest.mark.parametrize("m", range(1, L + 1))
def test_adapters_in_the_top_blocks_leave_the_backward_pass_below_them_out(
    m: int, t: int, r: int
) -> None:
    """L (24 T d^2 + 4 T^2 d) + 8 m T d r + m backward - low_save + 3 head."""
    expected = L * forward(t, 0) + 8 * m * t * D * r + m * backward(t, r)

    assert whole_flop(training(r, top=m), t) == expected - low_save(t, r) + 3 * head(t)


@pytest.mark.parametrize(
    ("target", "lora", "saved"),
    [
        # (LoRA forward in T d r, upstream of the adapter in T d^2, T^2 d and T d r)
        ("attn.c_attn", 8, (6, 0, 2)),
        ("attn.c_proj", 4, (8, 8, 2)),
        ("mlp.c_fc", 10, (16, 8, 2)),
        ("mlp.c_proj", 10, (24, 8, 8)),
    ],
)
@pytest.mark.parametrize(("t", "r"), SIZES)
def test_any_adapted_layer_saves_everything_upstream_of_it(
    target: str, lora: int, saved: tuple[int, int, int], t: int, r: int
) -> None:
    """The backward pass ends at the lowest adapter, wherever in the block it is."""
    blocks = L * (48 * t * D**2 + 12 * t**2 * D + 3 * lora * t * D * r)
    upstream = saved[0] * t * D**2 + saved[1] * t**2 * D + saved[2] * t * D * r

    assert whole_flop(training(r, targets=(target,)), t) == blocks - upstream + 3 * head(t)


@pytest.mark.parametrize(("t", "r"), SIZES)
def test_a_frozen_head_computes_no_gradient_of_itself(t: int, r: int) -> None:
    """A language model's head costs 2 T d V forward and 2 T d V backward, not 4."""
    blocks = L * (forward(t, r) + backward(t, r)) - low_save(t, r)

    assert whole_flop(training(r, head=LANGUAGE_MODEL), t) == blocks + 2 * 2 * t * D * V


@pytest.mark.parametrize("t", [1, 9, 80])
def test_full_tuning_costs_three_forward_passes(t: int) -> None:
    """L (72 T d^2 + 12 T^2 d) + 6 T d C: nothing is saved, and embeddings are no products."""
    expected = L * (72 * t * D**2 + 12 * t**2 * D) + 3 * head(t)

    assert whole_flop(training(1, tuning=FullTuning()), t) == expected


@pytest.mark.parametrize(("t", "r"), SIZES)
def test_checkpointing_computes_each_block_again_up_to_what_it_kept(t: int, r: int) -> None:
    """+ L (forward - 8 T d^2) + low_save: without dropout the last product keeps nothing to redo.

    And the gradient of the embedded text is computed, for nobody, because transformers asks for it.
    """
    plain = whole_flop(training(r), t)
    again = L * (forward(t, r) - 8 * t * D**2) + low_save(t, r)

    assert whole_flop(training(r, numerics=CHECKPOINTED), t) == plain + again


@pytest.mark.parametrize(("t", "r"), SIZES)
def test_checkpointing_with_dropout_computes_whole_blocks_again(t: int, r: int) -> None:
    """+ L forward + low_save: the last dropout's noise comes after the last product."""
    plain = whole_flop(training(r), t)
    spec = training(r, numerics=CHECKPOINTED, model_dropout=0.1)

    assert whole_flop(spec, t) == plain + L * forward(t, r) + low_save(t, r)


def test_dropout_alone_changes_no_flop() -> None:
    """Noise is no matrix product."""
    assert whole_flop(training(2, model_dropout=0.1), 9) == whole_flop(training(2), 9)


@pytest.mark.parametrize(("t", "r"), SIZES)
@pytest.mark.parametrize("s", range(1, L))
def test_a_cut_shares_the_work_out(s: int, t: int, r: int) -> None:
    """Client s (forward + backward) - low_save; server the rest, the cut's gradient included."""
    block = forward(t, r) + backward(t, r)

    client, server = split_flop(training(r), t, 2 * s)

    assert client == s * block - low_save(t, r)
    assert server == (L - s) * block + 3 * head(t)


@pytest.mark.parametrize(("t", "r"), SIZES)
@pytest.mark.parametrize("s", range(L))
def test_a_half_cut_leaves_the_feed_forward_part_to_the_server(s: int, t: int, r: int) -> None:
    """Server: 32 T d^2 of one feed-forward part, whole blocks above it, and 3 heads."""
    block = forward(t, r) + backward(t, r)
    attention = 8 * t * D**2 + 4 * t**2 * D + 8 * t * D * r
    attention += 8 * t * D**2 + 8 * t**2 * D + 16 * t * D * r

    client, server = split_flop(training(r), t, 2 * s + 1)

    assert client == s * block + attention - low_save(t, r)
    assert server == 32 * t * D**2 + (L - s - 1) * block + 3 * head(t)


@pytest.mark.parametrize("s", range(1, L))
@pytest.mark.parametrize("m", range(1, L))
def test_a_client_that_trains_nothing_only_runs_forward(s: int, m: int) -> None:
    """Of m adapted top blocks max(0, s - L + m) are the client's; frozen ones cost no way back."""
    t, r = 9, 3
    adapted = max(0, s - L + m)
    frozen = 24 * t * D**2 + 4 * t**2 * D

    client, server = split_flop(training(r, top=m), t, 2 * s)

    above = (L - s) * frozen + 8 * (m - adapted) * t * D * r + (m - adapted) * backward(t, r)
    if adapted:
        expected = s * frozen + 8 * adapted * t * D * r + adapted * backward(t, r) - low_save(t, r)
        assert (client, server) == (expected, above + 3 * head(t))
    else:
        assert (client, server) == (s * frozen, above - low_save(t, r) + 3 * head(t))


@pytest.mark.parametrize(
    ("s", "client", "server"),
    [(1, 3.420, 42.877), (4, 15.101, 31.196), (6, 22.888, 23.409), (11, 42.356, 3.941)],
)
def test_the_case_study_s_clients_compute_in_proportion_to_their_blocks(
    s: int, client: float, server: float
) -> None:
    """1667 samples of 80 tokens, r = 8: a third of FedLLM's 46.297 TF at s = 4."""
    spec = TrainingSpec(GPT2, HeadSpec(), LoraTuning(r=8))

    flop = split_flop(spec, 80, 2 * s)

    assert 1667 * flop[0] == pytest.approx(client * 1e12, abs=0.5e9)
    assert 1667 * flop[1] == pytest.approx(server * 1e12, abs=0.5e9)


@given(trainings().filter(lambda spec: not spec.numerics.is_checkpointed), batch_shapes())
def test_the_two_sides_of_any_cut_compute_the_whole(spec: TrainingSpec, batch: BatchShape) -> None:
    """Cutting moves work and makes none, for any model, tuning and batch."""
    layers = spec.model.num_layers
    whole = operation_flop(Train(Part.whole(layers), batch), spec)
    for position in range(1, 2 * layers):
        below, above = Part.below(position), Part.above(position, layers)
        parts = (
            ForwardToCut(below, batch),
            BackwardFromCut(below, batch),
            TrainAboveCut(above, batch),
        )
        assert sum(operation_flop(part, spec) for part in parts) == whole


@given(trainings(), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_samples_add_up(spec: TrainingSpec, lengths: list[int]) -> None:
    """A batch without padding costs what its samples cost one by one."""
    part = Part.whole(spec.model.num_layers)
    together = operation_flop(Train(part, BatchShape.unpadded(lengths)), spec)

    assert together == sum(whole_flop(spec, length) for length in lengths)


@given(trainings(), batch_shapes())
def test_kinds_of_products_add_up(spec: TrainingSpec, batch: BatchShape) -> None:
    """Linear, attention, adapter and head FLOPs are all there is."""
    operation = Train(Part.whole(spec.model.num_layers), batch)

    assert sum(flop_by_class(operation, spec).values()) == operation_flop(operation, spec)


@given(trainings(), batch_shapes())
def test_distilling_costs_what_training_costs(spec: TrainingSpec, batch: BatchShape) -> None:
    """The loss is elementwise, whatever it is, and an optimizer step holds no product."""
    part = Part.whole(spec.model.num_layers)

    train = operation_flop(Train(part, batch), spec)

    assert operation_flop(Distill(part, batch), spec) == train
    assert operation_flop(Train(part, batch, is_update=False), spec) == train


def test_aggregation_and_messages_hold_no_matrix_product() -> None:
    """Averages, knowledge processing and replacement are elementwise."""
    part = Part.whole(L)
    for operation in (
        Aggregate(Content.ADAPTERS, part),
        ProcessKnowledge(100, 77),
        Replace(Content.ADAPTERS, part),
    ):
        assert operation_flop(operation, training(2)) == 0
