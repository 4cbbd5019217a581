"""What each message carries: names, shapes, and sizes to the byte."""

import itertools
from math import prod
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.protocol.encoding import encoded_payload, encoding_of
from fedsim.protocol.operation import Content, Part
from fedsim.protocol.payload import (
    Payload,
    TensorSpec,
    activation_gradient_payload,
    activation_payload,
    adapter_payload,
    base_weights_payload,
    logits_payload,
    public_text_payload,
    safetensors_header_bytes,
)
from fedsim.protocol.step import Direction
from fedsim.spec.batch import BatchShape, TextLengths
from fedsim.spec.dtype import DTYPE_BYTES, SAFETENSORS_CODE
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, Numerics, TrainingSpec
from fedsim.spec.tuning import FullTuning, LoraTuning
from shapes import tiny_shape

GPT2 = model("gpt2")
WHOLE = Part.whole(12)
LANGUAGE_MODEL = HeadSpec("language_model")


def gpt2_training(r: int = 8, **changes: Any) -> TrainingSpec:
    """The article's case study: GPT-2, LoRA on ``c_attn``, 77 classes."""
    return TrainingSpec(
        **({"model": GPT2, "head": HeadSpec(), "tuning": LoraTuning(r=r)} | changes)
    )


def gpt2_plan(
    training: TrainingSpec | None = None, *, public_text: TextLengths | None = None, **changes: Any
) -> ClientPlan:
    """A plan with 1667 texts of 80 tokens."""
    return ClientPlan(
        training=training or gpt2_training(),
        train_epochs=(TextLengths(1667, 80),),
        public_text=public_text,
        **changes,
    )


# Any character but lone surrogates, which have no UTF-8: quotes, controls, non-ASCII.
names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)
shapes = st.lists(st.integers(0, 12), max_size=3).map(tuple)
dtypes = st.sampled_from(sorted(DTYPE_BYTES))
tensor_dicts = st.dictionaries(names, st.tuples(shapes, dtypes), max_size=30)


def specs(tensors: dict[str, tuple[tuple[int, ...], str]]) -> tuple[TensorSpec, ...]:
    """The dictionary as tensors of a payload."""
    return tuple(TensorSpec(name, shape, dtype) for name, (shape, dtype) in tensors.items())


@settings(max_examples=200)
@given(tensor_dicts)
def test_a_message_is_as_long_as_the_library_writes_it(
    tensors: dict[str, tuple[tuple[int, ...], str]],
) -> None:
    """Payload plus framing is the length of the buffer that safetensors makes."""
    torch = pytest.importorskip("torch")
    save = pytest.importorskip("safetensors.torch").save
    real = {
        name: torch.zeros(shape, dtype=getattr(torch, dtype))
        for name, (shape, dtype) in tensors.items()
    }

    assert Payload(Content.LOGITS, specs(tensors)).message_bytes == len(save(real))


