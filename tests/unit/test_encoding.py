"""What codecs make of messages, counted: bytes, work, memory, and what they are refused for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from fedsim.codec import CODECS, Identity
from fedsim.cost.duration import pack_seconds, unpack_seconds
from fedsim.cost.memory import knowledge_bytes
from fedsim.cost.work import pack_work, unpack_work
from fedsim.errors import ProtocolError, ScenarioError
from fedsim.fleet.overlap import can_stream
from fedsim.protocol import FEDLLM, FRAMEWORKS, KD_FEDLLM
from fedsim.protocol.encoding import encoded_payload
from fedsim.protocol.payload import Payload
from fedsim.protocol.privacy import masked_values, with_privacy
from fedsim.protocol.step import Compute, Direction, Gather, Once, Protocol, Transfer, leaf_steps
from fedsim.spec.batch import TextLengths
from fedsim.spec.codec import Codec, CodecFacts, Codecs, CodecWork, Encoding
from fedsim.spec.device import CODEC_FEATURES, FEATURES, DeviceSpec
from fedsim.spec.device_catalogue import device
from fedsim.spec.message import Content, TensorSpec
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, Numerics, TrainingSpec
from fedsim.spec.privacy import PrivacySpec
from fedsim.spec.tuning import FullTuning, LoraTuning
from toy_codecs import Delta, Largest, named_codecs

_TEXT = TextLengths(4, 8)
_NO_WORK = CodecWork()
PLAN = ClientPlan(
    TrainingSpec(model("gpt2-tiny"), HeadSpec(num_classes=4), LoraTuning(r=2)),
    (_TEXT,),
    _TEXT,
    batch_size=2,
    cut=Cut(1),
)
PLAIN = Payload(
    Content.ADAPTERS, (TensorSpec("a", (10, 4), "float32"), TensorSpec("places", (3,), "int32"))
)


def encoded(codec: Codec, payload: Payload = PLAIN) -> Payload:
    return encoded_payload(payload, Encoding(payload.content, Direction.UP, "mine", codec))


def transfers(protocol: Protocol) -> list[Transfer]:
    return [
        step
        for segment in (*protocol.setup, *protocol.round)
        if not isinstance(segment, Gather)
        for _, step in leaf_steps(segment.steps)
        if isinstance(step, Transfer)
    ]


class TestPayload:
    def test_the_wire_is_counted_and_the_plain_tensors_stand_beside(self) -> None:
        """Ten values of forty with their places; whole numbers arrive as they are."""
        found = encoded(Largest())
        assert [(t.name, t.shape, t.dtype) for t in found.tensors] == [
            ("a", (10,), "float32"),
            ("a:places", (10,), "int32"),
            ("places", (3,), "int32"),
        ]
        assert found.payload_bytes == 10 * 8 + 3 * 4
        assert found.plain_bytes == 40 * 4 + 3 * 4
        assert [t.name for t in found.encoded] == ["a"]

    def test_what_changes_nothing_leaves_the_payload_alone(self) -> None:
        """Identity, and a cast to the format that is there already."""
        assert encoded(Identity()) is PLAIN
        assert encoded(CODECS["float32"]) is PLAIN

    def test_a_memory_is_not_left_out(self) -> None:
        """Its message has the tensor's own shape and format, and other values."""
        assert encoded(Delta()).codec == Delta()
        assert encoded(Delta()).tensors == PLAIN.tensors

    @pytest.mark.parametrize("name", sorted(FRAMEWORKS))
    def test_frameworks_know_of_none(self, name: str) -> None:
        """Every floating-point message of a round is halved; all others stay."""
        plain = transfers(FRAMEWORKS[name](PLAN))
        half = replace(
            PLAN, training=replace(PLAN.training, numerics=Numerics(payload_dtype="float16"))
        )
        for before, after in zip(plain, transfers(FRAMEWORKS[name](half)), strict=True):
            if before.payload.content in (Content.BASE_WEIGHTS, Content.PUBLIC_TEXT):
                assert after == before
                continue
            assert [t.name for t in after.payload.tensors] == [
                t.name for t in before.payload.tensors
            ]
            for one, other in zip(before.payload.tensors, after.payload.tensors, strict=True):
                assert other.dtype == ("float16" if one.dtype == "float32" else one.dtype)

    def test_each_way_has_its_own(self) -> None:
        """Named ones ahead of the plan's format."""
        plan = replace(
            PLAN,
            training=replace(PLAN.training, numerics=Numerics(payload_dtype="float16")),
            codecs=named_codecs(adapters=("bfloat16", "identity")),
        )
        dtypes = {t.label: t.payload.tensors[0].dtype for t in transfers(FEDLLM(plan))}
        assert dtypes == {"setup": "float32", "a1": "float32", "a3": "bfloat16"}

    def test_adapters_are_kept_in_32_bits_beside_16_bit_weights(self) -> None:
        """So they are cast, and the activations are there in 16 bits already."""
        numerics = Numerics("bfloat16", "bfloat16", "bfloat16")
        plan = replace(PLAN, training=replace(PLAN.training, numerics=numerics))
        found = {t.label: t.payload for t in transfers(FRAMEWORKS["split_fedllm"](plan))}
        assert found["cc1"].codec == CODECS["bfloat16"]
        assert found["c2"].codec is None
        full = replace(plan, training=replace(plan.training, tuning=FullTuning()))
        assert all(t.payload.codec is None for t in transfers(FEDLLM(full)))

    def test_what_is_encoded_is_not_encoded_again(self) -> None:
        """A protocol that goes through twice is the same."""
        plan = replace(PLAN, codecs=named_codecs(adapters=("largest", "delta")))
        once = FEDLLM(plan)
        assert replace(FEDLLM, build=lambda _: once)(plan) == once


