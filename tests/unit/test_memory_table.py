"""What training keeps in memory, against closed forms per sample and block.

In values, for T tokens, d hidden, h heads, r rank; LoRA on GPT-2's ``c_attn``, eager attention::

    attention half =  5 T d + h T^2 + T r + 2 T
    MLP half       = 17 T d + 2 T              (5 T d + 2 T with a fused GELU)

A norm keeps its input and two statistics a token; an adapter its input and its narrow middle;
attention q, k and v and the weights after softmax; ``gelu_new`` four tensors of width 4 d.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from fedsim.cost.memory import inference_peak_bytes, peak_memory_bytes, training_memory
from fedsim.cost.model_graph import part_work
from fedsim.protocol.operation import (
    Aggregate,
    BackwardFromCut,
    Content,
    ForwardToCut,
    InferLogits,
    Part,
    ProcessKnowledge,
    Train,
    TrainAboveCut,
)
from fedsim.spec.batch import BatchShape
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import Numerics, TrainingSpec
from fedsim.spec.tuning import FullTuning, LoraTuning
from shapes import tiny_shape
from strategies import batch_shapes, trainings

GPT2 = model("gpt2")
L, D, H, C = 4, 20, 5, 7
SHAPE = tiny_shape(
    "gpt2",
    num_layers=L,
    hidden_size=D,
    num_heads=H,
    num_kv_heads=H,
    head_size=4,
    intermediate_size=4 * D,
)
FUSED = replace(SHAPE, activation="gelu_pytorch_tanh")
SIZES = [(1, 1), (9, 2), (80, 8)]  # tokens, rank


def training(r: int = 2, **changes: Any) -> TrainingSpec:
    """LoRA on ``c_attn`` of the small GPT-2; ``lora_dropout`` and ``top`` go to the adapters."""
    lora = LoraTuning(
        r=r,
        target_modules=("attn.c_attn",),
        dropout=changes.pop("lora_dropout", 0.0),
        num_top_layers=changes.pop("top", None),
    )
    return TrainingSpec(
        **({"model": SHAPE, "head": HeadSpec(num_classes=C), "tuning": lora} | changes)
    )


def saved(spec: TrainingSpec, part: Part, t: int) -> int:
    """Values that one sample of t tokens leaves behind for the backward pass."""
    batch = BatchShape.padded(1, t)
    return sum(extent.of(batch) for extent in part_work(spec, part).saved.values())


def block(index: int) -> Part:
    return Part(2 * index, 2 * index + 2, has_head=False)


def attention_half(t: int, r: int) -> int:
    return 5 * t * D + H * t**2 + t * r + 2 * t


@pytest.mark.parametrize(("t", "r"), SIZES)
@pytest.mark.parametrize(("shape", "mlp"), [(SHAPE, 17), (FUSED, 5)], ids=["gelu_new", "fused"])
def test_a_block_keeps_its_two_halves(shape: Any, mlp: int, t: int, r: int) -> None:
    """22 T d + h T^2 + T r + 4 T values, 10 T d with a fused GELU."""
    spec = training(r, model=shape)
    attention, feed_forward = Part(2, 3, has_head=False), Part(3, 4, has_head=False)

    assert saved(spec, attention, t) == attention_half(t, r)
    assert saved(spec, feed_forward, t) == mlp * t * D + 2 * t
    assert saved(spec, block(1), t) == attention_half(t, r) + mlp * t * D + 2 * t


@pytest.mark.parametrize(
    ("activation", "expected"), [("gelu_new", 5_717_760), ("gelu_pytorch_tanh", 2_768_640)]
)
def test_a_gpt2_block_keeps_megabytes_a_sample(activation: str, expected: int) -> None:
    """T = 80, r = 8: 4 (22 x 80 x 768 + 12 x 80^2 + 80 x 8 + 4 x 80) = 5,717,760 B.

    With a fused GELU 10 instead of 22: 2,768,640 B.
    """
    spec = TrainingSpec(replace(GPT2, activation=activation), HeadSpec(), LoraTuning(r=8))

    assert 4 * saved(spec, block(5), 80) == expected


@pytest.mark.parametrize(("t", "r"), SIZES)
def test_dropout_keeps_its_noise(t: int, r: int) -> None:
    """The model's adds 2 T d + 2 h T^2 a block, the adapter's T d: a mask of values each."""
    plain = saved(training(r), block(1), t)
    model_noise = 2 * t * D + 2 * H * t**2

    assert saved(training(r, model_dropout=0.1), block(1), t) == plain + model_noise
    assert saved(training(r, lora_dropout=0.1), block(1), t) == plain + t * D
    both = training(r, model_dropout=0.1, lora_dropout=0.1)
    assert saved(both, block(1), t) == 25 * t * D + 3 * H * t**2 + t * r + 4 * t


@pytest.mark.parametrize(("t", "r"), SIZES)
def test_a_model_keeps_its_blocks_and_little_more(t: int, r: int) -> None:
    """L blocks + T d + C: last norm, head and loss, less what the lowest block does not need.

    With dropout on the adapter's input the lowest block needs no noise: T d less.
    """
    whole = Part.whole(L)
    for lora_dropout, more in ((0.0, t * D + C), (0.1, C)):
        spec = training(r, lora_dropout=lora_dropout)
        assert saved(spec, whole, t) == L * saved(spec, block(1), t) + more


@pytest.mark.parametrize(("t", "r"), SIZES)
def test_a_frozen_block_keeps_less_above_the_lowest_adapter_and_nothing_below(
    t: int, r: int
) -> None:
    """An adapter keeps its input and its middle, T d + T r; below the lowest nothing goes back."""
    spec = training(r, top=L - 1)
    adapted = saved(training(r), block(1), t)

    assert saved(spec, block(0), t) == 0
    frozen = TrainingSpec(SHAPE, HeadSpec(num_classes=C), LoraTuning(r=r, target_modules=("c_fc",)))
    # With the feed-forward part adapted instead, the attention half is a frozen one.
    half = Part(2, 3, has_head=False)
    assert saved(frozen, half, t) == attention_half(t, r) - t * D - t * r
    assert saved(spec, block(2), t) == adapted


def test_a_checkpointed_block_keeps_its_input_alone() -> None:
    """T d a block between the passes, and one block's tensors while it is computed again."""
    t, r = 9, 2
    spec = training(r, numerics=Numerics(is_checkpointed=True))
    work = part_work(spec, Part.whole(L))
    batch = BatchShape.padded(1, t)

    # L inputs of blocks, the last norm's input with statistics, its output, and the loss's rows.
    assert saved(spec, Part.whole(L), t) == L * t * D + 2 * t * D + 2 * t + C
    assert work.largest_segment_saved.of(batch) == saved(training(r), block(1), t)


