"""What holds of every fitted link, whatever was measured."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.calibration.link.fit import fit_link, measured_seconds, observations
from fedsim.calibration.link.sweep import DIRECTIONS, Mode, Sample, sweep_plan
from fedsim.cost.duration import transfer_seconds
from fedsim.spec.link import LinkSpec

PLAN = sweep_plan(10_000_000)
MODES: tuple[Mode, ...] = ("new", "reused")

links = st.builds(
    lambda up, down, round_trip, window, message: LinkSpec(
        "any", up, down, round_trip, 1.0, window, 1.0, message
    ),
    st.floats(1e4, 1e9),
    st.floats(1e4, 1e9),
    st.floats(1e-4, 0.5),
    st.sampled_from([0, 1448, 14480, 100_000]),
    st.floats(0, 0.01),
)


# A fit takes a tenth of a second.
@settings(max_examples=12)
@given(links, st.integers(0, 2**32), st.floats(0, 0.5))
def test_a_larger_message_never_arrives_earlier_on_a_fitted_link(
    truth: LinkSpec, seed: int, noise: float
) -> None:
    """However noisy the measured times are, and in both directions."""
    rng = random.Random(seed)
    samples = [
        Sample(
            mode,
            direction.value,
            size,
            0,
            measured_seconds(size, direction, truth, mode) * rng.lognormvariate(0, noise),
            truth.round_trip_s if mode == "new" else 0.0,
        )
        for mode in MODES
        for direction in DIRECTIONS
        for size in PLAN.sizes
    ]

    found = fit_link(observations(samples, PLAN.held_out_sizes), truth.round_trip_s).spec

    sizes = sorted({rng.randrange(1, 10**8) for _ in range(40)} | set(PLAN.sizes))
    for direction in DIRECTIONS:
        seconds = [transfer_seconds(size, direction, found) for size in sizes]
        assert seconds == sorted(seconds)
        assert seconds[0] > 0
