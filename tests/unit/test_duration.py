"""Seconds of computing and of sending where nobody queues."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.cost.duration import compute_seconds, operation_seconds, transfer_seconds
from fedsim.cost.work import Work
from fedsim.protocol.operation import Part, Train
from fedsim.protocol.step import Direction
from fedsim.spec.batch import BatchShape
from fedsim.spec.device import FEATURES, DeviceSpec
from fedsim.spec.link import LinkSpec
from fedsim.spec.model import HeadSpec
from fedsim.spec.plan import TrainingSpec
from fedsim.spec.tuning import LoraTuning
from shapes import tiny_shape

UP, DOWN = Direction.UP, Direction.DOWN
MBIT_PER_S = 125_000.0


def link(mbit_per_s: float = 20.0, round_trip_s: float = 0.04, **changes: Any) -> LinkSpec:
    """A link of equal rates."""
    rate = mbit_per_s * MBIT_PER_S
    return LinkSpec("test", rate, rate, round_trip_s, **changes)


links = st.builds(
    lambda up, down, round_trip, trips, window, fraction, message: LinkSpec(
        "any", up, down, round_trip, trips, window, fraction, message
    ),
    st.floats(1e3, 1e10),
    st.floats(1e3, 1e10),
    st.floats(0, 1),
    st.sampled_from([0.0, 1.0, 2.0]),
    st.sampled_from([0, 1460, 14480, 100_000]),
    st.floats(0.5, 1),
    st.floats(0, 0.1),
)
sizes = st.integers(1, 10**10)
directions = st.sampled_from([UP, DOWN])


@pytest.mark.parametrize(("message_bytes", "measured_s"), [(1_180_000, 0.657), (20_000_000, 8.55)])
def test_a_new_connection_takes_the_time_that_was_measured(
    message_bytes: int, measured_s: float
) -> None:
    """20 Mbit/s, 40 ms: ours, and half a round trip for the acknowledgement, within 2.5 %.

    Measured with TCP cubic over a shaped link, from the connection's first packet to the sender's
    learning that all has arrived. Bytes over rate says 0.472 s and 8.0 s.
    """
    seconds = transfer_seconds(message_bytes, UP, link()) + 0.04 / 2

    assert seconds == pytest.approx(measured_s, rel=0.025)


def test_bytes_over_rate_is_a_third_too_fast_for_adapters() -> None:
    """What the handshake and slow start cost is no rounding error: 1.18 MB at 20 Mbit/s."""
    assert transfer_seconds(1_180_000, UP, link()) > 1.3 * 1_180_000 / (20 * MBIT_PER_S)


def test_a_transfer_by_hand() -> None:
    """100 kB at 1 MB/s and 100 ms, all of the rate for messages, a window of 10 kB.

    Handshake 100 ms, sending 100 ms, arrival of the last byte 50 ms. While the window is small the
    sender idles: after 10 kB for 100 - 10 = 90 ms, after 20 kB more for 80 ms, after 40 kB more for
    60 ms; the rest of 30 kB fits. In all 480 ms.
    """
    slow = LinkSpec("hand", 1e6, 1e6, 0.1, 1.0, 10_000, 1.0)

    assert transfer_seconds(100_000, UP, slow) == pytest.approx(0.48)


def test_nothing_is_sent_in_no_time() -> None:
    """A message of no bytes is not sent at all."""
    assert transfer_seconds(0, UP, link()) == 0


def test_directions_have_rates_of_their_own() -> None:
    """The uplink's rate has no part in a download."""
    asymmetric = replace(link(), uplink_bytes_per_s=1e5, downlink_bytes_per_s=1e7)

    assert transfer_seconds(10**6, UP, asymmetric) > transfer_seconds(10**6, DOWN, asymmetric)
    same_down = replace(asymmetric, uplink_bytes_per_s=1e6)
    assert transfer_seconds(10**6, DOWN, same_down) == transfer_seconds(10**6, DOWN, asymmetric)


@given(links, sizes, directions, st.sampled_from([2, 3, 10]))
def test_sizes_and_rates_times_k_leave_the_time_unchanged(
    one: LinkSpec, size: int, direction: Direction, k: int
) -> None:
    """Time knows ratios of bytes and rates only: no unit is hidden in it."""
    scaled = replace(
        one,
        uplink_bytes_per_s=k * one.uplink_bytes_per_s,
        downlink_bytes_per_s=k * one.downlink_bytes_per_s,
        initial_window_bytes=k * one.initial_window_bytes,
    )

    expected = transfer_seconds(size, direction, one)
    assert transfer_seconds(k * size, direction, scaled) == pytest.approx(expected)


@given(links, sizes, directions, st.sampled_from([2, 3, 10]))
def test_slower_clocks_scale_the_time(
    one: LinkSpec, size: int, direction: Direction, k: int
) -> None:
    """Rates over k and all delays times k make every transfer k times longer."""
    slower = replace(
        one,
        uplink_bytes_per_s=one.uplink_bytes_per_s / k,
        downlink_bytes_per_s=one.downlink_bytes_per_s / k,
        round_trip_s=k * one.round_trip_s,
        message_s=k * one.message_s,
    )

    expected = k * transfer_seconds(size, direction, one)
    assert transfer_seconds(size, direction, slower) == pytest.approx(expected)


