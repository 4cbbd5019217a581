"""Who wins, by how much and why; and where nobody does."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from fedsim.report.answer import Result
from fedsim.report.verdict import Verdict, verdicts
from scenarios import SMALL, answered, changed


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Results of the small scenario."""
    return answered(tmp_path_factory.mktemp("scenario"), SMALL)


def verdict_on(metric: str, tables: list[dict[str, Any]]) -> Verdict:
    """The verdict on one metric."""
    found = verdicts([Result(table) for table in tables])
    return next(verdict for verdict in found if verdict.metric.key == metric)


def with_times(
    tables: list[dict[str, Any]], *times: tuple[float, float, float]
) -> list[dict[str, Any]]:
    """The results with other times: low, mean and high."""
    found = copy.deepcopy(tables)
    for table, (low, mean, high) in zip(found, times, strict=True):
        table["round_time_s"] |= {"low": low, "mean": mean, "high": high}
    return found


def test_split_computes_least(tables: list[dict[str, Any]]) -> None:
    """A client that holds one block of three computes less than one that holds all."""
    verdict = verdict_on("flop", tables)

    assert verdict.winner is not None
    assert verdict.winner.framework == "split_fedllm"
    assert "a client runs 1 of 3 blocks" in verdict.details[0]


def test_kd_sends_logits(tables: list[dict[str, Any]]) -> None:
    """The reason is arithmetic on the plan: 6 public samples x 5 values x 4 B."""
    verdict = verdict_on("bytes", tables)

    assert verdict.winner is not None
    assert verdict.winner.exchanged_bytes == 2 * 6 * 5 * 4
    assert "6 public samples x 5 values x 4 B" in verdict.details[0]


def test_equal_counts_are_a_tie(tables: list[dict[str, Any]]) -> None:
    """Nobody wins by order of appearance."""
    tied = copy.deepcopy(tables[:2])
    for table in tied:
        table["classes"][0]["per_client_round"]["client_flop"] = 7

    verdict = verdict_on("flop", tied)

    assert verdict.winner is None
    assert verdict.headline.startswith("a tie")


def test_overlapping_intervals_have_no_winner(tables: list[dict[str, Any]]) -> None:
    """The runner-up's low end lies below the winner's high end."""
    verdict = verdict_on("time", with_times(tables, (1, 2, 4), (3, 5, 9), (50, 60, 70)))

    assert verdict.winner is None
    assert "intervals overlap" in verdict.headline


def test_separate_intervals_have_a_winner(tables: list[dict[str, Any]]) -> None:
    """The least is the least with 95 % probability."""
    verdict = verdict_on("time", with_times(tables, (1, 2, 3), (4, 5, 9), (50, 60, 70)))

    assert verdict.winner is not None
    assert verdict.winner.framework == "fedllm"


def test_a_lower_bound_wins_nothing(tables: list[dict[str, Any]]) -> None:
    """It may be as long as anything above it."""
    found = with_times(tables, (1, 2, 3), (4, 5, 9), (50, 60, 70))
    found[0]["exactness"]["round_time_s"] = "lower_bound"

    assert verdict_on("time", found).winner is None


def test_an_infeasible_result_wins_nothing(tables: list[dict[str, Any]]) -> None:
    """What cannot run costs nothing, and is no answer."""
    found = copy.deepcopy(tables)
    found[2]["status"] = "infeasible"

    winner = verdict_on("flop", found).winner
    assert winner is not None
    assert winner.framework == "fedllm"


def test_nothing_feasible_gives_no_verdict(tables: list[dict[str, Any]]) -> None:
    """Rather than a winner among the impossible."""
    found = copy.deepcopy(tables)
    for table in found:
        table["status"] = "infeasible"

    assert verdicts([Result(table) for table in found]) == []


def test_less_work_is_told_from_cheaper_work(tmp_path: Path) -> None:
    """A winner that trains on fewer samples is compared at equal work too."""
    cases = [
        {"name": "fedllm", "framework": "fedllm"},
        {
            "name": "split",
            "framework": "split_fedllm",
            "sweep": {"workload.samples_per_client": [1, 10]},
        },
    ]
    verdict = verdict_on("flop", answered(tmp_path, changed(case=cases)))

    assert any("with equal work (10 private samples a round)" in d for d in verdict.details)
