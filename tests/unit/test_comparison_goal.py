"""Each kind of question gets an answer in its own words, and none where nothing is decided."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Final

import pytest

from fedsim.comparison.answer import Answer
from fedsim.comparison.goal import answer
from fedsim.comparison.result import Result
from fedsim.comparison.verdict import verdicts
from fedsim.scenario import run_scenario
from scenarios import SMALL, answered, changed, written

_GOAL: Final[dict[str, Any]] = {
    **{"least": ["time"], "of": "round", "within": None, "first": None, "waiting": None},
    **{"slower": None, "than": None, "instead_of": None},
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Results of FedLLM and KD-FedLLM."""
    return answered(tmp_path_factory.mktemp("goal"), SMALL)[:2]


def timed(
    tables: list[dict[str, Any]], *times: tuple[float, float, float], num_rounds: int = 10
) -> list[dict[str, Any]]:
    """The results with other times of a round: at the fast end of devices, as said, at the slow."""
    found = copy.deepcopy(tables)
    for table, (low, mean, high) in zip(found, times, strict=True):
        entry = {"mean": mean, "low": low, "high": high}
        table["num_rounds"] = num_rounds
        table["round_time_s"] |= {**entry, "wait": 0.0}
        table["makespan_s"] = {name: num_rounds * value for name, value in entry.items()}
        table["setup"]["transfer_s"] = 0.0
        table["successful_round"]["time_s"] = entry
        table["common_draws"] |= {
            "seeds": [0],
            "round_s": [mean],
            "ends": {"client_devices": {"round_s": [low, high]}},
        }
    return found


def asked(tables: list[dict[str, Any]], **goal: Any) -> Answer:
    """The answer to a goal about these results."""
    results = [Result(table) for table in tables]
    return answer({**_GOAL, **goal}, results, verdicts(results))


def test_least_is_decided_where_the_ratio_leaves_no_other_answer(
    tables: list[dict[str, Any]],
) -> None:
    """Three times at both ends."""
    found = asked(timed(tables, (1, 2, 4), (3, 6, 12)))

    assert found.kind == "least"
    assert found.is_decided
    assert found.sentences[0].startswith("FedLLM takes least time, 2.0 s (1.0..4.0) a round;")
    assert "KD-FedLLM takes 3.00x as long" in found.sentences[0]


def test_least_is_not_decided_where_the_ratio_holds_one(tables: list[dict[str, Any]]) -> None:
    """Faster at one end and slower at the other is said to be both."""
    found = asked(timed(tables, (1, 2, 4), (0.5, 3, 9)))

    assert not found.is_decided
    assert found.sentences[0].startswith("Not decided between FedLLM and") or found.sentences[
        0
    ].startswith("Not decided between FedLLM, KD-FedLLM")


def test_what_is_the_same_is_called_the_same(tables: list[dict[str, Any]]) -> None:
    """Nobody wins by order of appearance."""
    found = asked(timed(tables, (2, 2, 2), (2, 2, 2)))

    assert found.sentences[0] == "All take the same: 2.000 s a round."


def test_one_case_alone_is_told_and_wins_nothing(tables: list[dict[str, Any]]) -> None:
    """It takes what it takes."""
    found = asked(timed(tables, (1, 2, 4), (3, 6, 12))[:1], of="all")

    assert found.sentences[0] == "FedLLM takes 20 s (10..40) for 10 rounds."
    assert found.is_decided


@pytest.mark.parametrize(
    ("within", "fate", "is_decided"),
    [(41.0, "Yes", True), (20.0, "Perhaps", False), (9.0, "No", True)],
)
def test_what_fits_by_then_fits_at_every_end(
    tables: list[dict[str, Any]], within: float, fate: str, is_decided: bool
) -> None:
    """Ten rounds take 10 to 40 s: yes by 41, perhaps by 20, not by 9."""
    found = asked(timed(tables, (1, 2, 4), (1, 2, 4))[:1], within=within)

    assert found.kind == "within"
    assert found.sentences[0].startswith(f"{fate} with fedllm (20 s (10..40)): 10 rounds")
    assert found.is_decided is is_decided
    assert found.values[0]["fits"] == fate.lower()


