"""Who wins, by how much and why; and where nobody does."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from fedsim.comparison.result import Result
from fedsim.comparison.verdict import Verdict, verdicts
from fedsim.scenario import run_scenario
from scenarios import SMALL, answered, changed, written


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
    """The results with other times of a round: at the fast end of devices, as said, at the slow."""
    found = copy.deepcopy(tables)
    for table, (low, mean, high) in zip(found, times, strict=True):
        table["round_time_s"] |= {"low": low, "mean": mean, "high": high}
        table["successful_round"]["time_s"] = {"mean": mean, "low": low, "high": high}
        table["common_draws"] |= {
            "seeds": [0],
            "round_s": [mean],
            "ends": {"client_devices": {"round_s": [low, high]}},
        }
    return found


def test_split_computes_least(tables: list[dict[str, Any]]) -> None:
    """A client that holds one block of three computes less than one that holds all."""
    verdict = verdict_on("flop", tables)

    assert verdict.winner is not None
    assert verdict.winner.framework == "split_fedllm"
    assert "c1 and c5: 1 of 3 blocks" in verdict.reasons[0]


def test_kd_sends_logits(tables: list[dict[str, Any]]) -> None:
    """The reason is arithmetic on the plan: 6 public samples x 5 values x 4 B."""
    verdict = verdict_on("bytes", tables)

    assert verdict.winner is not None
    assert verdict.winner.exchanged_bytes == 2 * 6 * 5 * 4
    assert "b3 and b7: logits, 6 x 5 values x 4 B" in verdict.reasons[0]


def test_equal_counts_are_no_win(tables: list[dict[str, Any]]) -> None:
    """Nobody wins by order of appearance."""
    tied = copy.deepcopy(tables[:2])
    for table in tied:
        table["classes"][0]["per_client_round"]["client_flop"] = 7

    verdict = verdict_on("flop", tied)

    assert verdict.winner is None
    assert verdict.is_same
    assert verdict.text.endswith("KD-FedLLM: the same")


def test_a_cost_and_its_superset_are_never_tied(tables: list[dict[str, Any]]) -> None:
    """One device does both: however fast it is, the one that does more takes longer.

    Marginal intervals overlap, 1 to 4 s against 1.5 to 6 s, and the ratio is 1.5 at both ends.
    """
    verdict = verdict_on("time", with_times(tables[:2], (1, 2, 4), (1.5, 3, 6)))

    assert verdict.winner is not None
    assert verdict.winner.framework == "fedllm"
    assert verdict.ranking[1].ratio.low == pytest.approx(1.5)
    assert verdict.ranking[1].ratio.high == pytest.approx(1.5)
    assert "KD-FedLLM: 1.50x" in verdict.text


def test_times_that_cross_within_the_interval_are_undecided(tables: list[dict[str, Any]]) -> None:
    """Less at one end and more at the other is no order."""
    verdict = verdict_on("time", with_times(tables[:2], (1, 2, 4), (0.5, 3, 9)))

    assert verdict.winner is None
    assert any("the 95 % interval of the ratio holds 1" in line for line in verdict.reasons)


def test_one_per_cent_less_is_no_win(tables: list[dict[str, Any]]) -> None:
    """Below two per cent nobody should decide by it, however exact it is."""
    verdict = verdict_on("time", with_times(tables[:2], (1, 2, 4), (1.01, 2.02, 4.04)))

    assert verdict.winner is None
    assert any("less than 2 % apart" in line for line in verdict.reasons)


def test_draws_are_compared_one_by_one(tables: list[dict[str, Any]]) -> None:
    """Two cases that a draw moves alike are told apart; their own spreads overlap widely."""
    found = with_times(tables[:2], (2, 2, 2), (3, 3, 3))
    for table, factor in zip(found, (1.0, 1.5), strict=True):
        table["common_draws"] |= {
            "seeds": [0, 1, 2, 3],
            "round_s": [factor * 2, factor * 8, factor * 1, factor * 4],
        }
    verdict = verdict_on("time", found)

    assert verdict.winner is not None
    assert verdict.ranking[1].ratio.low == pytest.approx(1.5)


def test_unequal_work_is_not_compared(tmp_path: Path) -> None:
    """Split on one sample is no rival of FedLLM on ten, and never the headline."""
    cases = [
        {"name": "fedllm", "framework": "fedllm"},
        {
            "name": "split",
            "framework": "split_fedllm",
            "sweep": {"workload.samples_per_client": [1, 10]},
        },
    ]
    verdict = verdict_on("flop", answered(tmp_path, changed(case=cases)))

    assert verdict.at == {"num_clients": 4, "samples_per_client": 10.0}
    assert {rank.result.name for rank in verdict.ranking} == {
        "fedllm",
        "split samples_per_client=10",
    }


def test_unequal_fleets_are_not_compared(tmp_path: Path) -> None:
    """A hundred clients are no slower setting of two."""
    case = {"name": "one", "framework": "fedllm", "sweep": {"fleet.num_clients": [2, 4]}}
    other = {"name": "two", "framework": "fedllm", "sweep": {"fleet.num_clients": [2, 4]}}
    tables = answered(tmp_path, changed(case=[case, other]))
    found = [v for v in verdicts([Result(t) for t in tables]) if v.metric.key == "time"]

    assert [v.at["num_clients"] for v in found] == [4, 2]
    assert all(len({r.result.num_clients for r in v.ranking}) == 1 for v in found)


def to_target(tables: list[dict[str, Any]], *rounds: float | None) -> list[dict[str, Any]]:
    """The results with so many rounds to 40 % accuracy."""
    found = copy.deepcopy(tables)
    for table, num in zip(found, rounds, strict=True):
        time = table["successful_round"]["time_s"]["mean"]
        entry = {"mean": num, "low": num, "high": num}
        table["to_target"] = {
            "target": 0.4,
            "rounds": entry,
            "time_s": {k: v and v * time for k, v in entry.items()},
            "payload_bytes": {k: v and v * Result(table).exchanged_bytes for k, v in entry.items()},
            "energy_j": None,
            "money": None,
        }
    return found


def test_a_target_decides_and_what_never_reaches_it_cannot_win(
    tables: list[dict[str, Any]],
) -> None:
    """KD sends least a round and never gets there: FedLLM wins on bytes to 40 %."""
    verdict = verdict_on("bytes", to_target(tables, 3.0, None, 4.0))

    assert verdict.target == 0.4
    assert verdict.winner is not None
    assert verdict.winner.framework == "fedllm"
    assert verdict.out == ("kd",)
    assert any("cannot win" in line for line in verdict.reasons)


def test_rounds_of_unequal_contributions_are_told_apart(tables: list[dict[str, Any]]) -> None:
    """A quorum is faster because it waits for fewer."""
    found = with_times(tables[:2], (1, 2, 3), (4, 8, 12))
    for table, used in zip(found, (180, 200), strict=True):
        table["rounds"] = {
            "num_asked": 200,
            "num_used": used,
            "num_late": 0,
            "num_lost": 0,
            "num_failed": 0,
        }

    reasons = verdict_on("time", found).reasons
    assert "contributions to a round in the mean: FedLLM 90, KD-FedLLM 100" in reasons


def test_a_lower_bound_wins_nothing(tables: list[dict[str, Any]]) -> None:
    """It may be as long as anything above it."""
    found = with_times(tables[:2], (1, 2, 3), (4, 5, 9))
    found[0]["exactness"]["round_time_s"] = "lower_bound"

    assert verdict_on("time", found).winner is None


@pytest.mark.parametrize("status", ["infeasible", "failed"])
def test_what_cannot_run_or_never_succeeds_wins_nothing(
    tables: list[dict[str, Any]], status: str
) -> None:
    """What cannot run costs nothing, and is no answer."""
    found = copy.deepcopy(tables)
    found[2]["status"] = status

    winner = verdict_on("flop", found).winner
    assert winner is not None
    assert winner.framework == "fedllm"


def test_nothing_feasible_gives_no_verdict(tables: list[dict[str, Any]]) -> None:
    """Rather than a winner among the impossible."""
    found = copy.deepcopy(tables)
    for table in found:
        table["status"] = "infeasible"

    assert verdicts([Result(table) for table in found]) == []


def hopeless() -> dict[str, Any]:
    """FedLLM with a deadline that nobody can keep, beside one that keeps none."""
    return changed(
        engine="des",
        case=[
            {"name": "hopeless", "framework": "fedllm", "policy": {"deadline": "1 ms"}},
            {"name": "patient", "framework": "fedllm"},
        ],
    )


def test_a_case_whose_rounds_all_fail_never_wins(tmp_path: Path) -> None:
    """Rounds of a millisecond that teach nothing are no fast rounds."""
    answer = run_scenario(written(tmp_path, hopeless())).table
    failed, patient = answer["results"]

    assert failed["status"] == "failed"
    assert "2 of 2 rounds failed: nobody's contribution came within 1" in failed["reason"]
    assert failed["successful_round"] is None
    assert patient["status"] == "ok"
    for verdict in answer["verdicts"]:
        assert [rank["name"] for rank in verdict["ranking"]] == ["patient"]
    assert answer["answer"]["sentences"][0].startswith("Only patient runs.")


def test_partly_failing_rounds_are_compared_by_a_successful_one(tmp_path: Path) -> None:
    """A deadline that half of the rounds miss makes a contribution dearer, not cheaper."""
    table = changed(
        engine="des",
        workload={"num_rounds": 40},
        fleet={"num_clients": 1},
        device={"round_variation": 1.0},
        case=[
            {"name": "hasty", "framework": "fedllm", "policy": {"deadline": "0.1 s"}},
            {"name": "patient", "framework": "fedllm"},
        ],
    )
    hasty, _ = answered(tmp_path, table)

    failed = hasty["rounds"]["num_failed"]
    assert hasty["status"] == "partly"
    assert 0 < failed < 40
    spent = hasty["makespan_s"]["mean"]
    assert hasty["successful_round"]["time_s"]["mean"] == pytest.approx(spent / (40 - failed))
    assert hasty["successful_round"]["num_rounds"] == 40 - failed


def test_the_reason_names_the_link_that_is_busy(tmp_path: Path) -> None:
    """Not that clients wait, but for what."""
    table = changed(
        engine="des",
        fleet={"num_clients": 30},
        server={"uplink": "0.1 Mbit/s"},
        case=[{"name": "fedllm", "framework": "fedllm"}],
    )
    answer = run_scenario(written(tmp_path, table)).table
    verdict = next(v for v in answer["verdicts"] if v["metric"] == "time")

    assert "the server's uplink is 9" in verdict["reasons"][0]


def test_the_reason_names_the_class_that_everybody_waits_for(tmp_path: Path) -> None:
    """Nine fast clients idle for the tenth, and the report says whose fault it is."""
    classes = [
        {"name": "fast", "num_clients": 9},
        {"name": "slow", "num_clients": 1, "device": {"slowdown": 50.0}},
    ]
    table = changed(fleet={"class": classes, "num_clients": 10}, engine="des")
    answer = run_scenario(written(tmp_path, table)).table
    verdict = next(v for v in answer["verdicts"] if v["metric"] == "time")

    assert "class 'slow' sets the pace" in verdict["reasons"][0]
