"""The article's claims are tested pair by pair, and break-even points solved exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from fedsim.comparison.claim import break_even_ranks, claims
from fedsim.comparison.result import Result
from fedsim.scenario import run_scenario
from fedsim.study.case_study.costs import CostPoint, cost_findings


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
        "KD-FedLLM's clients compute most": True,
        "Split-FedLLM's clients compute least": True,
        "FedLLM's communication is proportional to the rank": None,
        "FedLLM's computation is nearly flat in the rank": True,
    }


def test_the_verdict_on_kd_turns_with_the_task() -> None:
    """With a language-model head it never sends least."""
    found = claims([Result(table) for table in run_scenario("generation").results])

    assert next(c for c in found if c.text == "KD-FedLLM sends least").holds is False


def test_one_framework_alone_proves_nothing(results: list[Result]) -> None:
    """A claim needs somebody to be compared with."""
    assert claims([r for r in results if r.framework == "kd_fedllm"]) == []


def test_a_scenario_and_a_study_judge_one_claim_alike(results: list[Result]) -> None:
    """The same numbers get the same words and the same fate, whoever asks."""
    fedllm = [r for r in results if r.framework == "fedllm"]
    points = [
        CostPoint("fedllm", "fedllm", r.plan["lora"]["r"], r.exchanged_bytes, r.client_flop, 0.0)
        for r in fedllm
    ]
    words = {"holds": True, "holds under conditions": None, "does not hold": False}
    study = {f.claim: (words[f.verdict], f.evidence) for f in cost_findings(points)}
    scenario = {c.text: (c.holds, c.evidence) for c in claims(fedllm)}

    assert len(scenario) == 2
    assert study == scenario
