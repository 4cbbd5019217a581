"""Accuracy in a scenario: told by measured curves, with what differs, and absent without them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from fedsim.errors import ScenarioError
from fedsim.learning import CurveGroup, Laws, LearningLaw, Run, Unseen, group_laws, write_laws
from fedsim.learning.baseline import read_baseline
from fedsim.learning.law import law_values
from fedsim.report.scenario.report import scenario_report
from fedsim.scenario import run_scenario
from fedsim.units import format_bytes
from scenarios import changed, written

#: Those of the small scenario; what is not stated has its key's default.
_CONDITIONS: dict[str, Any] = {
    "model.name": "gpt2-tiny",
    "model.num_classes": 5,
    "model.dropout": 0.1,
    "lora.dropout": 0.1,
    "lora.target_modules": "attn.c_attn",
    "workload.dataset": "made",
    "workload.max_tokens": 24,
    "workload.lengths": "3 x 1, 5 x 1, 8 x 1, 13 x 1, 21 x 1",
    "workload.batch_size": 4,
    "learning.weights": "random",
}
_HERE = {"samples_per_client": 10.0, "num_clients": 4.0, "participation": 1.0}


def group(
    framework: str = "fedllm", ranks: tuple[int, ...] = (2, 4, 8), **conditions: Any
) -> CurveGroup:
    """Curves of some ranks, of 20 rounds and three seeds; KD's with a public set of 6."""
    random = np.random.default_rng(1)
    rounds = np.arange(0.0, 21.0, 2.0)
    truth = np.array([0.5, np.log(5.0), 0.3, 0.1, -0.1])
    public = {"public_samples": 6.0} if framework == "kd_fedllm" else {}
    runs = [
        Run(
            name=f"{r}-{seed}",
            seed=seed,
            covariates={"r": r, **_HERE, **public},
            rounds=tuple(range(0, 21, 2)),
            accuracy=tuple(
                np.clip(
                    law_values(truth, rounds, np.array([np.log(r / 4)]), 0.2)
                    + random.normal(0, 0.01),
                    0,
                    1,
                ).tolist()
            ),
        )
        for r in ranks
        for seed in range(3)
    ]
    stated = {**_CONDITIONS, **{name.replace("__", "."): v for name, v in conditions.items()}}
    return CurveGroup(
        framework=framework,
        conditions={name: value for name, value in stated.items() if value is not None},
        chance=0.2,
        test_samples=100,
        runs=tuple(runs),
    )


def laws(framework: str = "fedllm", **options: Any) -> tuple[LearningLaw, ...]:
    return group_laws(group(framework, **options), num_draws=40)


def law(framework: str = "fedllm", **options: Any) -> LearningLaw:
    """Of the small scenario's own configuration, r = 4."""
    return next(one for one in laws(framework, **options) if one.fixed.get("r") == 4)


