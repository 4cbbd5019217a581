"""A fitted term of memory stands only where it predicts configurations that it did not see."""

import numpy as np
import pytest

from fedsim.calibration.memory_fit import Ratio, chosen_factor

NAMES = np.array([f"shape-{index // 2}" for index in range(24)])
EXACT = np.full(24, 100.0)
WORKSPACE = np.linspace(20.0, 200.0, 24)


def test_a_factor_that_helps_unseen_configurations_is_kept() -> None:
    """The allocator holds half of the counted workspace, everywhere."""
    assert chosen_factor(EXACT, WORKSPACE, EXACT + 0.5 * WORKSPACE, NAMES) == pytest.approx(0.5)


def test_a_factor_that_helps_only_the_middle_is_left_out() -> None:
    """Two configurations with nothing in common with the rest: the tail gets worse."""
    factors = np.where(np.arange(24) < 4, 1.6, 0.9)
    assert chosen_factor(EXACT, WORKSPACE, EXACT + factors * WORKSPACE, NAMES) == 1.0


def test_one_configuration_is_no_ground_to_fit_on() -> None:
    """Nothing is left to judge the factor by."""
    one = np.array(["shape"] * 24)
    assert chosen_factor(EXACT, WORKSPACE, EXACT + 0.5 * WORKSPACE, one) == 1.0


def test_quantiles_of_measured_over_counted_hold_what_is_counted() -> None:
    """An upper bound has no margin above it, and is its own upper end."""
    counted = np.full(100, 10.0)
    found = Ratio.of(counted, np.linspace(5.0, 8.0, 100))
    assert found.high == 1.0
    assert found.low == pytest.approx(0.515)