@given(tensor_dicts)
def test_framing_follows_its_closed_form(
    tensors: dict[str, tuple[tuple[int, ...], str]],
) -> None:
    """8 + 8 ceil((2 + commas + sum of entries) / 8), entry by entry as the format prints it."""
    order = ("I64", "F64", "F32", "I32", "BF16", "F16", "U16", "U8")
    ordered = sorted(
        specs(tensors), key=lambda t: (order.index(SAFETENSORS_CODE[t.dtype]), t.name.encode())
    )
    text_bytes, offset = 2 + max(len(tensors) - 1, 0), 0
    for tensor in ordered:
        end = offset + tensor.num_bytes
        # 45 is what never changes of "name":{"dtype":"","shape":[],"data_offsets":[,]}, colons and
        # quotes included.
        text_bytes += 45 + json_bytes(tensor.name) + len(SAFETENSORS_CODE[tensor.dtype])
        text_bytes += sum(len(str(n)) for n in tensor.shape) + max(len(tensor.shape) - 1, 0)
        text_bytes += len(str(offset)) + len(str(end))
        offset = end

    assert safetensors_header_bytes(specs(tensors)) == 8 + 8 * -(-text_bytes // 8)


def json_bytes(name: str) -> int:
    """UTF-8 bytes of a name between JSON's quotes."""
    total = 0
    for character in name:
        if character in '"\\\b\f\n\r\t':
            total += 2
        elif ord(character) < 0x20:
            total += 6
        else:
            total += len(character.encode())
    return total


@given(tensor_dicts, st.randoms())
def test_framing_does_not_depend_on_the_order_of_tensors(
    tensors: dict[str, tuple[tuple[int, ...], str]], random: Any
) -> None:
    """A message is one size however its tensors were put into it."""
    shuffled = list(specs(tensors))
    random.shuffle(shuffled)

    assert safetensors_header_bytes(tuple(shuffled)) == safetensors_header_bytes(specs(tensors))


def test_a_message_of_nothing_is_sixteen_bytes() -> None:
    """Eight bytes of length and '{}' padded to eight."""
    assert Payload(Content.LOGITS, ()).message_bytes == 16


@pytest.mark.parametrize(
    ("r", "num_values", "framing_bytes"),
    [
        (1, 96_000, 3096),
        (2, 132_864, 3096),
        (4, 206_592, 3096),
        (8, 354_048, 3112),
        (16, 648_960, 3152),
        (32, 1_238_784, 3160),
    ],
)
def test_gpt2_adapters_weigh_what_the_article_sends(
    r: int, num_values: int, framing_bytes: int
) -> None:
    """36,864 r + 59,136 values of 4 B in 25 tensors; r = 8: 36,864 x 8 + 77 x 768 = 354,048."""
    payload = adapter_payload(gpt2_training(r), WHOLE)

    assert len(payload.tensors) == 25
    assert num_values == 36_864 * r + 59_136
    assert payload.payload_bytes == 4 * num_values
    assert payload.message_bytes - payload.payload_bytes == framing_bytes


def test_a_private_head_stays_out_of_the_message() -> None:
    """Without the head 59,136 values of 4 B less are sent, and 24 tensors remain."""
    payload = adapter_payload(gpt2_training(8), WHOLE, shares_head=False)

    assert payload.payload_bytes == 4 * 36_864 * 8
    assert len(payload.tensors) == 24


def test_the_head_is_above_every_cut() -> None:
    """A client below a cut sends 3,072 values a rank and block, and never the head."""
    for layer in range(1, 12):
        payload = adapter_payload(gpt2_training(8), Part.below(2 * layer))
        assert payload.payload_bytes == 4 * 3072 * 8 * layer


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_halves_every_payload(dtype: str) -> None:
    """Two bytes a value instead of four, for adapters, logits, activations and gradients."""
    batch = BatchShape.padded(4, 80)
    public = TextLengths(10, 80)

    def sizes(payload_dtype: str) -> list[int]:
        numerics = Numerics(payload_dtype=payload_dtype)  # type: ignore[arg-type]
        plan = gpt2_plan(gpt2_training(numerics=numerics), public_text=public, cut=Cut(4))

        def on_wire(payload: Payload) -> Payload:
            encoding = encoding_of(plan, payload.content, Direction.UP)
            assert encoding is not None
            return encoded_payload(payload, encoding)

        return [
            on_wire(adapter_payload(plan.training, WHOLE)).payload_bytes,
            on_wire(logits_payload(plan)).payload_bytes,
            on_wire(activation_payload(plan, batch)).tensors[0].num_bytes,
            on_wire(activation_gradient_payload(plan, batch)).payload_bytes,
        ]

    assert sizes(dtype) == [size // 2 for size in sizes("float32")]


def test_classification_logits_are_one_row_a_sample() -> None:
    """5002 public samples x 77 classes x 4 B = 1,540,616 B, whatever the texts' lengths."""
    padded = gpt2_plan(public_text=TextLengths(5002, 80))
    unpadded = gpt2_plan(public_text=TextLengths(5002, 80, "none", (14,) * 5002))

    assert logits_payload(padded).payload_bytes == 1_540_616
    assert logits_payload(unpadded) == logits_payload(padded)


def test_language_model_logits_are_one_row_a_token() -> None:
    """Padded: N T V; otherwise V values for each real token, cut at max_tokens."""
    training = gpt2_training(head=LANGUAGE_MODEL)
    lengths = (3, 100, 7)
    padded = gpt2_plan(training, public_text=TextLengths(3, 80, "max_tokens", lengths))
    longest = gpt2_plan(training, public_text=TextLengths(3, 80, "longest", lengths))

    assert logits_payload(padded).payload_bytes == 3 * 80 * 50_257 * 4
    assert logits_payload(longest).payload_bytes == (3 + 80 + 7) * 50_257 * 4


def test_an_empty_public_set_sends_nothing() -> None:
    """No logits and no text, but still a message each."""
    plan = gpt2_plan(public_text=TextLengths(0, 80))

    assert logits_payload(plan).tensors == ()
    assert public_text_payload(plan).tensors == ()


def test_public_text_travels_as_small_integers() -> None:
    """GPT-2's ids fit two bytes and positions below 80 one: 5002 x 80 x 2 + 5002 bytes."""
    plan = gpt2_plan(public_text=TextLengths(5002, 80))

    assert public_text_payload(plan).payload_bytes == 5002 * 80 * 2 + 5002


def test_public_text_without_fixed_padding_travels_unpadded() -> None:
    """Padding to the longest of a batch is done by who computes, not sent."""
    lengths = (3, 100, 7)
    plan = gpt2_plan(public_text=TextLengths(3, 80, "longest", lengths))

    assert public_text_payload(plan).payload_bytes == (3 + 80 + 7) * 2 + 3


def test_a_larger_vocabulary_takes_wider_ids() -> None:
    """151,936 tokens (Qwen2) do not fit two bytes, so an id takes four."""
    wide = tiny_shape("qwen2", vocab_size=151_936)
    tuning = LoraTuning(target_modules=("q_proj",), r=2)
    training = TrainingSpec(wide, LANGUAGE_MODEL, tuning)
    plan = ClientPlan(training, (TextLengths(2, 9),), public_text=TextLengths(2, 9))

    assert public_text_payload(plan).tensors[0].dtype == "int32"
    assert activation_payload(plan, BatchShape.padded(2, 9)).tensors[1].dtype == "int32"


def test_a_cut_sends_activations_labels_and_last_tokens() -> None:
    """80 x 768 values of 4 B a sample, one byte for its label and one for its last token."""
    plan = gpt2_plan(cut=Cut(4))
    payload = activation_payload(plan, BatchShape.padded(16, 80))

    assert [tensor.name for tensor in payload.tensors] == ["activations", "labels", "last_index"]
    assert payload.payload_bytes == 16 * (80 * 768 * 4 + 1 + 1)


def test_a_language_model_sends_one_label_a_token() -> None:
    """The server computes the loss of every next token, so it is told them all."""
    plan = gpt2_plan(gpt2_training(head=LANGUAGE_MODEL), cut=Cut(4))

    padded = activation_payload(plan, BatchShape.padded(16, 80))
    unpadded = activation_payload(plan, BatchShape.unpadded([3, 5]))

    assert padded.payload_bytes == 16 * 80 * (768 * 4 + 2) + 16
    assert unpadded.payload_bytes == 8 * (768 * 4 + 2) + 2


def test_gradients_at_the_cut_are_as_large_as_the_activations() -> None:
    """c4 carries one value for each value of c2's activations."""
    plan = gpt2_plan(cut=Cut(4))
    for batch in (BatchShape.padded(16, 80), BatchShape.unpadded([3, 80, 14])):
        up, down = activation_payload(plan, batch), activation_gradient_payload(plan, batch)
        assert down.tensors[0].shape == up.tensors[0].shape
        assert down.payload_bytes == up.tensors[0].num_bytes


def test_the_case_study_s_activations_are_410_megabytes_a_round_and_way() -> None:
    """1667 samples x 80 tokens x 768 values x 4 B = 409,681,920 B."""
    plan = gpt2_plan(cut=Cut(4))
    batch = BatchShape.padded(1667, 80)

    assert activation_gradient_payload(plan, batch).payload_bytes == 409_681_920


def test_gpt2_s_base_weights_are_sent_once_in_full() -> None:
    """124,439,808 values of 4 B: the published parameter count, head and adapters apart."""
    assert base_weights_payload(gpt2_training(), WHOLE).payload_bytes == 4 * 124_439_808


@pytest.mark.parametrize("layer", [1, 4, 11])
def test_a_client_below_a_cut_receives_embeddings_and_its_blocks(layer: int) -> None:
    """4 (50,257 + 1024) 768 B of embeddings and 28.35 MB (7,087,872 values) a block."""
    payload = base_weights_payload(gpt2_training(), Part.below(2 * layer))

    assert payload.payload_bytes == 4 * ((50_257 + 1024) * 768 + 7_087_872 * layer)


def test_halves_of_the_base_weights_make_the_whole() -> None:
    """What goes below a cut and what stays above are all weights, once."""
    whole = base_weights_payload(gpt2_training(), WHOLE).payload_bytes
    for position in range(1, 24):
        below = base_weights_payload(gpt2_training(), Part.below(position)).payload_bytes
        above = base_weights_payload(gpt2_training(), Part.above(position, 12)).payload_bytes
        assert below + above == whole


def test_full_tuning_sends_every_parameter_and_no_base_weights() -> None:
    """Nothing is frozen, so all 124,439,808 + 59,136 values are exchanged every round."""
    training = gpt2_training(tuning=FullTuning())

    assert adapter_payload(training, WHOLE).payload_bytes == 4 * (124_439_808 + 59_136)
    assert base_weights_payload(training, WHOLE).tensors == ()


def test_frozen_weights_travel_in_their_own_format() -> None:
    """Base weights in bfloat16 take half, and leave the adapters' format alone."""
    numerics = Numerics(weights_dtype="bfloat16", compute_dtype="bfloat16")
    training = gpt2_training(numerics=numerics)

    assert base_weights_payload(training, WHOLE).payload_bytes == 2 * 124_439_808
    assert adapter_payload(training, WHOLE).payload_bytes == 4 * 354_048


def test_a_tensor_s_bytes_are_its_values_times_their_width() -> None:
    """Every format and shape, a scalar and an empty tensor among them."""
    for dtype, shape in itertools.product(DTYPE_BYTES, [(), (0, 3), (5,), (2, 3, 4)]):
        assert TensorSpec("x", shape, dtype).num_bytes == prod(shape) * DTYPE_BYTES[dtype]