def laws_of_dropouts() -> tuple[LearningLaw, ...]:
    """Curves of rounds that hear from all and from half of the clients."""
    few = group(ranks=(4,))
    runs = [
        run.model_copy(
            update={
                "name": f"{share}-{run.name}",
                "covariates": {**run.covariates, "participation": share},
                "accuracy": tuple(gain * accuracy for accuracy in run.accuracy),
            }
        )
        for share, gain in ((1.0, 1.0), (0.5, 0.7))
        for run in few.runs
    ]
    return group_laws(few.model_copy(update={"runs": tuple(runs)}), num_draws=40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with laws of FedLLM on a data set that was made up."""
    write_laws(Laws(laws(), {"machine": "a test's"}, "0" * 64), tmp_path / "laws.json")
    return tmp_path


def asked(**changes: Any) -> dict[str, Any]:
    workload = {"dataset": "made", "num_rounds": 15, **changes.get("workload", {})}
    changes = {**changes, "workload": workload}
    changes["learning"] = {"curves": "laws.json", **changes.get("learning", {})}
    return changed(**changes)


def results(folder: Path, table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {r["name"]: r for r in run_scenario(written(folder, table)).results}


def setup_bytes(result: dict[str, Any]) -> int:
    setup = result["setup"]
    return int(setup["uplink_payload_bytes"] + setup["downlink_payload_bytes"])


def round_bytes(result: dict[str, Any], num_rounds: int) -> float:
    totals = result["totals"]
    moved = totals["uplink_payload_bytes"] + totals["downlink_payload_bytes"]
    return float(moved - setup_bytes(result)) / num_rounds


def test_accuracy_and_what_a_target_costs(folder: Path) -> None:
    prices = {"per_uplink_gb": 2.0, "per_downlink_gb": 5.0, "per_accelerator_hour": 3.0}
    found = results(folder, asked(learning={"target_accuracy": 0.5}, price=prices))["fedllm"]
    accuracy, target = found["accuracy"], found["to_target"]
    own = law()
    expected = own.accuracy(15, **own.fixed)
    assert accuracy["mean"] == pytest.approx(expected.mean, abs=1e-5)
    assert accuracy["low"] < accuracy["mean"] < accuracy["high"]
    assert accuracy["after_rounds"] == 15
    assert accuracy["measured_with"]["learning.weights"] == "random"
    assert (accuracy["machine"], accuracy["differs"]) == ("a test's", [])
    assert (accuracy["transferred"], accuracy["basis"]) == (False, "measured")
    rounds = target["rounds"]["mean"]
    assert 1 < rounds < 20
    assert target["time_s"]["mean"] == pytest.approx(rounds * found["round_time_s"]["mean"])
    assert target["time_s"]["low"] < target["time_s"]["mean"] < target["time_s"]["high"]
    assert target["payload_bytes"]["mean"] == pytest.approx(rounds * round_bytes(found, 15))
    assert target["energy_j"]["mean"] == pytest.approx(rounds * found["energy"]["total_j"] / 15)
    # Money of the rounds: all of it but for what the set-up's messages cost.
    setup = found["setup"]
    sent = (2.0 * setup["uplink_message_bytes"] + 5.0 * setup["downlink_message_bytes"]) / 1e9
    assert sent > 0
    each = (found["money"]["total"] - sent) / 15
    assert target["money"]["mean"] == pytest.approx(rounds * each)
    apart = target["setup"]
    assert target["includes_setup"] is False
    assert apart["payload_bytes"] == setup_bytes(found)
    assert apart["time_s"] == setup["transfer_s"]
    rent = 3.0 * 4 * setup["transfer_s"] / 3600
    assert apart["money"] == pytest.approx(sent + rent)


def test_quality_under_a_budget(folder: Path) -> None:
    """As many whole rounds as the tightest budget pays for, and the law's accuracy after them."""
    plain = results(folder, asked())["fedllm"]
    assert plain["under_budget"] is None
    time, each = plain["round_time_s"]["mean"], round_bytes(plain, 15)
    budgets = {"budget_time": f"{7.5 * time} s", "budget_bytes": f"{int(9.9 * each)} B"}
    found = results(folder, asked(learning=budgets))["fedllm"]["under_budget"]
    assert (found["rounds"], found["limited_by"]) == (7, "budget_time")
    assert found["includes_setup"] is False
    own = law()
    assert found["mean"] == pytest.approx(own.accuracy(7, **own.fixed).mean, abs=1e-5)
    money = asked(learning={"budget_money": 1.0})
    assert results(folder, money)["fedllm"]["under_budget"]["rounds"] is None  # no prices are known
    nothing = asked(learning={"budget_time": f"{time / 2} s"})
    assert results(folder, nothing)["fedllm"]["under_budget"]["rounds"] == 0


#: Counted faster, and of no effect on what is learned.
_WHOLE_BATCHES = "workload.padding=max_tokens"
_PRICED: dict[str, Any] = {
    "learning": {"target_accuracy": 0.5, "budget_bytes": "300 kB", "budget_money": 0.01},
    "price": {"per_uplink_gb": 2.0, "per_downlink_gb": 5.0, "per_accelerator_hour": 3.0,
              "per_kwh": 0.4},
    "device": {"power": "7 W", "idle_power": "2 W"},
    "link": {"receive_power": "1 W"},
}  # fmt: skip


def _per_round(result: dict[str, Any]) -> dict[str, Any]:
    """All that is a matter of rounds needed and of what one costs; seconds to nine digits."""
    target, budget = result["to_target"], result["under_budget"]
    kept = {name: target[name] for name in ("rounds", "time_s", "payload_bytes", "energy_j")}
    kept |= {"money": target["money"], "setup": target["setup"], "budget": budget}
    text = json.dumps(kept, sort_keys=True)
    rounded: dict[str, Any] = json.loads(
        text, parse_float=lambda digits: float(f"{float(digits):.9g}")
    )
    return rounded


@pytest.mark.parametrize("policy", [{}, {"simulates_setup": True}])
def test_what_a_target_costs_does_not_depend_on_how_many_rounds_are_planned(
    folder: Path, policy: dict[str, Any]
) -> None:
    """The set-up was spread over the plan: 545 MB to a target at 15 rounds, 118 at 100."""
    engine = {"engine": "des", "policy": policy} if policy else {}
    found = [
        _per_round(
            results(folder, asked(workload={"num_rounds": num}, **_PRICED, **engine))["fedllm"]
        )
        for num in (2, 7, 20, 30)
    ]
    assert found[0]["setup"]["payload_bytes"] > 10 * found[0]["payload_bytes"]["mean"] / 20
    assert all(one == found[0] for one in found[1:])


@given(num_rounds=st.integers(1, 1000))
@settings(max_examples=10)
def test_a_winner_to_a_target_stays_one_however_long_the_plan(num_rounds: int) -> None:
    """Shipped small study: what the target costs and the budgets buy is the same for any plan."""
    assert _shipped(num_rounds) == _shipped(15)


@cache
def _shipped(num_rounds: int) -> list[dict[str, Any]]:
    options = [f"workload.num_rounds={num_rounds}", "learning.budget_bytes=100 MB", _WHOLE_BATCHES]
    return [_per_round(result) for result in run_scenario("small_study", options).results]


def test_the_case_study_asks_for_no_accuracy_of_a_model_that_was_not_measured() -> None:
    for result in run_scenario("case_study").results:
        assert (result["accuracy"], result["to_target"]) == (None, None)
        assert result["no_accuracy"] is None


def test_a_failed_round_teaches_nothing_and_costs(folder: Path) -> None:
    """Accuracy is that of the successful rounds, each of which bears the failed ones' cost."""
    # A round that loses all four clients is a failed one: about a third of them at 0.75.
    failing = {"fleet": {"num_clients": 4, "dropout_probability": 0.75}, "engine": "des"}
    quarter = laws_of_dropouts()
    moved = [
        replace(
            one,
            fixed={**one.fixed, "participation": 0.25},
            measured=tuple(
                replace(m, covariates={**m.covariates, "participation": 0.25}) for m in one.measured
            ),
        )
        for one in quarter
        if one.fixed.get("participation") == 0.5
    ]
    write_laws(Laws(tuple(moved), {}, "0" * 64), folder / "laws.json")
    table = asked(**failing, learning={"target_accuracy": 0.3}, workload={"num_rounds": 20})
    found = results(folder, table)["fedllm"]
    failed = found["rounds"]["num_failed"]
    assert 0 < failed < 20
    assert found["accuracy"]["after_rounds"] == 20 - failed
    expected = moved[0].accuracy(20 - failed, **moved[0].fixed)
    assert found["accuracy"]["mean"] == pytest.approx(expected.mean, abs=1e-5)
    target = found["to_target"]
    each = 20 * found["round_time_s"]["mean"] / (20 - failed)
    assert target["time_s"]["mean"] == pytest.approx(target["rounds"]["mean"] * each)
    per_round = round_bytes(found, 20 - failed)
    assert target["payload_bytes"]["mean"] == pytest.approx(target["rounds"]["mean"] * per_round)


def test_rounds_that_all_fail_teach_nothing(folder: Path) -> None:
    late = {"policy": {"deadline": "1 ms"}, "engine": "des"}
    found = results(folder, asked(**late))["fedllm"]
    assert found["rounds"]["num_failed"] == 15
    assert found["accuracy"] is None
    assert found["no_accuracy"] == "every round failed, and a failed round teaches nothing"


def test_a_measured_setting_is_told_by_its_own_curves(folder: Path) -> None:
    """Not by the law that interpolates between it and others, whose errors are told with it."""
    interpolating, *own = laws()
    interpolating = replace(interpolating, unseen=Unseen(0.1, 0.05, 2, 6))
    four = next(one for one in own if one.fixed["r"] == 4)
    low = replace(four, parameters=np.array([-3.0, 1.0, 0.3]))
    other = folder / "both"
    other.mkdir()
    write_laws(Laws((interpolating, low), {}, "0" * 64), other / "laws.json")
    learning = {"curves": "both"}
    at_four = results(folder, asked(learning=learning))["fedllm"]["accuracy"]
    assert at_four["mean"] == pytest.approx(low.accuracy(15.0, **low.fixed).mean, abs=1e-5)
    assert (at_four["unseen"], at_four["basis"]) == (None, "measured")
    at_six = results(folder, asked(learning=learning, lora={"r": 6}))["fedllm"]["accuracy"]
    assert at_six["mean"] > at_four["mean"] + 0.1
    assert at_six["basis"] == "interpolated"
    assert at_six["unseen"] == {"error": 0.1, "margin": 0.05, "num_covered": 2, "num_runs": 6}
    answer = run_scenario(written(folder, asked(learning=learning, lora={"r": 6})))
    assert "missed by 10 points (median), 2 of 6 within" in report(answer.table)


def report(table: dict[str, Any], width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(scenario_report(table, ["accuracy"]))
    return console.export_text()


def test_drop_outs_are_told_by_curves_that_had_some(folder: Path) -> None:
    """Curves of full rounds say nothing about rounds in which some fail; measured ones do."""
    failing = {"fleet": {"num_clients": 4, "dropout_probability": 0.5}, "engine": "des"}
    found = results(folder, asked(**failing))["fedllm"]
    assert found["accuracy"] is None
    assert "all have participation = 1, and 0.5 is asked for" in found["no_accuracy"]
    write_laws(Laws(laws_of_dropouts(), {}, "0" * 64), folder / "laws.json")
    whole = results(folder, asked(fleet={"num_clients": 4}))["fedllm"]["accuracy"]
    found = results(folder, asked(**failing))["fedllm"]["accuracy"]
    assert found["mean"] < whole["mean"] - 0.05
    failing["fleet"] = {"num_clients": 4, "dropout_probability": 0.4}
    between = results(folder, asked(**failing))["fedllm"]
    assert "0.5 and 1 alone were measured" in between["no_accuracy"]


def test_nothing_is_invented(folder: Path) -> None:
    """No law for a framework, for a data set, or asked for at all."""
    found = results(folder, asked(learning={"target_accuracy": 0.5}))
    for name in ("kd", "split"):
        assert found[name]["accuracy"] is None
        assert found[name]["to_target"] is None
        assert any(n.startswith("no accuracy: no learning curves of") for n in found[name]["notes"])
    other = results(folder, asked(workload={"dataset": "banking77"}))["fedllm"]
    assert other["accuracy"] is None
    assert "workload.dataset: measured made, here banking77" in other["no_accuracy"]
    plain = results(folder, changed())["fedllm"]
    assert (plain["accuracy"], plain["to_target"], plain["no_accuracy"]) == (None, None, None)
    assert not any("accuracy" in note for note in plain["notes"])


def test_another_model_gets_no_number_and_the_reason(folder: Path) -> None:
    """GPT-2 was told 77.5 % by the curves of a model of four narrow blocks."""
    found = results(folder, asked(model={"name": "gpt2-mini"}, learning={"target_accuracy": 0.5}))[
        "fedllm"
    ]
    assert (found["accuracy"], found["to_target"]) == (None, None)
    assert "model.name: measured gpt2-tiny, here gpt2-mini" in found["no_accuracy"]
    assert "[learning] transfer = true" in found["no_accuracy"]


def test_a_transferred_accuracy_is_named_and_has_no_interval(folder: Path) -> None:
    learning = {"transfer": True, "target_accuracy": 0.5, "extrapolate": True}
    table = asked(model={"name": "gpt2-mini"}, learning=learning)
    found = results(folder, table)["fedllm"]
    own = results(folder, asked())["fedllm"]["accuracy"]
    accuracy = found["accuracy"]
    assert accuracy["transferred"] is True
    assert accuracy["as_measured_on"] == "gpt2-tiny"
    assert accuracy["mean"] == own["mean"]
    assert (accuracy["low"], accuracy["high"]) == (None, None)
    assert accuracy["differs"] == ["model.name: measured gpt2-tiny, here gpt2-mini"]
    target = found["to_target"]
    for name in ("rounds", "time_s", "payload_bytes", "energy_j"):
        assert target[name]["mean"] is not None
        assert (target[name]["low"], target[name]["high"]) == (None, None)
    text = report(run_scenario(written(folder, table)).table)
    assert "as measured on gpt2-tiny with random weights on made" in text
    assert "not this scenario's own" in text
    # Where the conditions are the scenario's, transfer changes nothing.
    assert results(folder, asked(learning={"transfer": True}))["fedllm"]["accuracy"] == own


def test_a_setting_between_the_measured_ones_ends_at_their_ends(folder: Path) -> None:
    found = results(folder, asked(lora={"r": 16}))["fedllm"]
    assert found["accuracy"] is None
    assert "r = 16 lies outside what was measured (r 2 to 8)" in found["no_accuracy"]


def test_more_rounds_than_half_as_many_again_have_no_accuracy(folder: Path) -> None:
    """The last that was measured stands there instead; a range over families where asked for."""
    table = asked(workload={"num_rounds": 31})
    accuracy = results(folder, table)["fedllm"]["accuracy"]
    assert (accuracy["mean"], accuracy["low"], accuracy["high"]) == (None, None, None)
    assert accuracy["basis"] == "not measured"
    assert accuracy["last_measured"]["rounds"] == 20
    assert any("not measured beyond 20 rounds" in text for text in accuracy["extrapolates"])
    assert "after 20 rounds" in " ".join(report(run_scenario(written(folder, table)).table).split())
    asking = asked(workload={"num_rounds": 31}, learning={"extrapolate": True})
    accuracy = results(folder, asking)["fedllm"]["accuracy"]
    assert accuracy["mean"] is None
    assert accuracy["basis"] == "families"
    assert accuracy["low"] < accuracy["high"]


def test_a_number_of_clients_that_was_not_measured(folder: Path) -> None:
    found = results(folder, asked(fleet={"num_clients": 5}))["fedllm"]
    assert found["accuracy"] is None
    assert any("all have num_clients = 4, and 5 is asked for" in note for note in found["notes"])


def test_four_clients_a_round_of_four_hundred_are_not_four_of_four(folder: Path) -> None:
    """They hold a hundred times the data."""
    table = asked(fleet={"num_clients": 400}, policy={"clients_per_round": 4}, engine="des")
    found = results(folder, table)["fedllm"]
    assert found["accuracy"] is None
    assert "policy.clients_per_round: measured none, here 4" in found["no_accuracy"]


def test_a_quorum_that_leaves_the_slowest_out_is_not_a_smaller_fleet(folder: Path) -> None:
    """Whose data is never seen decides what is learned; nobody measured that."""
    table = asked(fleet={"num_clients": 5}, policy={"quorum": 4}, engine="des")
    found = results(folder, table)["fedllm"]
    assert "policy.quorum: measured none, here 4" in found["no_accuracy"]
    # One that waits for everybody is none.
    whole = asked(policy={"quorum": 4}, engine="des")
    assert results(folder, whole)["fedllm"]["accuracy"] is not None


@pytest.mark.parametrize(
    "policy", [{"mode": "buffered", "buffer_size": 2}, {"mode": "windowed", "window": "9 s"}]
)
def test_staleness_is_not_participation(folder: Path, policy: dict[str, Any]) -> None:
    """A buffer of 2 of 4 is not a round that half of the clients miss."""
    write_laws(Laws(laws_of_dropouts(), {}, "0" * 64), folder / "laws.json")
    found = results(folder, asked(policy=policy, engine="des"))["fedllm"]
    assert found["accuracy"] is None
    assert f"policy.mode: measured synchronous, here {policy['mode']}" in found["no_accuracy"]


def test_curves_from_several_starts_have_to_be_told_apart(folder: Path) -> None:
    both = (*laws(), *laws(learning__weights="warm"))
    write_laws(Laws(both, {}, "0" * 64), folder / "laws.json")
    found = results(folder, asked())["fedllm"]
    assert "weights of several kinds (random, warm)" in found["no_accuracy"]
    warm = results(folder, asked(learning={"weights": "warm"}))["fedllm"]["accuracy"]
    assert warm["measured_with"]["learning.weights"] == "warm"
    assert warm["differs"] == []


def test_the_line_of_a_bag_of_words_stands_beside_an_accuracy(tmp_path: Path) -> None:
    """Read from a file; nothing is said where there is none."""
    path = tmp_path / "made.toml"
    assert read_baseline(path) is None
    path.write_text('accuracy = 0.861\nnum_test = 3080\ncommand = "c"\ndate = 2026-11-28\n')
    found = read_baseline(path)
    assert found == {"accuracy": 0.861, "num_test": 3080, "command": "c", "date": "2026-11-28"}
    table = run_scenario("small_study", [_WHOLE_BATCHES]).table
    for result in table["results"]:
        result["accuracy"]["baseline"] = found
    assert "logistic regression) reaches 86.1 % on banking77" in " ".join(report(table).split())


def test_the_shipped_small_study_has_an_accuracy_for_all_its_results() -> None:
    """Its conditions are just those that were measured."""
    for result in run_scenario("small_study").results:
        assert result["accuracy"]["differs"] == []
        assert result["accuracy"]["basis"] == "measured"
        assert result["accuracy"]["low"] < result["accuracy"]["mean"] < result["accuracy"]["high"]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_no_name_and_no_number_of_the_accuracy_table_is_cut(width: int) -> None:
    table = run_scenario(
        "small_study", ["price.per_uplink_gb=2.0", "price.currency=EUR", _WHOLE_BATCHES]
    ).table
    text = report(table, width)
    start = text.index("Accuracy by measured")
    block = " ".join(text[start : text.index("costs are of rounds")].split())
    assert "…" not in block
    for result in table["results"]:
        for word in str(result["name"]).split():
            assert word in block
        assert f"{100 * result['accuracy']['mean']:.1f} %" in block
        mean = result["to_target"]["payload_bytes"]["mean"]
        assert mean is None or format_bytes(mean) in block


@pytest.mark.parametrize("width", [80, 120, 160])
def test_report(folder: Path, width: int) -> None:
    answer = run_scenario(written(folder, asked(learning={"target_accuracy": 0.5})))
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(scenario_report(answer.table, ["accuracy"]))
    text = console.export_text()
    # The answer's own lines name the curves too; here it is about the table.
    text = text[text.index("Accuracy by measured learning curves") :]
    above, below = text.split("of gpt2-tiny with random weights on made", 1)
    assert "Accuracy by measured learning curves" in above
    assert "rounds to 50%" in below


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


def test_no_curve_is_told_under_a_schedule(folder: Path) -> None:
    """Curves were measured with settings that stay; a schedule that changes nothing is none."""
    for value, transfer in ((8, False), (8, True), (4, False)):
        schedule = [{"key": "workload.batch_size", "from_round": [3], "value": [value]}]
        learning = {"transfer": transfer}
        found = results(folder, asked(schedule=schedule, learning=learning))["fedllm"]
        if value == 4:
            assert found["accuracy"] == results(folder, asked())["fedllm"]["accuracy"]
            assert found["accuracy"] is not None
        else:
            assert found["accuracy"] is None
            assert "under this schedule (workload.batch_size)" in found["no_accuracy"]
