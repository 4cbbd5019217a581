"""The fit recovers the coefficients that made the measurements, and bad points do not steer it."""

import numpy as np
import pytest

from fedsim.calibration.fit import choose_form, fit_time_model, folds_of
from fedsim.calibration.plan import quick_plan
from fedsim.calibration.validation import table_of
from fedsim.cost.duration import compute_seconds
from fedsim.cost.work import Work
from fedsim.errors import CalibrationError
from fedsim.spec.device import FEATURES, FORMS, DeviceSpec, Form
from profiles import made_up_visits, true_model

SHAPES = quick_plan().shapes


def table(noise: float, seed: int = 0, form: Form = "additive"):
    """Points, features and seconds of a made-up device."""
    visits = made_up_visits(SHAPES, noise=noise, seed=seed, model=true_model(form))
    return table_of(visits, has_own_memory=False)


@pytest.mark.parametrize("form", ["additive", "roofline"])
def test_without_noise_predictions_are_the_measurements(form: Form) -> None:
    """Noise-free measurements are fitted to a thousandth, whatever the form that made them."""
    _, features, seconds = table(0.0, form=form)
    model = fit_time_model(features, seconds, form=form)
    assert np.abs(model.predict(features) / seconds - 1).max() < 1e-3


def test_without_noise_the_coefficients_are_the_true_ones() -> None:
    """The quick plan tells all kinds of work apart."""
    _, features, seconds = table(0.0)
    model = fit_time_model(features, seconds)
    assert model.coefficients == pytest.approx(true_model().coefficients, rel=1e-3)


def test_contaminated_points_do_not_steer_the_fit() -> None:
    """Ten points of 240 that took ten times as long move the predictions by a few per cent."""
    _, features, seconds = table(0.02, seed=2)
    dirty = seconds.copy()
    dirty[::24] *= 10
    clean_model, dirty_model = (fit_time_model(features, s) for s in (seconds, dirty))
    ratio = dirty_model.predict(features) / clean_model.predict(features)
    assert np.median(np.abs(ratio - 1)) < 0.05
    plain = np.linalg.lstsq(features / dirty[:, None], np.ones(len(dirty)), rcond=None)[0]
    off = np.median(np.abs(features @ plain / clean_model.predict(features) - 1))
    assert off > np.median(np.abs(ratio - 1))


def test_no_coefficient_is_negative_or_below_its_bound() -> None:
    """A product is never faster than the fastest one that was seen."""
    _, features, seconds = table(0.05, seed=3)
    lower = np.zeros(len(FEATURES))
    lower[FEATURES.index("linear_flop")] = 3e-11
    model = fit_time_model(features, seconds, lower)
    assert model.coefficients.min() >= 0
    assert model.coefficients[FEATURES.index("linear_flop")] >= 3e-11 * (1 - 1e-12)


@pytest.mark.parametrize("form", ["additive", "dispatch"])
def test_the_form_that_made_the_measurements_is_chosen(form: Form) -> None:
    """Cross-validation tells a device that overlaps launches from one that does not."""
    points, features, seconds = table(0.01, form=form)
    groups = np.array([point.shape.name for point in points])
    chosen, errors = choose_form(features, seconds, groups)
    assert chosen == form, errors


@pytest.mark.parametrize("form", FORMS)
def test_the_fit_and_the_simulator_price_alike(form: Form) -> None:
    """What is fitted is what scenarios use: the same seconds for the same work."""
    model = true_model(form)
    device = DeviceSpec(
        "d", dict(zip(FEATURES, model.coefficients, strict=True)), relative_sigma=0.1, form=form
    )
    rng = np.random.default_rng(0)
    features = np.exp(rng.normal(10, 4, (50, len(FEATURES))))
    for row, predicted in zip(features, model.predict(features), strict=True):
        work = Work(**dict(zip(FEATURES, row, strict=True)))
        assert compute_seconds(work, device) == pytest.approx(predicted, rel=1e-12)


def test_folds_keep_groups_together() -> None:
    """Points of one group are never on both sides."""
    groups = np.array(["a", "b", "c", "a", "b", "c", "d"])
    folds = folds_of(groups, 2)
    assert all(len(set(folds[groups == label])) == 1 for label in "abcd")
    assert set(folds) == {0, 1}


def test_too_few_points_are_refused() -> None:
    """More coefficients than points is an error, not a guess."""
    _, features, seconds = table(0.0)
    with pytest.raises(CalibrationError, match="cannot be fitted to"):
        fit_time_model(features[::60], seconds[::60])