def test_a_lower_bound_never_surely_fits(tables: list[dict[str, Any]]) -> None:
    """It may be as long as anything above it."""
    found = timed(tables, (1, 2, 4), (1, 2, 4))[:1]
    found[0]["exactness"]["round_time_s"] = "lower_bound"

    assert asked(found, within=1000.0).sentences[0].startswith("Perhaps with")


def swept(tables: list[dict[str, Any]], *waits: float | None) -> list[dict[str, Any]]:
    """FedLLM with 2, 4, 6, ... clients who wait for such a share of a round; None: cannot run."""
    found = []
    for number, wait in enumerate(waits, 1):
        (table,) = timed(tables[:1], (10, 10, 10))
        table["axes"] = {"fleet.num_clients": 2 * number}
        table["name"] = f"fedllm num_clients={2 * number}"
        if wait is None:
            table["status"] = "infeasible"
        else:
            table["round_time_s"]["wait"] = 10 * wait
        found.append(table)
    return found


@pytest.mark.parametrize(
    ("waits", "text"),
    [
        (
            (0.1, 0.3, 0.6, 0.9),
            "FedLLM waits for 50 % of a round from somewhere between num_clients = 4 (30 % "
            "waiting) and 6 (60 % waiting) on",
        ),
        (
            (0.6, 0.9),
            "FedLLM waits for 50 % of a round from the first value on, num_clients = 2 (60 % "
            "waiting)",
        ),
        (
            (0.1, 0.2),
            "FedLLM waits for 50 % of a round at no value up to num_clients = 4 (20 % waiting)",
        ),
        # From where on: a value that falls back below is no answer.
        ((0.6, 0.2), "at no value up to num_clients = 4 (20 % waiting)"),
        ((0.1, None), "at no value up to num_clients = 2 (10 % waiting) (num_clients = 4 cannot"),
    ],
)
def test_the_first_value_is_between_two_that_were_computed(
    tables: list[dict[str, Any]], waits: tuple[float | None, ...], text: str
) -> None:
    """And never a value that nobody asked for."""
    found = asked(swept(tables, *waits), first="fleet.num_clients", waiting=0.5)

    assert found.kind == "first"
    assert text in found.sentences[0]


def test_where_nothing_runs_that_is_the_answer(tables: list[dict[str, Any]]) -> None:
    """With the reason of the first."""
    found = copy.deepcopy(tables)
    for table in found:
        table |= {"status": "infeasible", "reason": "it does not fit"}
    told = asked(found)

    assert told.sentences == ("Nothing can run: fedllm, and 1 more: it does not fit.",)


def test_another_world_is_compared_case_by_case(tmp_path: Path) -> None:
    """The same draws in both: twice the rank is as much more in bytes."""
    table = changed(goal={"least": "bytes", "instead_of": {"lora.r": 2}}, case=SMALL["case"][:1])
    found = run_scenario(written(tmp_path, table)).table["answer"]
    (value,) = found["values"]
    here = answered(tmp_path, changed(case=SMALL["case"][:1]))[0]
    there = answered(tmp_path, changed(case=SMALL["case"][:1], lora={"r": 2}))[0]
    ratio = Result(here).exchanged_bytes / Result(there).exchanged_bytes

    assert found["kind"] == "instead_of"
    assert found["is_decided"]
    assert value["ratio"] == pytest.approx(ratio)
    assert value["instead_of"] == Result(there).exchanged_bytes
    assert " instead of " in found["sentences"][0]


def test_a_world_that_changes_nothing_is_said_to(tmp_path: Path) -> None:
    """About as much as before."""
    table = changed(goal={"least": "bytes", "instead_of": {"lora.r": 4}}, case=SMALL["case"][:1])
    found = run_scenario(written(tmp_path, table)).table["answer"]

    assert "about as much as before" in found["sentences"][0]
