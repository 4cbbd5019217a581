"""Meters against counts that can be done by hand."""

import gc

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import save

from fedsim.runtime.meter import MemoryMeter, message_payload_bytes, metered
from tiny import CPU


def test_one_matrix_product_is_counted_in_full() -> None:
    """(3, 4) times (4, 5): 3 x 4 x 5 multiply-adds, two FLOPs each."""
    one, other = torch.randn(3, 4), torch.randn(4, 5)
    with metered(CPU, counts_flop=True) as reading:
        one @ other

    assert reading.flop == 2 * 3 * 4 * 5


def test_a_backward_pass_is_counted_by_its_products() -> None:
    """Forward and the gradient of each factor: three products of 120 FLOPs."""
    one = torch.randn(3, 4, requires_grad=True)
    other = torch.randn(4, 5, requires_grad=True)
    with metered(CPU, counts_flop=True) as reading:
        torch.autograd.backward((one @ other).sum())

    assert reading.flop == 3 * 120


def test_elementwise_work_is_not_counted() -> None:
    """Sums, softmax and dropout are no matrix products."""
    x = torch.randn(6, 7)
    with metered(CPU, counts_flop=True) as reading:
        torch.nn.functional.dropout(torch.softmax(x + x, -1).sum(0))

    assert reading.flop == 0


def test_each_reading_counts_its_own_block() -> None:
    """Nothing is carried over from an earlier one."""
    one, other = torch.randn(3, 4), torch.randn(4, 5)
    readings = []
    for _ in range(2):
        with metered(CPU, counts_flop=True) as reading:
            one @ other
        readings.append(reading.flop)

    assert readings == [120, 120]


def test_without_counting_only_time_is_read() -> None:
    """A timed run pays for no counting."""
    with metered(CPU) as reading:
        torch.randn(3, 4) @ torch.randn(4, 5)

    assert reading.flop == 0
    assert reading.seconds > 0


@pytest.mark.parametrize("names", [[], ["x"], ["a longer name", "y", "é"]])
def test_payload_is_read_off_the_message_itself(names: list[str]) -> None:
    """However long the header, what is left is the tensors' data."""
    tensors = {name: torch.randn(2, index + 3) for index, name in enumerate(names)}
    data = sum(tensor.numel() * 4 for tensor in tensors.values())

    assert message_payload_bytes(save(tensors)) == data


def test_memory_counts_an_allocation_and_its_freeing() -> None:
    """1000 floats are 4000 B while they live, and stay in the peak."""
    meter = MemoryMeter()
    with meter:
        tensor = torch.zeros(1000)
    assert meter.live_bytes == meter.peak_bytes == 4000

    del tensor
    gc.collect()
    assert (meter.live_bytes, meter.peak_bytes) == (0, 4000)


def test_the_peak_is_what_lived_at_once() -> None:
    """Three tensors one after the other take the room of one; together that of three."""
    meter = MemoryMeter()
    with meter:
        for _ in range(3):
            tensor = torch.zeros(1000)
            del tensor
    assert meter.peak_bytes == 4000

    with meter:
        tensors = [torch.zeros(1000) for _ in range(3)]
    assert meter.peak_bytes == 12_000
    assert len(tensors) == 3


def test_views_and_in_place_operations_take_no_memory() -> None:
    """Storages are counted, each once."""
    meter = MemoryMeter()
    with meter:
        tensor = torch.zeros(10, 100)
        views = [tensor[2:5], tensor.T, tensor.reshape(1000), tensor.add_(1)]

    assert meter.live_bytes == 4000
    assert len(views) == 4


def test_what_was_there_before_is_not_counted() -> None:
    """Weights that an operation reads, views or writes in place are not its allocations."""
    weights = torch.zeros(10, 100)
    meter = MemoryMeter()
    with meter:
        views = [weights[1], weights.mul_(2), weights.view(-1)]
    assert meter.peak_bytes == 0
    assert len(views) == 3


def test_a_graph_goes_on_counting_after_its_block() -> None:
    """A client's activations live until its gradients come, in a later block of the same meter."""
    weight = torch.randn(8, 8, requires_grad=True)
    meter = MemoryMeter()
    with meter:
        loss = (torch.tanh(weight @ weight)).sum()
    held = meter.live_bytes
    assert held >= 8 * 8 * 4

    with meter:
        torch.autograd.backward(loss)
    del loss
    gc.collect()
    # The gradient alone is left.
    assert meter.live_bytes == 8 * 8 * 4


def test_memory_and_flops_are_metered_together() -> None:
    """Neither meter hides the other's operations."""
    meter = MemoryMeter()
    one, other = torch.randn(3, 4), torch.randn(4, 5)
    with metered(CPU, counts_flop=True, memory=meter) as reading:
        product = one @ other

    assert reading.flop == 120
    assert meter.live_bytes == product.numel() * 4
