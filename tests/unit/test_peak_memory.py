"""Peak memory of a server that holds what unequal clients sent."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.analytic import server_peak_bytes
from fedsim.analytic.peak_memory import Sender
from fedsim.cost.duration import operation_regime
from fedsim.protocol import fedllm, split_fedllm
from fedsim.protocol.operation import (
    Aggregate,
    Content,
    Distill,
    InferLogits,
    Part,
    ProcessKnowledge,
    Replace,
    Train,
)
from fedsim.protocol.payload import adapter_payload
from fedsim.spec.batch import BatchShape, TextLengths
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, TrainingSpec
from fedsim.spec.tuning import LoraTuning

WHOLE = Part.whole(3)


def sender(rank: int, count: int, build: object = fedllm) -> Sender:
    """Some clients of a rank, cut after one block where the framework cuts."""
    training = TrainingSpec(model("gpt2-tiny"), HeadSpec(num_classes=4), LoraTuning(r=rank))
    plan = ClientPlan(training, (TextLengths(8, 16),), batch_size=4, cut=Cut(1))
    return build(plan), plan, count  # type: ignore[operator]


kinds = st.lists(
    st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(1, 4)), min_size=1, max_size=4
)


@given(kinds, st.integers(0, 12), st.sampled_from([fedllm, split_fedllm]))
def test_kinds_are_the_clients_one_by_one(
    found: list[tuple[int, int]], num_held: int, build: object
) -> None:
    """However clients are grouped, so many of those that need most are held."""
    grouped = [sender(rank, count, build) for rank, count in found]
    single = [sender(rank, 1, build) for rank, count in found for _ in range(count)]
    protocol, plan, _ = grouped[0]
    one = server_peak_bytes(protocol, plan, grouped, num_held)
    assert one == server_peak_bytes(protocol, plan, single, num_held)


@given(kinds)
def test_each_further_contribution_is_the_largest_that_is_left(
    found: list[tuple[int, int]],
) -> None:
    """A server that only averages holds what has come, the largest first."""
    senders = [sender(rank, count) for rank, count in found]
    sizes = sorted(
        (
            adapter_payload(plan.training, WHOLE).payload_bytes
            for _, plan, count in senders
            for _ in range(count)
        ),
        reverse=True,
    )
    protocol, plan, _ = senders[0]
    peaks = [server_peak_bytes(protocol, plan, senders, held) for held in range(len(sizes) + 2)]
    steps = [after - before for before, after in pairwise(peaks)]
    assert steps == [*sizes, 0]


def test_some_of_each_kind_is_not_what_is_held() -> None:
    """Three of two kinds are the two large ones and a small one, not one and two."""
    senders = [sender(1, 2), sender(8, 2)]
    protocol, plan, _ = senders[0]
    small, large = (adapter_payload(p.training, WHOLE).payload_bytes for _, p, _ in senders)
    three, none = (server_peak_bytes(protocol, plan, senders, held) for held in (3, 0))
    assert three - none == 2 * large + small


@pytest.mark.parametrize(
    ("operation", "regime"),
    [
        (Train(WHOLE, BatchShape.padded(2, 8)), "model"),
        (Distill(WHOLE, BatchShape.padded(2, 8)), "model"),
        (InferLogits(WHOLE, BatchShape.padded(2, 8)), "model"),
        (Aggregate(Content.ADAPTERS, WHOLE), "parameters"),
        (ProcessKnowledge(2, 4), "parameters"),
        (Replace(Content.ADAPTERS, WHOLE), "parameters"),
    ],
)
def test_whatever_passes_texts_through_the_model_is_timed_as_such(
    operation: object, regime: str
) -> None:
    """A pass without gradients too: its coefficients are the model's."""
    assert operation_regime(operation) == regime  # type: ignore[arg-type]
