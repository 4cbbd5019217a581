"""A client's lengths are quantiles of a histogram, in whole numbers, in a seeded order."""

from __future__ import annotations

from statistics import mean

import pytest

from fedsim.scenario.file.text_length import LengthDistribution, drawn_lengths, quantile_lengths
from fedsim.scenario.file.work_tables import WorkloadTable

THREE = LengthDistribution("three", ((2, 1), (5, 2), (9, 1)))


def banking77() -> LengthDistribution:
    """The shipped histogram."""
    table = WorkloadTable(
        max_tokens=80, samples_per_client=1, batch_size=1, num_rounds=1, lengths="banking77"
    )
    assert table.lengths is not None
    return table.lengths


def test_as_many_samples_as_rows_give_the_rows() -> None:
    """N = 4 quantiles of four rows are the rows."""
    assert quantile_lengths(THREE, 4) == (2, 5, 5, 9)


def test_one_sample_is_the_median() -> None:
    """The quantile at 0.5."""
    assert quantile_lengths(THREE, 1) == (5,)


def test_all_of_banking77_is_its_histogram() -> None:
    """10,003 rows of 13.80 tokens in the mean."""
    distribution = banking77()
    lengths = quantile_lengths(distribution, 10_003)

    assert sum(count for _, count in distribution.histogram) == 10_003
    assert mean(lengths) == pytest.approx(13.80, abs=0.005)


def test_an_order_changes_no_length() -> None:
    """Only which batch a text is in."""
    drawn = drawn_lengths(THREE, 40, 3, "clients", 0)

    assert sorted(drawn) == sorted(quantile_lengths(THREE, 40))
    assert drawn != drawn_lengths(THREE, 40, 4, "clients", 0)
    assert drawn == drawn_lengths(THREE, 40, 3, "clients", 0)