def test_weights_of_gpt2_take_half_a_gigabyte() -> None:
    """124,439,808 base values, 59,136 of the head and 36,864 x 8 of the adapters, 4 B each."""
    spec = TrainingSpec(GPT2, HeadSpec(), LoraTuning(r=8))
    memory = training_memory(spec, Part.whole(12), BatchShape.padded(1, 80))

    assert memory.weights_bytes == 4 * (124_439_808 + 59_136 + 36_864 * 8)


@pytest.mark.parametrize("s", [1, 4, 11])
def test_weights_below_a_cut_grow_by_28_megabytes_a_block(s: int) -> None:
    """157.5 MB of embeddings and 28.35 MB a block, adapters apart."""
    spec = TrainingSpec(GPT2, HeadSpec(), LoraTuning(r=8))
    memory = training_memory(spec, Part.below(2 * s), BatchShape.padded(1, 80))

    adapters = 4 * 3072 * 8 * s
    assert memory.weights_bytes - adapters == pytest.approx(157.5e6 + 28.35e6 * s, rel=1e-3)


@pytest.mark.parametrize(("optimizer", "num_states"), [("adam", 2), ("sgd", 0)])
def test_each_trained_value_takes_its_gradient_and_optimizer_state(
    optimizer: Any, num_states: int
) -> None:
    """4 B of gradient and 8 B of Adam's moments for each of 354,048 values; SGD keeps none."""
    spec = TrainingSpec(GPT2, HeadSpec(), LoraTuning(r=8), optimizer=optimizer)
    memory = training_memory(spec, Part.whole(12), BatchShape.padded(1, 80))

    assert memory.gradient_bytes == 4 * 354_048
    assert memory.optimizer_bytes == 4 * num_states * 354_048


