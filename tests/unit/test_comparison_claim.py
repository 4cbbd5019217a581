"""The article's claims are tested pair by pair, and break-even points solved exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from fedsim.comparison.claim import break_even_ranks, claims
from fedsim.comparison.result import Result
from fedsim.scenario import run_scenario


@pytest.fixture(scope="module")
def results() -> list[Result]:
    """The case study's 18."""
    tables: list[dict[str, Any]] = run_scenario("case_study").results
    return [Result(table) for table in tables]


def test_the_case_study_breaks_even_where_methods_says(results: list[Result]) -> None:
    """``r = (77 PD - 59,136) / 36,864``: 8.84 at PD = 5002, and below 1 at PD = 1000."""
    ranks = {result.name: rank for result, rank in break_even_ranks(results)}

    assert ranks["kd public_samples=5002"] == Fraction(77 * 5002 - 59_136, 36_864)
    assert float(ranks["kd public_samples=5002"]) == pytest.approx(8.84, abs=0.005)
    assert ranks["kd public_samples=1000"] < 1


def test_the_break_even_rank_separates_the_results(results: list[Result]) -> None:
    """FedLLM sends less at every rank below, more at every rank above."""
    fedllm = {r.plan["lora"]["r"]: r.exchanged_bytes for r in results if r.framework == "fedllm"}
    for result, rank in break_even_ranks(results):
        for r, num_bytes in fedllm.items():
            assert (num_bytes < result.exchanged_bytes) == (r < rank)


def test_the_claims_have_their_known_fates(results: list[Result]) -> None:
    """KD does not always send least; bytes are affine in the rank, and not proportional to it."""
    fates = {claim.text: claim.holds for claim in claims(results)}

    assert fates == {
        "KD-FedLLM sends least": None,
        "Split-FedLLM sends most": True,
        "KD-FedLLM computes most": True,
        "Split-FedLLM computes least": True,
        "FedLLM's bytes are proportional to the rank": False,
        "FedLLM's computing is nearly flat in the rank": True,
    }


def test_the_verdict_on_kd_turns_with_the_task() -> None:
    """With a language-model head it never sends least."""
    found = claims([Result(table) for table in run_scenario("generation").results])

    assert next(c for c in found if c.text == "KD-FedLLM sends least").holds is False


def test_one_framework_alone_proves_nothing(results: list[Result]) -> None:
    """A claim needs somebody to be compared with."""
    assert claims([r for r in results if r.framework == "kd_fedllm"]) == []
