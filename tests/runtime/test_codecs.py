"""Codecs in real runs: what arrives, what both ends keep, and what a codec of one's own may do."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from fedsim.codec import CODECS
from fedsim.errors import ProtocolError
from fedsim.planning import ByRound
from fedsim.protocol.step import Transfer
from fedsim.runtime.channel import Message
from fedsim.runtime.executor import Executor
from fedsim.runtime.federation import Federation
from fedsim.spec.codec import UNNAMED, Codec, Codecs, Encoding
from fedsim.spec.message import Content, Direction, TensorSpec
from fedsim.spec.plan import Cut
from tiny import RoundSettings, tiny_federation, tiny_training
from toy_codecs import TOY_CODECS, named_codecs

FRAMEWORKS = ("fedllm", "kd_fedllm", "split_fedllm")
CONTENTS = ("adapters", "logits", "activations", "activation_gradients")


def federation(framework: str, codecs: Codecs = UNNAMED, **choices: Any) -> Federation:
    """Two clients with a few short texts."""
    return tiny_federation(
        framework,
        tiny_training(),
        RoundSettings(
            batch_size=2, cut=Cut(1) if framework == "split_fedllm" else None, codecs=codecs
        ),
        clients={"ann": (4, 9, 1), "bob": (3, 8)},
        public=(3, 4, 5) if framework == "kd_fedllm" else None,
        **choices,
    )


def ran(found: Federation, num_rounds: int = 2) -> Executor:
    executor = found.executor(counts_flop=False)
    found.run_setup(executor)
    for index in range(1, num_rounds + 1):
        found.run_round(executor, index)
    return executor


def learned(found: Federation) -> dict[str, Tensor]:
    return found.server.trainer.adapters(with_head=True)


def everywhere(up: str, down: str) -> Codecs:
    return named_codecs(**dict.fromkeys(CONTENTS, (up, down)))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_identity_is_the_plain_run(framework: str) -> None:
    """Bit by bit, in what is learned and in what is counted; and a cast is not."""
    plain, same = federation(framework), federation(framework, everywhere("identity", "identity"))
    cast = federation(framework, everywhere("bfloat16", "bfloat16"))
    rows = [ran(each).ledger.rows for each in (plain, same, cast)]
    for key, row in rows[0].items():
        assert row.uplink_message_bytes == rows[1][key].uplink_message_bytes
        assert row.downlink_message_bytes == rows[1][key].downlink_message_bytes
    expected = learned(plain)
    assert all(torch.equal(tensor, expected[n]) for n, tensor in learned(same).items())
    assert not all(torch.equal(tensor, expected[n]) for n, tensor in learned(cast).items())


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_both_ends_keep_the_same(framework: str) -> None:
    """What a delta codec's sender takes for the last message is what its receiver has."""
    found = federation(framework, everywhere("delta", "delta"))
    ran(found, num_rounds=3)
    for client_id, client in found.clients.items():
        own, other = client.codecs.tensors(), found.server.codecs[client_id].tensors()
        assert own.keys() == other.keys()
        assert own
        assert all(torch.equal(own[name], other[name]) for name in own)


def test_a_delta_is_learned_from_like_the_whole() -> None:
    """Sums of differences, so equal but for rounding."""
    plain, delta = federation("fedllm"), federation("fedllm", everywhere("delta", "delta"))
    ran(plain)
    ran(delta)
    expected = learned(plain)
    for name, tensor in learned(delta).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)


def test_a_changed_setting_changes_the_next_message() -> None:
    """From the second round on, half of the bytes up; and as many as before down."""
    later = named_codecs(adapters=("float16", None))
    found = federation("fedllm", schedules=(ByRound("codecs", (2,), (later,)),))
    rows = {(k.round_index, k.step): row for k, row in ran(found).ledger.rows.items()
            if k.party == "ann"}  # fmt: skip
    assert 2 * rows[2, "a3"].uplink_payload_bytes == rows[1, "a3"].uplink_payload_bytes > 0
    assert rows[2, "a1"].downlink_payload_bytes == rows[1, "a1"].downlink_payload_bytes


@pytest.mark.parametrize("name", ["identity", "float16", "bfloat16", *TOY_CODECS])
def test_what_a_codec_makes_is_what_it_says(name: str) -> None:
    """Names, shapes and formats on the wire; shape and format of what comes out."""
    codec = {**CODECS, **TOY_CODECS}[name]
    tensor = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    wire = codec.encode("x", tensor, {})
    found = {(n, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in wire.items()}
    said = {(t.name, t.shape, t.dtype) for t in codec.on_wire(TensorSpec("x", (3, 5), "float32"))}
    assert found == said
    like = torch.empty(3, 5, device="meta")
    back = codec.decode("x", wire, like, {})
    assert (back.shape, back.dtype) == (tensor.shape, tensor.dtype)
    kept = back != 0
    torch.testing.assert_close(back[kept], tensor[kept], rtol=1e-2, atol=0.0)


@dataclass(frozen=True)
class Broken(Codec):
    """Fails at one of its ends, or sends another tensor than it says."""

    where: str

    def on_wire(self, tensor: TensorSpec) -> tuple[TensorSpec, ...]:
        return (tensor,)

    def encode(
        self, name: str, tensor: Tensor, memory: MutableMapping[str, Tensor]
    ) -> dict[str, Tensor]:
        if self.where == "encode":
            raise ValueError("not today\nand not tomorrow")
        return {name: tensor}

    def decode(
        self,
        name: str,
        wire: Mapping[str, Tensor],
        like: Tensor,
        memory: MutableMapping[str, Tensor],
    ) -> Tensor:
        return wire["nowhere" if self.where == "decode" else name]


@pytest.mark.parametrize("where", ["encode", "decode"])
def test_a_users_mistake_is_theirs(where: str) -> None:
    """With the codec, the function and the tensor."""
    broken = Broken(where)
    codecs = Codecs((Encoding(Content.ADAPTERS, Direction.UP, "mine", broken),))
    with pytest.raises(ProtocolError, match=f"Broken.*{where} fails on '.*lora_A") as caught:
        ran(federation("fedllm", codecs))
    assert "\n" not in str(caught.value)


def test_a_message_is_decoded_by_the_step_that_it_belongs_to() -> None:
    """The server takes nothing for what the protocol does not say."""
    found = federation("fedllm", everywhere("float16", "float16"))
    protocol = found.protocols(1)["ann"]
    (transfer,) = [s for s in protocol.round[0].steps  # type: ignore[union-attr]
                   if isinstance(s, Transfer) and s.direction is Direction.DOWN]  # fmt: skip
    found.server.expect("ann", transfer)
    coded = found.server.handle(Message("ann", "a1", Content.ADAPTERS)).body
    plain = found.server.handle(Message("ann", "a1", Content.ADAPTERS)).body
    assert len(coded) < 0.7 * len(plain)
