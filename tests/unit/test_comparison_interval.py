"""Intervals out of draws and ends, against what can be computed by hand."""

from __future__ import annotations

from math import exp, inf, log, sqrt
from typing import Any

import pytest

from fedsim.comparison.interval import interval_95, ratio_95

#: Student's t of two and of three draws, at 97.5 %: from tables.
_T1, _T2 = 12.706205, 4.302653


def draws(
    *round_s: float | None,
    ends: dict[str, tuple[float | None, float | None]] | None = None,
    num_rounds: int = 10,
    round_variance: float = 0.0,
) -> dict[str, Any]:
    """Common draws of times alone."""
    return {
        "seeds": list(range(len(round_s))),
        "num_rounds": num_rounds,
        "round_variance": round_variance,
        "round_s": list(round_s),
        "energy_j": [None] * len(round_s),
        "money": [None] * len(round_s),
        "ends": {name: {"round_s": list(pair)} for name, pair in (ends or {}).items()},
    }


def test_one_seed_leaves_the_ends_alone() -> None:
    """Nobody may be told of draws that were not made."""
    found = interval_95(draws(4.0, ends={"links": (2.0, 12.0)}), "round_s", 4.0, 10)

    assert found is not None
    assert (found.middle, found.low, found.high) == pytest.approx((4.0, 2.0, 12.0))


def test_factors_add_up_in_squares_of_logarithms() -> None:
    """Three and four make five."""
    ends = {"a": (10 / exp(0.3), 10 * exp(0.3)), "b": (10 / exp(0.4), 10 * exp(0.4))}
    found = interval_95(draws(10.0, ends=ends), "round_s", 10.0, 10)

    assert found is not None
    assert found.low == pytest.approx(10 / exp(0.5))
    assert found.high == pytest.approx(10 * exp(0.5))


def test_a_factor_that_moves_time_one_way_widens_that_way_alone() -> None:
    """Both ends are slower: the fast end stays."""
    found = interval_95(draws(1.0, ends={"a": (1.5, 2.0)}), "round_s", 1.0, 10)

    assert found is not None
    assert (found.low, found.high) == pytest.approx((1.0, 2.0))


def test_equal_draws_are_certain() -> None:
    """No spread, no interval."""
    found = interval_95(draws(7.0, 7.0, 7.0, 7.0), "round_s", 7.0, 10)

    assert found is not None
    assert (found.middle, found.low, found.high) == (7.0, 7.0, 7.0)


def test_three_draws_are_predicted_by_students_law() -> None:
    """Logarithms 0, 1, 2: mean 1, deviation 1, so t(2) sqrt(1 + 1/3) around e."""
    found = interval_95(draws(1.0, exp(1), exp(2)), "round_s", 1.0, 10)

    assert found is not None
    assert found.middle == pytest.approx(exp(1))
    assert log(found.high) - 1 == pytest.approx(_T2 * sqrt(4 / 3), rel=1e-6)
    assert 1 - log(found.low) == pytest.approx(_T2 * sqrt(4 / 3), rel=1e-6)


def test_a_draw_that_never_ends_leaves_the_interval_open() -> None:
    """An upper end would promise an end."""
    found = interval_95(draws(2.0, None, 2.0), "round_s", 2.0, 10)

    assert found is not None
    assert found.high == inf
    assert found.low == pytest.approx(2.0)


def test_an_end_that_never_ends_leaves_the_interval_open() -> None:
    """Nobody comes back over the slow link."""
    found = interval_95(draws(2.0, ends={"links": (1.0, None)}), "round_s", 2.0, 10)

    assert found is not None
    assert found.high == inf
    assert found.low == pytest.approx(1.0)


def test_what_is_not_known_has_no_interval() -> None:
    """None is no zero."""
    assert interval_95(draws(2.0), "energy_j", 2.0, 10) is None


def test_short_replications_are_corrected_for_their_length() -> None:
    """Two rounds of two hundred: nine tenths of the spread is of rounds, and averages out."""
    spread = sqrt(0.1)
    found = interval_95(
        draws(1.0, exp(spread * sqrt(2)), num_rounds=2, round_variance=0.18), "round_s", 1.0, 200
    )

    # Variance of two logarithms 0 and sqrt(0.2): 0.1. Of it 0.18 / 2 within a run.
    variance = 0.1 - 0.18 / 2 + 0.18 / 200
    assert found is not None
    assert 0.5 * log(found.high / found.low) == pytest.approx(_T1 * sqrt(variance * 1.5), rel=1e-6)


def test_whole_replications_are_not_corrected() -> None:
    """Their spread is what it is."""
    found = interval_95(draws(1.0, exp(0.2), num_rounds=200, round_variance=9.0), "round_s", 1, 200)

    assert found is not None
    assert 0.5 * log(found.high / found.low) == pytest.approx(_T1 * sqrt(0.02 * 1.5), rel=1e-6)


def test_what_is_off_for_both_alike_cancels_in_a_ratio() -> None:
    """One and a half times in every draw and at every end is one and a half times."""
    less = draws(2.0, 8.0, 1.0, ends={"links": (1.0, 5.0)})
    more = draws(3.0, 12.0, 1.5, ends={"links": (1.5, 7.5)})
    found = ratio_95(more, less, "round_s", 1.5)

    assert found is not None
    assert (found.middle, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5))


def test_a_factor_of_one_side_stays_in_a_ratio() -> None:
    """Only one of them uses the link."""
    found = ratio_95(draws(3.0, ends={"links": (1.5, 6.0)}), draws(2.0), "round_s", 1.5)

    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.75, 3.0))


def test_what_was_not_drawn_is_the_same_in_every_draw() -> None:
    """A closed form against three draws: compared with each of them."""
    found = ratio_95(draws(1.0, exp(1), exp(2)), draws(1.0), "round_s", 1.0)

    assert found is not None
    assert found.middle == pytest.approx(exp(1))
    assert log(found.high) - 1 == pytest.approx(_T2 * sqrt(4 / 3), rel=1e-6)


def test_a_ratio_of_two_that_never_end_is_of_the_draws_that_do() -> None:
    """A draw that ends for neither says nothing of the ratio; for the upper one alone, all."""
    both = ratio_95(draws(2.0, None), draws(1.0, None), "round_s", 2.0)
    above = ratio_95(draws(2.0, None, 2.0), draws(1.0, 1.0, 1.0), "round_s", 2.0)

    assert both is not None
    assert both.middle == pytest.approx(2.0)
    assert above is not None
    assert above.high == inf