def test_half_precision_halves_frozen_weights_and_activations() -> None:
    """bfloat16 keeps two bytes a frozen weight and activation; trained values keep four."""
    half = Numerics(weights_dtype="bfloat16", compute_dtype="bfloat16")
    batch = BatchShape.padded(2, 9)
    one = training_memory(training(), Part.whole(L), batch)
    other = training_memory(training(numerics=half), Part.whole(L), batch)

    trained = one.gradient_bytes
    assert other.weights_bytes - trained == (one.weights_bytes - trained) // 2
    loss_bytes = 4 * 2 * C  # the loss of two samples keeps 32 bits
    assert other.saved_bytes - loss_bytes == (one.saved_bytes - loss_bytes) // 2
    assert other.gradient_bytes == one.gradient_bytes
    assert other.optimizer_bytes == one.optimizer_bytes


@given(trainings(), batch_shapes())
def test_memory_is_the_sum_of_its_categories(spec: TrainingSpec, batch: BatchShape) -> None:
    """The peak of a training step is weights, gradients, state, saved tensors and workspace."""
    part = Part.whole(spec.model.num_layers)
    memory = training_memory(spec, part, batch)

    categories = [getattr(memory, name) for name in type(memory).__dataclass_fields__]
    assert memory.total_bytes == sum(categories)
    assert peak_memory_bytes(Train(part, batch), spec) == memory.total_bytes
    assert all(size >= 0 for size in categories)


@given(trainings(), batch_shapes())
def test_inference_never_takes_more_than_training(spec: TrainingSpec, batch: BatchShape) -> None:
    """Without gradients nothing is kept."""
    part = Part.whole(spec.model.num_layers)

    inference = peak_memory_bytes(InferLogits(part, batch), spec)

    assert inference == inference_peak_bytes(spec, part, batch)
    assert inference <= peak_memory_bytes(Train(part, batch), spec)


@given(trainings(), batch_shapes())
def test_a_client_below_a_cut_never_takes_more_than_the_whole(
    spec: TrainingSpec, batch: BatchShape
) -> None:
    """Weights, gradients, state and saved tensors of a part are part of the whole's."""
    layers = spec.model.num_layers
    whole = training_memory(spec, Part.whole(layers), batch)
    for position in range(1, 2 * layers):
        part = training_memory(spec, Part.below(position), batch)
        assert part.weights_bytes <= whole.weights_bytes
        assert part.gradient_bytes <= whole.gradient_bytes
        assert part.saved_bytes <= whole.saved_bytes


def test_more_samples_keep_more() -> None:
    """Saved tensors grow in proportion to the batch; weights do not."""
    one = training_memory(training(), Part.whole(L), BatchShape.padded(1, 9))
    four = training_memory(training(), Part.whole(L), BatchShape.padded(4, 9))

    assert four.saved_bytes == 4 * one.saved_bytes
    assert four.weights_bytes == one.weights_bytes


def test_operations_without_a_model_take_no_memory() -> None:
    """Averages and replacements are priced by time alone."""
    part = Part.whole(L)
    for operation in (Aggregate(Content.ADAPTERS, part), ProcessKnowledge(9, 7)):
        assert peak_memory_bytes(operation, training()) == 0


def test_both_sides_of_a_cut_take_memory() -> None:
    """The client's peak is that of its backward pass; the server's that of its training."""
    batch = BatchShape.padded(2, 9)
    below, above = Part.below(2), Part.above(2, L)
    for operation, part in (
        (BackwardFromCut(below, batch), below),
        (TrainAboveCut(above, batch), above),
    ):
        assert peak_memory_bytes(operation, training()) == (
            training_memory(training(), part, batch).total_bytes
        )
    forward = peak_memory_bytes(ForwardToCut(below, batch), training())
    assert forward < peak_memory_bytes(BackwardFromCut(below, batch), training())


def test_full_tuning_keeps_every_input_of_a_product() -> None:
    """A trained weight needs what it was multiplied with, so more is kept than with adapters."""
    t = 9
    assert saved(training(tuning=FullTuning()), block(1), t) > saved(training(), block(1), t)
