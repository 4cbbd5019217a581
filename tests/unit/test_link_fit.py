"""Known links are found again in noisy, contaminated times; what was not seen is not claimed."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from statistics import median

import pytest

from fedsim.calibration.link.fit import (
    LinkFit,
    fit_link,
    measured_seconds,
    observations,
    pass_noise,
)
from fedsim.calibration.link.sweep import DIRECTIONS, Sample, sweep_plan
from fedsim.cost.duration import transfer_seconds
from fedsim.errors import CalibrationError
from fedsim.protocol.step import Direction
from fedsim.spec.link import LinkSpec

LTE = LinkSpec("lte", 1e6, 2.5e6, 0.04, payload_fraction=1.0, message_s=0.002)
FIBRE = LinkSpec("fibre", 12.5e6, 60e6, 0.012, payload_fraction=1.0, message_s=3e-4)
LAN = LinkSpec("lan", 117e6, 110e6, 1e-4, payload_fraction=1.0, message_s=1e-4)
WIDE = LinkSpec(
    "wide", 5e6, 5e6, 0.1, initial_window_bytes=4 * 1448, payload_fraction=1.0, message_s=0.001
)
LINKS = {link.name: link for link in (LTE, FIBRE, LAN, WIDE)}
PLAN = sweep_plan()


def samples(link: LinkSpec, noise: float = 0.02, contaminated: float = 0.08) -> list[Sample]:
    """What a connector would measure: noise on each message, and some that were disturbed."""
    rng = random.Random(5)

    def disturbed(seconds: float) -> float:
        factor = rng.lognormvariate(0, noise)
        return seconds * factor * (rng.uniform(1.5, 4) if rng.random() < contaminated else 1.0)

    found = []
    for pass_index in range(PLAN.num_passes):
        for size in PLAN.sizes:
            for direction in DIRECTIONS:
                for mode in ("new", "reused", "idle"):
                    if mode == "idle" and size not in PLAN.idle_sizes:
                        continue
                    seconds = measured_seconds(size, direction, link, mode)
                    for _ in range(3 if seconds < 1 else 1):
                        connect_s = disturbed(link.round_trip_s) if mode == "new" else 0.0
                        found.append(
                            Sample(mode, direction, size, pass_index, disturbed(seconds), connect_s)
                        )
    return found


@cache
def fitted(name: str) -> LinkFit:
    """The fit to a known link."""
    found = samples(LINKS[name])
    connect_s = median(s.connect_s for s in found if s.mode == "new")
    return fit_link(observations(found, PLAN.held_out_sizes), connect_s, name)


@pytest.mark.parametrize("name", LINKS)
def test_rates_and_round_trip_are_found_again(name: str) -> None:
    """Within a few per cent, although one message in twelve was disturbed."""
    truth, found = LINKS[name], fitted(name).spec

    assert found.uplink_bytes_per_s == pytest.approx(truth.uplink_bytes_per_s, rel=0.03)
    assert found.downlink_bytes_per_s == pytest.approx(truth.downlink_bytes_per_s, rel=0.03)
    assert found.round_trip_s == pytest.approx(truth.round_trip_s, rel=0.05)
    assert found.handshake_round_trips == pytest.approx(1.0, abs=0.15)
    assert found.message_s == pytest.approx(truth.message_s, abs=0.1 * truth.round_trip_s)


@pytest.mark.parametrize("name", ["lte", "fibre", "wide"])
def test_a_window_that_stalls_is_seen(name: str) -> None:
    """The first window comes out, the usual one exactly where nothing speaks against it."""
    found = fitted(name)

    assert found.is_slow_start_visible
    window = LINKS[name].initial_window_bytes
    assert found.spec.initial_window_bytes == pytest.approx(window, rel=0.15)


def test_a_window_that_never_stalls_is_not_claimed() -> None:
    """Where the path holds less than the first window, no time depends on it."""
    found = fitted("lan")

    assert LAN.round_trip_s * LAN.uplink_bytes_per_s < LAN.initial_window_bytes
    assert not found.is_slow_start_visible
    assert found.spec.initial_window_bytes == 0
    assert found.restarts_after_idle is None


@pytest.mark.parametrize("name", LINKS)
def test_sizes_that_no_fit_saw_are_predicted(name: str) -> None:
    """Held-out sizes, and the true times of sizes between them."""
    found = fitted(name)
    errors = [
        abs(
            transfer_seconds(size, direction, found.spec)
            / transfer_seconds(size, direction, LINKS[name])
            - 1
        )
        for size in (2_000, 30_000, 70_000, 400_000, 3_000_000, 40_000_000)
        for direction in DIRECTIONS
    ]

    assert found.held_out.count > 20
    assert found.held_out.median < 0.03
    assert abs(found.held_out.bias) < 0.03
    assert median(errors) < 0.03
    assert max(errors) < 0.1


def test_a_pause_that_restarts_slow_start_is_told_from_one_that_does_not() -> None:
    """By messages on an open connection, after a pause."""
    assert fitted("lte").restarts_after_idle is True
    warm = [
        replace(s, seconds=measured_seconds(s.size_bytes, Direction(s.direction), LTE, "reused"))
        if s.mode == "idle"
        else s
        for s in samples(LTE)
    ]

    assert fit_link(observations(warm, PLAN.held_out_sizes), 0.04).restarts_after_idle is False


def test_held_out_sizes_do_not_move_the_fit() -> None:
    """Their times may be anything."""
    found = samples(LTE)
    points = observations(found, PLAN.held_out_sizes)
    spoiled = [replace(p, seconds=9 * p.seconds) if p.is_held_out else p for p in points]

    assert fit_link(spoiled, 0.04).spec == fit_link(points, 0.04).spec
    assert fit_link(spoiled, 0.04).held_out.median > 0.8


def test_held_out_sizes_are_known_before_anything_is_measured() -> None:
    """By their place in the plan, and never the smallest."""
    assert PLAN.held_out_sizes == set(PLAN.sizes[1::3])
    assert PLAN.sizes[0] not in PLAN.held_out_sizes


def test_what_a_connector_measures_is_the_models_time_and_half_a_round_trip() -> None:
    """LTE, 1 kB: connect 40 ms, endpoints 2 ms, 1 ms on the wire, out and back 40 ms."""
    assert measured_seconds(1000, Direction.UP, LTE) == pytest.approx(0.083)
    assert measured_seconds(1000, Direction.UP, LTE, "reused") == pytest.approx(0.043)


def test_noise_is_the_difference_of_the_first_and_the_last_pass() -> None:
    """1.1 s after 0.9 s is 20 %."""
    found = [
        Sample("new", "up", 1000, pass_index, seconds, 0.1)
        for pass_index, seconds in enumerate((0.9, 5.0, 1.1))
    ]

    assert pass_noise(found) == pytest.approx([0.2])


def test_too_few_sizes_are_refused() -> None:
    """With the number that is needed."""
    points = [p for p in observations(samples(LTE), frozenset()) if p.size_bytes < 3000]

    with pytest.raises(CalibrationError, match=r"2 sizes up .* measure at least 4"):
        fit_link(points, 0.04)
