"""The fit finds known coefficients again and says how far it is off."""

import numpy as np
import pytest

from fedsim.calibration.fit import Observation, fit_time_model
from fedsim.errors import CalibrationError
from fedsim.spec.device import FEATURES

TRUTH = dict(
    zip(FEATURES, (1e-11, 5e-12, 2e-11, 1e-10, 1e-10, 2e-10, 3e-5, 5e-6, 1e-4), strict=True)
)


def observations(noise: float, seed: int, num_contaminated: int = 0) -> list[Observation]:
    """Points of known coefficients with log-normal noise; the first ones take ten times as long."""
    rng = np.random.default_rng(seed)
    scales = np.array([1e9, 1e8, 1e8, 1e6, 1e7, 1e6, 300, 100, 1])
    found = []
    for index in range(120):
        features = scales * np.exp(rng.normal(0.0, 1.5, len(FEATURES)))
        features[-1] = 1.0
        seconds = sum(a * TRUTH[name] for a, name in zip(features, FEATURES, strict=True))
        seconds *= np.exp(rng.normal(0.0, noise))
        if index < num_contaminated:
            seconds *= 10
        found.append(Observation(f"shape-{index % 12}", tuple(features), float(seconds)))
    return found


def test_without_noise_the_coefficients_are_the_true_ones() -> None:
    """Noise-free measurements give back the coefficients that made them."""
    fit = fit_time_model(observations(0.0, seed=0))
    assert fit.seconds_per_unit == pytest.approx(TRUTH, rel=1e-4)
    assert fit.held_out.largest < 1e-4


def test_prediction_error_is_that_of_the_noise() -> None:
    """With 5 % noise, points that were not seen are predicted to about 5 %."""
    fit = fit_time_model(observations(0.05, seed=1))
    assert 0.01 < fit.held_out.median < 0.08
    assert 0.04 < fit.relative_sigma < 0.10


def test_contaminated_points_do_not_steer_the_fit() -> None:
    """Four points that took ten times as long move the dominating coefficient by little."""
    clean = fit_time_model(observations(0.02, seed=2))
    dirty = fit_time_model(observations(0.02, seed=2, num_contaminated=4))
    one, other = clean.seconds_per_unit["linear_flop"], dirty.seconds_per_unit["linear_flop"]
    assert other == pytest.approx(one, rel=0.15)
    # Least squares without the robust weights would be off by far more than that.
    assert dirty.held_out.largest > 0.5


def test_no_coefficient_is_negative_or_below_its_bound() -> None:
    """A product is never faster than the fastest one that was seen."""
    bound = 3e-11
    fit = fit_time_model(observations(0.05, seed=3), {"linear_flop": bound})
    assert min(fit.seconds_per_unit.values()) >= 0
    assert fit.seconds_per_unit["linear_flop"] >= bound


def test_the_interval_covers_about_95_percent() -> None:
    """Over many repetitions the stated interval covers what it says, on average."""
    covered = [fit_time_model(observations(0.05, seed=s)).held_out.coverage_95 for s in range(8)]
    assert 0.93 <= np.mean(covered) <= 1.0


def test_too_few_shapes_are_refused() -> None:
    """A fit that nothing could be held out of is an error, not a guess."""
    few = [o for o in observations(0.0, seed=0) if o.group in ("shape-0", "shape-1")]
    with pytest.raises(CalibrationError, match="cannot be fitted; measure at least"):
        fit_time_model(few)