class TestWork:
    def test_a_cast_reads_and_writes_at_both_ends(self) -> None:
        """40 values, 4 B read and 2 B written, one operator; the labels are not touched."""
        sent, received = (
            pack_work(encoded(CODECS["float16"])),
            unpack_work(encoded(CODECS["float16"])),
        )
        assert (sent.encoded_bytes, sent.decoded_bytes, sent.num_codec_kernels) == (240, 0, 1)
        assert (received.encoded_bytes, received.decoded_bytes) == (0, 240)
        assert received.num_codec_kernels == 1

    def test_without_a_word_a_codec_passes_once(self) -> None:
        """Reads 160 B, writes 80, in two operators for its two tensors."""
        work = pack_work(encoded(Largest()))
        assert (work.encoded_bytes, work.num_codec_kernels) == (160 + 80, 2)

    @pytest.mark.parametrize("name", ["float16", "identity"])
    def test_seconds_at_both_ends(self, name: str) -> None:
        """Nothing for the identity; else what bytes and operators cost, beside half the packing."""
        seconds = dict.fromkeys(FEATURES, 0.0)
        seconds |= {"packed_bytes": 1.0, "encoded_bytes": 10.0, "num_codec_kernels": 1e4}
        seconds |= {"unpacked_bytes": 2.0, "decoded_bytes": 20.0}
        spec = DeviceSpec("toy", seconds, relative_sigma=0.1)
        payload = encoded(CODECS[name])
        acts = name == "float16"
        assert pack_seconds(payload, spec) == payload.payload_bytes + acts * (2400 + 1e4)
        assert unpack_seconds(payload, spec) == 2 * payload.payload_bytes + acts * (4800 + 1e4)


class TestDevice:
    def test_an_unmeasured_codec_is_never_free(self) -> None:
        """Elementwise work's price, and a wide interval; measured ones stay as they are."""
        old = DeviceSpec("old", {"moved_bytes": 2.0, "num_kernels": 3.0}, relative_sigma=0.1)
        assert [old.seconds_per_unit[name] for name in CODEC_FEATURES] == [2.0, 2.0, 3.0]
        assert old.is_encoding_estimated
        assert old.ratios_95("codec") == (0.5, 2.0)
        assert replace(old, name="same").is_encoding_estimated
        new = DeviceSpec("new", dict.fromkeys(CODEC_FEATURES, 1.0), relative_sigma=0.1)
        assert not new.is_encoding_estimated
        assert new.ratios_95("codec") == new.ratios_95("model")

    def test_the_ends_of_the_interval_move_codecs_by_their_own(self) -> None:
        """Not by the messages'."""
        spec = DeviceSpec(
            "new",
            {
                "encoded_bytes": 1.0,
                "decoded_bytes": 1.0,
                "num_codec_kernels": 1.0,
                "packed_bytes": 1.0,
            },
            relative_sigma=0.1,
            interval_95={"codec": (0.25, 4.0), "message": (0.5, 2.0)},
        )
        assert spec.at_end(1).seconds_per_unit["encoded_bytes"] == 4.0
        assert spec.at_end(1).seconds_per_unit["packed_bytes"] == 2.0

    def test_a_data_sheet_says_it_by_the_memory_rate(self) -> None:
        """As of elementwise work."""
        spec = device("a100-80g-sxm")
        assert spec.seconds_per_unit["encoded_bytes"] == spec.seconds_per_unit["moved_bytes"] > 0
        assert not spec.is_encoding_estimated


class TestMemory:
    def test_a_codec_saves_bytes_on_the_link_and_none_in_memory(self) -> None:
        """Logits are held as they were before they were sent."""
        half = replace(PLAN, codecs=named_codecs(logits=("float16", "largest")))
        assert knowledge_bytes(half, 3) == knowledge_bytes(PLAN, 3)