@given(links, sizes, sizes, directions)
def test_a_larger_message_never_arrives_earlier(
    one: LinkSpec, size: int, more: int, direction: Direction
) -> None:
    """Sending one message of both sizes takes longer than the first alone."""
    assert transfer_seconds(size + more, direction, one) >= transfer_seconds(size, direction, one)


@given(links, sizes, directions, st.floats(0.01, 0.99))
def test_a_slower_link_never_makes_a_message_faster(
    one: LinkSpec, size: int, direction: Direction, factor: float
) -> None:
    """Taking rate away never shortens a transfer."""
    slower = replace(
        one,
        uplink_bytes_per_s=factor * one.uplink_bytes_per_s,
        downlink_bytes_per_s=factor * one.downlink_bytes_per_s,
    )

    faster_s, slower_s = (transfer_seconds(size, direction, each) for each in (one, slower))
    assert slower_s >= faster_s * (1 - 1e-12)


@given(links, sizes, directions)
def test_a_transfer_is_bounded_by_its_rate_and_its_round_trips(
    one: LinkSpec, size: int, direction: Direction
) -> None:
    """At least the bytes at the full rate; at most a round trip more for each doubling."""
    rate = one.uplink_bytes_per_s if direction is UP else one.downlink_bytes_per_s
    sending = size / (rate * one.payload_fraction)
    seconds = transfer_seconds(size, direction, one)

    doublings = (size // max(1, one.initial_window_bytes) + 1).bit_length()
    delays = one.message_s + (one.handshake_round_trips + 0.5 + doublings) * one.round_trip_s
    assert sending <= seconds <= (sending + delays) * (1 + 1e-9)


@given(links, sizes, directions)
def test_a_warm_connection_is_never_slower(one: LinkSpec, size: int, direction: Direction) -> None:
    """Without handshake and slow start what is left is sending, half a round trip, and the ends."""
    warm = replace(one, handshake_round_trips=0.0, initial_window_bytes=0)

    rate = one.uplink_bytes_per_s if direction is UP else one.downlink_bytes_per_s
    expected = size / (rate * one.payload_fraction) + one.round_trip_s / 2 + one.message_s
    assert transfer_seconds(size, direction, warm) == pytest.approx(expected)
    assert transfer_seconds(size, direction, one) >= expected * (1 - 1e-12)


@given(links, st.floats(0.01, 5))
def test_a_longer_round_trip_never_helps(one: LinkSpec, more_s: float) -> None:
    """Latency is paid in the handshake, in slow start and on the way."""
    later = replace(one, round_trip_s=one.round_trip_s + more_s)

    assert transfer_seconds(10**6, UP, later) > transfer_seconds(10**6, UP, one)


# --- computing -----------------------------------------------------------------------------------


def device(**coefficients: float) -> DeviceSpec:
    return DeviceSpec("test", coefficients, relative_sigma=0.1)


amounts = st.lists(st.floats(0, 1e12), min_size=len(FEATURES), max_size=len(FEATURES))


def test_time_is_work_times_seconds_a_unit() -> None:
    """10^9 linear FLOPs at 1 ns each and one call at 5 ms take 1.005 s."""
    work = Work(linear_flop=1e9, num_calls=1.0)

    assert compute_seconds(work, device(linear_flop=1e-9, num_calls=5e-3)) == pytest.approx(1.005)


@given(amounts, amounts)
def test_features_stand_in_the_order_of_the_coefficients(
    values: list[float], rates: list[float]
) -> None:
    """Each amount meets its own coefficient, by name."""
    work = Work(**dict(zip(FEATURES, values, strict=True)))
    total = compute_seconds(work, device(**dict(zip(FEATURES, rates, strict=True))))

    assert total == pytest.approx(
        sum(value * rate for value, rate in zip(values, rates, strict=True))
    )


def test_a_kind_of_work_without_a_coefficient_takes_no_time() -> None:
    """A profile names what it priced."""
    assert compute_seconds(Work(linear_flop=1e9, num_kernels=100), device(num_kernels=1e-5)) == 1e-3


@given(st.integers(1, 64), st.integers(1, 64))
def test_more_samples_never_take_less_time(num_samples: int, more: int) -> None:
    """Every feature of a training step grows with its batch or stays."""
    training = TrainingSpec(tiny_shape(), HeadSpec(), LoraTuning(r=2))
    rates = device(**dict.fromkeys(FEATURES, 1e-9))

    def seconds(samples: int) -> float:
        batch = BatchShape.padded(samples, 9)
        return operation_seconds(Train(Part.whole(3), batch), training, rates)

    assert seconds(num_samples + more) >= seconds(num_samples)


@given(st.floats(0.1, 10))
def test_a_device_k_times_as_slow_takes_k_times_as_long(k: float) -> None:
    """Seconds are linear in the coefficients."""
    training = TrainingSpec(tiny_shape(), HeadSpec(), LoraTuning(r=2))
    operation = Train(Part.whole(3), BatchShape.padded(2, 9))
    rates = dict.fromkeys(FEATURES, 1e-9)
    slower = {name: k * rate for name, rate in rates.items()}

    expected = k * operation_seconds(operation, training, device(**rates))
    assert operation_seconds(operation, training, device(**slower)) == pytest.approx(expected)
