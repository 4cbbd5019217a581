"""Messages: what goes in comes out, and a message is as large as what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from fedsim.protocol.operation import Content
from fedsim.protocol.payload import Payload, TensorSpec
from fedsim.runtime.channel import InProcessChannel, Message, deserialize, serialize
from fedsim.spec.dtype import DTYPE_BYTES
from tiny import CPU

tensors = st.dictionaries(
    st.text("abc.é", min_size=1, max_size=8),
    st.tuples(st.lists(st.integers(0, 4), max_size=3), st.sampled_from(sorted(DTYPE_BYTES))),
    max_size=5,
).map(
    lambda found: {
        name: (torch.randn(shape) * 50).to(getattr(torch, dtype))
        if not dtype.startswith("uint")
        else torch.randint(0, 200, shape).to(getattr(torch, dtype))
        for name, (shape, dtype) in found.items()
    }
)


@given(tensors)
def test_a_message_brings_the_tensors_that_were_sent(sent: dict[str, torch.Tensor]) -> None:
    """Names, shapes, formats and values, bit by bit; scalars and empty tensors too."""
    received = deserialize(serialize(sent), CPU)

    assert received.keys() == sent.keys()
    for name, tensor in sent.items():
        assert received[name].dtype == tensor.dtype
        assert received[name].shape == tensor.shape
        assert torch.equal(received[name], tensor)


@given(tensors)
def test_a_message_is_as_long_as_its_payload_says(sent: dict[str, torch.Tensor]) -> None:
    """The buffer's length is the payload's message bytes, whatever is sent."""
    specs = tuple(
        TensorSpec(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in sent.items()
    )

    assert len(serialize(sent)) == Payload(Content.LOGITS, specs).message_bytes


@given(tensors)
def test_equal_tensors_make_equal_messages(sent: dict[str, torch.Tensor]) -> None:
    """The order of insertion leaves no trace, so a run can be made again bit by bit."""
    assert serialize(dict(reversed(list(sent.items())))) == serialize(sent)


def test_a_view_is_sent_without_the_rest_of_its_storage() -> None:
    """Four rows out of a thousand weigh four rows."""
    table = torch.randn(1000, 8)
    body = serialize({"rows": table[3:7]})

    assert len(body) < 4 * 8 * 4 + 200
    assert torch.equal(deserialize(body, CPU)["rows"], table[3:7])


def test_views_of_one_storage_are_sent_as_tensors_of_their_own() -> None:
    """The format refuses shared memory; what is sent is data, not addresses."""
    table = torch.arange(12.0).reshape(3, 4)
    sent = {"whole": table, "column": table[:, 1], "transposed": table.T, "again": table}

    received = deserialize(serialize(sent), CPU)

    for name, tensor in sent.items():
        assert torch.equal(received[name], tensor), name


def test_a_received_tensor_is_no_view_of_what_was_sent() -> None:
    """Sender and receiver may both go on training."""
    sent = torch.zeros(3)
    received = deserialize(serialize({"x": sent}), CPU)["x"]
    received += 1

    assert torch.equal(sent, torch.zeros(3))


def test_what_is_sent_carries_no_graph() -> None:
    """A message of parameters has their values and no history."""
    parameter = torch.nn.Parameter(torch.ones(2))
    received = deserialize(serialize({"p": parameter * 2}), CPU)["p"]

    assert not received.requires_grad
    assert torch.equal(received, torch.tensor([2.0, 2.0]))


def test_a_channel_brings_the_question_there_and_the_answer_back() -> None:
    """Each request reaches the server once and unchanged."""
    seen: list[Message] = []

    def handle(message: Message) -> Message:
        seen.append(message)
        return Message(message.client_id, message.label, message.content, b"answer")

    question = Message("ann", "a3", "adapters", b"question")
    reply = InProcessChannel(handle).request(question)

    assert seen == [question]
    assert reply == Message("ann", "a3", "adapters", b"answer")
