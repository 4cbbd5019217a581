"""Who wins, by how much and why; and where nobody does."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from fedsim.comparison.result import Result
from fedsim.comparison.verdict import Verdict, verdicts
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


def of_one_framework(
    tables: list[dict[str, Any]], *times: tuple[float, float, float]
) -> list[dict[str, Any]]:
    """FedLLM's result again and again, with other names and times."""
    alike = [copy.deepcopy(tables[0]) | {"name": name} for name in "abc"[: len(times)]]
    return with_times(alike, *times)


def test_one_framework_on_the_same_devices_is_compared_end_by_end(
    tables: list[dict[str, Any]],
) -> None:
    """Nobody knows how fast the devices are, but they are as fast for both."""
    verdict = verdict_on("time", of_one_framework(tables, (1, 2, 4), (2, 5, 16), (3, 6, 18)))

    assert verdict.winner is not None
    assert verdict.headline.startswith("a: 2.000 s, 3x less than c")
    text = "; ".join(verdict.details)
    assert (
        "the devices are the same: at one end of the interval it is 3x less, at the other 4.5x"
        in text
    )
    assert "b comes next: 5.000 s" in text


@pytest.mark.parametrize("other", [(0.5, 5, 16), (2, 5, 3.5)])
def test_times_that_cross_within_the_interval_are_a_tie(
    tables: list[dict[str, Any]], other: tuple[float, float, float]
) -> None:
    """Less at one end and more at the other is no order."""
    verdict = verdict_on("time", of_one_framework(tables, (1, 2, 4), other))

    assert verdict.winner is None
    assert "overlap" in verdict.headline


def test_other_devices_have_errors_of_their_own(tables: list[dict[str, Any]]) -> None:
    """Then overlapping intervals are a tie again."""
    found = of_one_framework(tables, (1, 2, 4), (2, 5, 16))
    found[1]["server"]["device"]["name"] = "another"

    assert verdict_on("time", found).winner is None


def test_rounds_of_unequal_contributions_are_told_apart(tables: list[dict[str, Any]]) -> None:
    """A quorum is faster because it waits for fewer."""
    found = of_one_framework(tables, (1, 2, 3), (4, 5, 9))
    for table, used in zip(found, (180, 200), strict=True):
        table["rounds"] = {"num_asked": 200, "num_used": used, "num_late": 0, "num_lost": 0}

    details = verdict_on("time", found).details
    assert "its rounds are of 90 contributions in the mean, those of b of 100" in details


def test_swept_cases_are_compared_at_equal_values(tables: list[dict[str, Any]]) -> None:
    """The least of all sizes says nothing about which case to take."""
    found = [
        copy.deepcopy(tables[0]) | {"name": f"{case} num_clients={count}"}
        for count in (5, 50)
        for case in ("one", "two")
    ]
    times = with_times(found, (1, 1, 1), (1, 1, 1), (8, 8, 8), (4, 4, 4))

    assert (
        "at equal values the cases differ most with num_clients = 50: two takes 2x less than one "
        "(4.000 s against 8.000 s)"
    ) in verdict_on("time", times).details


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
