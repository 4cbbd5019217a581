"""Bytes that others measured and published are those that fedsim counts."""

import pytest

from oracles.published_bytes import (
    ATTENTION,
    GEMMA_270M,
    PUBLISHED,
    Published,
    adapters,
    split_upload_bytes,
)


@pytest.mark.parametrize("case", PUBLISHED, ids=str)
def test_published_traffic_is_counted_to_the_last_published_digit(case: Published) -> None:
    """The adapters' values, and the header that the publisher's format adds to each tensor."""
    digits = 0 if case.unit == 1 else 2

    assert round(case.counted / case.unit, digits) == case.published


@pytest.mark.parametrize("rank", [4, 8, 16])
def test_gemma_270m_s_adapters_are_what_a_board_uploads(rank: int) -> None:
    """18 blocks of r (640 + 1024) twice and r (640 + 256) twice, in 4 B: 2.949 MB of rank 8."""
    found, _ = adapters(GEMMA_270M, ATTENTION, rank)

    assert found == 18 * rank * 4 * (2 * (640 + 1024) + 2 * (640 + 256))
    assert rank != 8 or round(found / 1e6, 3) == 2.949


def test_a_cut_model_s_upload_is_just_below_what_was_measured() -> None:
    """10 x 8 x 64 x 640 values of 4 B; they measured 13.353 MB, with what else they send."""
    activations, everything = split_upload_bytes()

    assert activations == 10 * 8 * 64 * 640 * 4 == 13_107_200
    assert activations < everything < 13_353_000 < 1.02 * everything
