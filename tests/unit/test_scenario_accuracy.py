"""Accuracy in a scenario: told by measured curves, with what differs, and absent without them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from fedsim.errors import ScenarioError
from fedsim.learning import CurveGroup, Laws, LearningLaw, Run, Unseen, fit_group, write_laws
from fedsim.learning.law import law_values
from fedsim.report.scenario_report import scenario_report
from fedsim.scenario import run_scenario
from scenarios import changed, written

_CONDITIONS = {"dataset": "made", "model": "gpt2-tiny", "weights": "random", "batch_size": 4}


def law(framework: str = "fedllm", **conditions: Any) -> LearningLaw:
    """Curves of ranks 2 and 8, of 20 rounds."""
    random = np.random.default_rng(1)
    rounds = np.arange(21.0)
    truth = np.array([0.5, np.log(5.0), 0.3, 0.1, -0.1])
    runs = [
        Run(
            name=f"{r}-{seed}",
            seed=seed,
            covariates={"r": r, "samples_per_client": 10, "num_clients": 4},
            rounds=tuple(range(21)),
            accuracy=tuple(
                np.clip(
                    law_values(truth, rounds, np.array([np.log(r / 4)]), 0.2)
                    + random.normal(0, 0.01),
                    0,
                    1,
                ).tolist()
            ),
        )
        for r in (2, 8)
        for seed in range(3)
    ]
    group = CurveGroup(
        framework=framework,
        conditions={**_CONDITIONS, **conditions},
        chance=0.2,
        test_samples=100,
        runs=tuple(runs),
    )
    return fit_group(group, num_draws=40)


def law_of_dropouts() -> LearningLaw:
    """Curves of rounds that hear from all and from half of the clients."""
    rounds = np.arange(21.0)
    runs = [
        Run(
            name=f"{share}-{seed}",
            seed=seed,
            covariates={"r": 4, "samples_per_client": 10, "num_clients": 4, "participation": share},
            rounds=tuple(range(21)),
            accuracy=tuple(
                (law_values(np.array([0.5, np.log(5.0), 0.3]), rounds, np.zeros(0), 0.2) * gain)
                .clip(0, 1)
                .tolist()
            ),
        )
        for share, gain in ((1.0, 1.0), (0.5, 0.7))
        for seed in range(3)
    ]
    group = CurveGroup(
        framework="fedllm", conditions=_CONDITIONS, chance=0.2, test_samples=100, runs=tuple(runs)
    )
    return fit_group(group, num_draws=40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with laws of FedLLM on a data set that was made up."""
    write_laws(Laws((law(),), {"machine": "a test's"}, "0" * 64), tmp_path / "laws.json")
    return tmp_path


def asked(**changes: Any) -> dict[str, Any]:
    changes = {"workload": {"dataset": "made", "num_rounds": 15}, **changes}
    changes["learning"] = {"curves": "laws.json", **changes.get("learning", {})}
    return changed(**changes)