class TestPrivacy:
    def test_casts_add_up_in_their_own_bits(self) -> None:
        """Sixteen instead of 32, and the logarithm of the number of clients."""
        spec = PrivacySpec(secure_aggregation="secagg")

        def masked(plan: ClientPlan) -> TensorSpec:
            protocol = with_privacy(FEDLLM, spec, 4)(plan)
            (found,) = [t for t in transfers(protocol) if t.label == "a3"]
            return found.payload.tensors[0]

        num = masked_values(with_privacy(FEDLLM, spec, 4)(PLAN))
        half = replace(PLAN, codecs=named_codecs(adapters=("bfloat16", None)))
        assert masked(PLAN).num_bytes == -(-num * (32 + 2) // 8)
        assert masked(half).num_bytes == -(-num * (16 + 2) // 8)

    @pytest.mark.parametrize("name", ["largest", "delta"])
    @pytest.mark.parametrize("noise", [False, True])
    def test_what_does_not_add_up_is_refused(self, name: str, noise: bool) -> None:
        """By what the codec says of itself, not by the letters of a format."""
        spec = PrivacySpec(differential_privacy="local") if noise else PrivacySpec("secagg")
        plan = replace(PLAN, codecs=named_codecs(adapters=(name, None)))
        with pytest.raises(ProtocolError, match="do not add up value by value"):
            with_privacy(FEDLLM, spec, 4)(plan)

    def test_the_way_down_may_have_any(self) -> None:
        """Only what is summed is masked."""
        plan = replace(PLAN, codecs=named_codecs(adapters=(None, "largest")))
        protocol = with_privacy(FEDLLM, PrivacySpec("secagg"), 4)(plan)
        assert [t.payload.codec for t in transfers(protocol) if t.label == "a1"] == [Largest()]


def test_only_what_sees_values_one_by_one_is_streamed() -> None:
    """A cast can be sent while it is computed; what sorts or remembers cannot."""
    logits = replace(PLAIN, content=Content.LOGITS)
    assert can_stream(logits)
    assert can_stream(encoded(CODECS["float16"], logits))
    assert not can_stream(encoded(Largest(), logits))
    assert not can_stream(encoded(Delta(), logits))


def test_a_peak_of_memory_does_not_see_the_codec() -> None:
    """Received adapters are held decoded."""
    from fedsim.analytic.peak_memory import server_peak_bytes

    def peak(plan: ClientPlan) -> int:
        protocol = FEDLLM(plan)
        return server_peak_bytes(protocol, plan, [(protocol, plan, 5)])

    assert peak(replace(PLAN, codecs=named_codecs(adapters=("float16", "largest")))) == peak(PLAN)


@dataclass(frozen=True)
class Broken(Codec):
    """Gives what it is told to."""

    given: Any = ()
    work: Any = _NO_WORK

    @property
    def facts(self) -> CodecFacts:
        return CodecFacts()

    def on_wire(self, tensor: TensorSpec) -> tuple[TensorSpec, ...]:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given  # type: ignore[no-any-return]

    def encoding_work(self, tensor: TensorSpec) -> CodecWork:
        return self.work  # type: ignore[no-any-return]

    def decoding_work(self, tensor: TensorSpec) -> CodecWork:
        return self.work  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        (Broken(ValueError("what\nis this")), "fails on 'a' .* ValueError: what is this"),
        (Broken(3), "fails on 'a' .* TypeError"),
        (Broken(()), "at least one is needed"),
        (Broken(("x",)), "makes 'x' of 'a'"),
        (Broken((TensorSpec("a", (1,), "int3"),)), "allowed: a TensorSpec in one of"),
        (Broken((TensorSpec("b", (1,), "uint8"),)), "would not know what it belongs to"),
        (Broken((TensorSpec("a", (1,), "uint8"),) * 2), "a name of its own"),
        (Broken((TensorSpec("a", (1,), "uint8"),), CodecWork(-1)), "0 or more"),
    ],
)
def test_a_users_mistake_is_said_in_one_line(codec: Codec, words: str) -> None:
    """With the codec's name and the tensor's."""
    with pytest.raises(ProtocolError, match=words) as caught:
        encoded(codec)
    assert "codec 'mine'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_must_arrive_as_it_is_has_no_codec() -> None:
    """Base weights, labels' companions, keys."""
    with pytest.raises(ScenarioError, match="must arrive as it is"):
        Encoding(Content.BASE_WEIGHTS, Direction.DOWN, "float16", CODECS["float16"])


def test_one_codec_a_message() -> None:
    """Two of one content and way are a mistake."""
    one = Encoding(Content.LOGITS, Direction.UP, "float16", CODECS["float16"])
    with pytest.raises(ScenarioError, match="two codecs"):
        Codecs((one, replace(one, name="bfloat16")))


def test_the_server_averages_plain_logits() -> None:
    """Its work is of the values, whatever came over the link."""
    plan = replace(PLAN, codecs=named_codecs(logits=("largest", "float16")))

    def processed(found: Protocol) -> list[Compute]:
        once = [s for s in found.round if isinstance(s, Once)]
        return [step for s in once for step in s.steps if getattr(step, "label", "") == "b4"]  # type: ignore[misc]

    assert processed(KD_FEDLLM(plan)) == processed(KD_FEDLLM(PLAN))
