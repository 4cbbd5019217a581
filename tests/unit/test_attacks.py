"""Wrong decisions that a plan with a fault in it once led to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario import run_scenario
from scenarios import changed, written

_MONEY_AND_TIME = ("totals", "round_time_s", "makespan_s", "energy", "money", "successful_round")


def mixed(**policy: Any) -> dict[str, Any]:
    """Three clients who can hold the plan and one who cannot."""
    return changed(
        price={"currency": "EUR", "per_kwh": 0.3, "per_uplink_gb": 1.0},
        policy=policy,
        fleet={
            "num_clients": 4,
            "class": [
                {"name": "large", "num_clients": 3},
                {"name": "small", "num_clients": 1, "device": {"memory": "1 kB"}},
            ],
        },
        case=[{"name": "x", "framework": "fedllm"}],
    )


def test_what_cannot_run_is_not_priced(tmp_path: Path) -> None:
    """Nobody compares the price of the impossible; the class that is why is named."""
    (result,) = run_scenario(written(tmp_path, mixed())).results

    assert result["status"] == "infeasible"
    assert "class 'small'" in result["reason"]
    assert [result[name] for name in _MONEY_AND_TIME] == [None] * len(_MONEY_AND_TIME)


def test_a_class_that_cannot_take_part_is_left_out_by_name(tmp_path: Path) -> None:
    """Three quarters of the clients can, and they are priced."""
    (result,) = run_scenario(written(tmp_path, mixed(exclude_unfit=True))).results
    (excluded,) = result["excluded"]

    assert result["status"] == "ok"
    assert (excluded["name"], excluded["num_clients"]) == ("small", 1)
    assert sum(each["num_clients"] for each in result["classes"]) == 3
    assert all(result[name] is not None for name in _MONEY_AND_TIME)


def test_ten_per_cent_more_than_a_hundred_is_a_hundred_and_ten(tmp_path: Path) -> None:
    """A tenth has no exact binary number, and a client more is asked."""
    policy = {"clients_per_round": 100, "over_selection": 0.1}
    table = changed(fleet={"num_clients": 200}, policy=policy, engine="scale",
                    workload={"num_rounds": 1, "samples_per_client": 1},
                    case=[{"name": "x", "framework": "fedllm"}])  # fmt: skip
    (result,) = run_scenario(written(tmp_path, table), num_seeds=1).results

    assert result["rounds"]["num_asked"] == 110


def test_a_rate_of_almost_nothing_is_refused_with_what_is_meant(tmp_path: Path) -> None:
    """It would take longer than anybody waits, and no signal ends it."""
    (tmp_path / "trace.csv").write_text("time_s,factor\n0,1.0\n5,1e-300\n", encoding="utf-8")
    path = written(tmp_path, changed(link={"trace": "trace.csv", "trace_period": "30 s"}))

    with pytest.raises(ScenarioError, match="0 for an outage"):
        run_scenario(path)


def test_an_outage_that_ends_is_answered(tmp_path: Path) -> None:
    """Nothing is sent for three seconds, and the round takes longer for it."""
    (tmp_path / "trace.csv").write_text(
        "time_s,factor\n0,1.0\n0.01,0\n3.01,1.0\n", encoding="utf-8"
    )
    table = changed(case=[{"name": "x", "framework": "fedllm"}], workload={"num_rounds": 1})
    (plain,) = run_scenario(written(tmp_path, table), engine="des", num_seeds=1).results
    table["link"] |= {"trace": "trace.csv", "trace_period": "1 h"}
    (outage,) = run_scenario(written(tmp_path, table), engine="des", num_seeds=1).results

    longer = outage["makespan_s"]["mean"] - plain["makespan_s"]["mean"]
    assert longer == pytest.approx(3.0, abs=0.05)