def results(folder: Path, table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {r["name"]: r for r in run_scenario(written(folder, table)).results}


def test_accuracy_and_what_a_target_costs(folder: Path) -> None:
    prices = {"per_uplink_gb": 2.0, "per_accelerator_hour": 3.0}
    found = results(folder, asked(learning={"target_accuracy": 0.5}, price=prices))["fedllm"]
    accuracy, target = found["accuracy"], found["to_target"]
    expected = law().accuracy(15, r=4.0, samples_per_client=10.0, num_clients=4.0)
    assert accuracy["mean"] == pytest.approx(expected.mean, abs=1e-5)
    assert accuracy["low"] < accuracy["mean"] < accuracy["high"]
    assert accuracy["after_rounds"] == 15
    assert accuracy["measured_with"]["weights"] == "random"
    assert (accuracy["machine"], accuracy["differs"]) == ("a test's", [])
    rounds = target["rounds"]["mean"]
    assert 1 < rounds < 20
    assert target["time_s"]["mean"] == pytest.approx(rounds * found["round_time_s"]["mean"])
    assert target["time_s"]["low"] < target["time_s"]["mean"] < target["time_s"]["high"]
    moved = found["totals"]["uplink_payload_bytes"] + found["totals"]["downlink_payload_bytes"]
    assert target["payload_bytes"]["mean"] == pytest.approx(rounds * moved / 15)
    assert target["money"]["mean"] == pytest.approx(rounds * found["money"]["total"] / 15)
    assert target["energy_j"]["mean"] == pytest.approx(rounds * found["energy"]["total_j"] / 15)


def test_quality_under_a_budget(folder: Path) -> None:
    """As many whole rounds as the tightest budget pays for, and the law's accuracy after them."""
    plain = results(folder, asked())["fedllm"]
    assert plain["under_budget"] is None
    time = plain["round_time_s"]["mean"]
    totals = plain["totals"]
    each = (totals["uplink_payload_bytes"] + totals["downlink_payload_bytes"]) / 15
    budgets = {"budget_time": f"{7.5 * time} s", "budget_bytes": f"{int(9.9 * each)} B"}
    found = results(folder, asked(learning=budgets))["fedllm"]["under_budget"]
    assert (found["rounds"], found["limited_by"]) == (7, "budget_time")
    expected = law().accuracy(7, r=4.0, samples_per_client=10.0, num_clients=4.0)
    assert found["mean"] == pytest.approx(expected.mean, abs=1e-5)
    money = asked(learning={"budget_money": 1.0})
    assert results(folder, money)["fedllm"]["under_budget"]["rounds"] is None  # no prices are known
    nothing = asked(learning={"budget_time": f"{time / 2} s"})
    assert results(folder, nothing)["fedllm"]["under_budget"]["rounds"] == 0


def test_a_measured_setting_is_told_by_its_own_curves(folder: Path) -> None:
    """Not by the law that interpolates between it and others, whose errors are told with it."""
    interpolating = replace(law(), unseen=Unseen(0.1, 0.05, 2, 6))
    own = replace(
        law(), covariates=(), middle=np.zeros(0), fixed={**law().fixed, "r": 4.0}, ranges={},
        parameters=np.array([-3.0, 1.0, 0.3]), draws=np.tile([-3.0, 1.0, 0.3], (40, 1)),
    )  # fmt: skip
    other = folder / "both"
    other.mkdir()
    write_laws(Laws((interpolating, own), {}, "0" * 64), other / "laws.json")
    learning = {"curves": "both"}
    at_four = results(folder, asked(learning=learning))["fedllm"]["accuracy"]
    assert at_four["mean"] == pytest.approx(own.accuracy(15.0, **own.fixed).mean, abs=1e-5)
    assert at_four["unseen"] is None
    at_six = results(folder, asked(learning=learning, lora={"r": 6}))["fedllm"]["accuracy"]
    assert at_six["mean"] > at_four["mean"] + 0.1
    assert at_six["unseen"] == {"error": 0.1, "margin": 0.05, "num_covered": 2, "num_runs": 6}
    answer = run_scenario(written(folder, asked(learning=learning, lora={"r": 6})))
    console = Console(file=io.StringIO(), width=160, record=True)
    console.print(scenario_report(answer.table))
    assert "missed by 10 points (median), 2 of 6 within" in console.export_text()


def test_drop_outs_are_told_by_curves_that_had_some(folder: Path) -> None:
    """Curves of full rounds say nothing about rounds in which some fail; measured ones do."""
    failing = {"fleet": {"num_clients": 4, "dropout_probability": 0.5}, "engine": "des"}
    found = results(folder, asked(**failing))["fedllm"]
    assert found["accuracy"] is not None  # these curves do not know of participation at all
    write_laws(Laws((law_of_dropouts(),), {}, "0" * 64), folder / "laws.json")
    whole = results(folder, asked(fleet={"num_clients": 4}))["fedllm"]["accuracy"]
    found = results(folder, asked(**failing))["fedllm"]["accuracy"]
    assert found["mean"] < whole["mean"] - 0.05
    assert any("participation" in text for text in found["extrapolates"]) == (
        found["extrapolates"] != []
    )


def test_nothing_is_invented(folder: Path) -> None:
    """No law for a framework, for a data set, or asked for at all."""
    found = results(folder, asked(learning={"target_accuracy": 0.5}))
    for name in ("kd", "split"):
        assert found[name]["accuracy"] is None
        assert found[name]["to_target"] is None
        assert any(n.startswith("no accuracy: no learning curves of") for n in found[name]["notes"])
    other = results(folder, asked(workload={"dataset": "banking77"}))["fedllm"]
    assert other["accuracy"] is None
    assert any("measured on made, not on 'banking77'" in note for note in other["notes"])
    plain = results(folder, changed())["fedllm"]
    assert (plain["accuracy"], plain["to_target"]) == (None, None)
    assert not any("accuracy" in note for note in plain["notes"])


def test_what_differs_and_what_is_extrapolated(folder: Path) -> None:
    found = results(folder, asked(lora={"r": 16}, learning={"learning_rate": 0.5}))["fedllm"]
    assert found["accuracy"]["extrapolates"] == ["r = 16; measured 2 to 8"]
    assert found["accuracy"]["differs"] == []
    write_laws(Laws((law(learning_rate=0.1),), {}, "0" * 64), folder / "laws.json")
    other = folder / "other"
    other.mkdir()
    write_laws(Laws((law(learning_rate=0.1, model="gpt2"),), {}, "0" * 64), other / "laws.json")
    found = results(folder, asked(learning={"curves": "other"}))["fedllm"]
    assert found["accuracy"]["differs"] == [
        "model: measured gpt2, here gpt2-tiny",
        "learning_rate: measured 0.1, here 0.001",
    ]


def test_a_number_of_clients_that_was_not_measured(folder: Path) -> None:
    found = results(folder, asked(fleet={"num_clients": 5}))["fedllm"]
    assert found["accuracy"] is None
    assert any("all have num_clients = 4, and 5 is asked for" in note for note in found["notes"])


def test_a_quorum_learns_by_fewer_clients(folder: Path) -> None:
    """What a round uses counts, not what it asks."""
    table = asked(fleet={"num_clients": 5}, policy={"quorum": 4}, engine="des")
    assert results(folder, table)["fedllm"]["accuracy"] is not None


@pytest.mark.parametrize("width", [80, 120, 160])
def test_report(folder: Path, width: int) -> None:
    answer = run_scenario(written(folder, asked(learning={"target_accuracy": 0.5})))
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(scenario_report(answer.table))
    text = console.export_text()
    assert "Accuracy by measured learning curves" in text
    assert "weights random" in text


@pytest.mark.parametrize(
    ("learning", "expected"),
    [
        ({"target_accuracy": 0.5}, "nothing says how accuracy grows"),
        ({"budget_time": "1 h"}, "nothing says how accuracy grows"),
        ({"curves": "laws.json", "budget_money": 0.0}, "buys nothing"),
        ({"curves": "nowhere"}, "neither a file of fitted learning curves nor shipped"),
        ({"curves": "laws.json", "target_accuracy": 1.5}, "allowed: below 1"),
        ({"curves": "bad.json"}, "no file of fitted learning curves"),
    ],
)
def test_refusals(folder: Path, learning: dict[str, Any], expected: str) -> None:
    (folder / "bad.json").write_text("{}", encoding="utf-8")
    table = changed(learning=learning)
    with pytest.raises(ScenarioError) as error:
        run_scenario(written(folder, table))
    assert expected in str(error.value)
