"""Simulated answers at the terminal and as a picture: the figures that the JSON holds, readable."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from rich.console import Console

from fedsim.comparison.result import Result
from fedsim.comparison.verdict import Verdict, verdicts
from fedsim.report.figure.answer import figure
from fedsim.report.scenario.report import scenario_report
from fedsim.scenario import run_scenario
from fedsim.units import format_bytes, format_flop, format_seconds
from scenarios import changed, written


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Three frameworks with a quorum: somebody is late and somebody fails."""
    table = changed(
        policy={"quorum": 3},
        device={"slowdown_p95": 2.0},
        fleet={"dropout_probability": 0.1},
        server={"uplink": "20 Mbit/s", "downlink": "20 Mbit/s"},
    )
    return run_scenario(written(tmp_path_factory.mktemp("scenario"), table)).table


def printed(scenario: dict[str, Any], width: int = 160) -> str:
    """The report as text."""
    file = io.StringIO()
    Console(width=width, file=file).print(scenario_report(scenario, everything=True))
    return file.getvalue()


def row_of(text: str, name: str) -> list[str]:
    """Cells of a result's row in the table of rounds."""
    table = text[text.index("Rounds: ") :]
    return next(line for line in table.splitlines() if line.strip().startswith(name)).split()


def test_a_result_shows_what_became_of_its_clients(answer: dict[str, Any]) -> None:
    """Asked, used, late and lost, in the mean of rounds."""
    result = answer["results"][0]
    rounds = result["rounds"]
    cells = row_of(printed(answer), "fedllm")

    assert rounds["num_late"] > 0
    assert rounds["num_lost"] > 0
    means = [
        rounds[f"num_{fate}"] / result["num_rounds"] for fate in ("asked", "used", "late", "lost")
    ]
    assert cells[5:9] == [f"{mean:.3g}" for mean in means]


def test_a_result_shows_its_rounds_and_its_waste(answer: dict[str, Any]) -> None:
    """Percentiles over rounds; bytes and FLOP of late and lost work."""
    text = printed(answer)
    for result in answer["results"]:
        cells = " ".join(row_of(text, result["name"]))
        time, wasted = result["round_time_s"], result["wasted"]
        num_bytes = wasted["uplink_message_bytes"] + wasted["downlink_message_bytes"]
        assert cells.split()[1] == format_seconds(time["p05"]).split()[0]
        assert f".. {format_seconds(time['p95'])}" in cells
        assert (format_bytes(num_bytes) if num_bytes else " - ") in cells
        assert format_flop(wasted["client_flop"] + wasted["server_flop"]) in cells


def test_a_result_shows_how_busy_the_server_was(answer: dict[str, Any]) -> None:
    """Uplink, downlink and accelerators, in per cent; a dash where there is no limit."""
    found = copy.deepcopy(answer)
    found["results"][0]["utilization"] = {"uplink": 0.5, "downlink": None, "accelerators": 0.0314}

    assert row_of(printed(found), "fedllm")[-5:] == ["50", "%", "-", "3.1", "%"]


def test_a_report_names_the_engine_and_why(answer: dict[str, Any]) -> None:
    """Once where one engine answered all for one reason."""
    text = " ".join(printed(answer).split())

    assert text.count("engine des: small enough for the reference engine") == 1
    assert "simulated by engine" not in text


def test_reasons_that_differ_in_a_number_are_one_line(answer: dict[str, Any]) -> None:
    """A sweep over a thousand sizes does not print a thousand reasons."""
    found = copy.deepcopy(answer)
    for result, count in zip(found["results"], ("9,000", "70,000", "800"), strict=True):
        result |= {"engine_used": "scale", "engine_reason": f"{count} client-rounds (quorum = 3)"}

    assert "engine scale: 800 to 70,000 client-rounds (quorum = 3)." in printed(found)


def test_an_answer_that_was_written_is_shown_like_a_fresh_one(answer: dict[str, Any]) -> None:
    """The report reads the published JSON and nothing else."""
    assert printed(json.loads(json.dumps(answer))) == printed(answer)


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_simulated_report_fits_its_width(answer: dict[str, Any], width: int) -> None:
    """No line is longer, and no figure is cut off."""
    text = printed(answer, width)

    assert max(len(line) for line in text.splitlines()) <= width
    if width >= 80:
        assert "…" not in text


def test_failed_rounds_are_flagged(answer: dict[str, Any]) -> None:
    """A round without a contribution aggregates nothing."""
    found = copy.deepcopy(answer)
    found["results"][1] |= {"status": "partly", "reason": "1 of 2 rounds failed: nobody came"}

    text = printed(found)
    assert "kd succeeds only in part: 1 of 2 rounds failed: nobody came." in text
    assert "kd (partly)" in text


def test_suggestions_follow_what_cannot_run(answer: dict[str, Any]) -> None:
    """The smallest changes that would fit, as they are typed; said once for classes alike."""
    found = copy.deepcopy(answer)
    both = {"workload.batch_size": 1, "model.gradient_checkpointing": True}
    found["results"][0] |= {
        "status": "infeasible",
        "reason": "class 'a' needs 3 GB",
        "suggestions": [
            {"who": "a", "changes": both, "peak_memory_bytes": 1_500_000_000},
            {"who": "b", "changes": both, "peak_memory_bytes": 1_500_000_000},
            {"who": "server", "changes": {"split.server": "v2"}, "peak_memory_bytes": 7},
            {"who": "server", "changes": {"lora.r": 2}, "peak_memory_bytes": 8},
        ],
    }
    text = " ".join(printed(found).split())

    assert "fedllm cannot run: class 'a' needs 3 GB." in text
    assert (
        "class 'a' and class 'b' would fit with workload.batch_size = 1 and "
        "model.gradient_checkpointing = true (1.500 GB)."
    ) in text
    assert 'the server would fit with split.server = "v2" (7 B), or lora.r = 2 (8 B).' in text


ENERGY = {
    "clients": {"compute_j": 3e6, "radio_j": 1e6, "idle_j": None},
    "server_j": 2e6,
    "total_j": 6e6,
    "wasted_j": 5e5,
    "missing": ["idle power of 'phone'"],
}
MONEY = {"currency": "USD", "uplink": 0.5, "accelerators": 12.345, "energy": None, "total": 12.845}


def with_resources(answer: dict[str, Any], **tables: Any) -> dict[str, Any]:
    """The answer with the same energy and money for all results."""
    found = copy.deepcopy(answer)
    for result in found["results"]:
        result |= {"energy": None, "money": None, **copy.deepcopy(tables)}
    return found


def test_energy_and_money_are_shown_where_they_are_known(answer: dict[str, Any]) -> None:
    """Part by part; a sum that lacks a part is a lower bound, and the report says what it lacks."""
    assert "Energy, all clients" not in printed(with_resources(answer))
    text = printed(with_resources(answer, energy=ENERGY, money=MONEY))
    table = text[text.index("Energy, all clients") :]

    for word in ("3.000 MJ", "1.000 MJ", "2.000 MJ", "≥ 6.000 MJ", "500.0 kJ"):
        assert word in table
    assert "idling" not in table
    for word in ("0.50 USD", "12.35 USD", "12.85 USD"):
        assert word in table
    assert "energy is a lower bound: no figure for idle power of some of them" in text


def test_energy_that_lacks_a_part_wins_nothing(answer: dict[str, Any]) -> None:
    """Only whole sums are compared."""
    whole = with_resources(answer, energy=ENERGY | {"missing": []})
    whole["results"][0]["energy"]["clients"] = {"compute_j": 9e5, "radio_j": 1e5, "idle_j": None}
    whole["results"][0]["energy"]["server_j"] = 0.0
    lacking = copy.deepcopy(whole)
    lacking["results"][0]["energy"]["missing"] = ["idle power of 'phone'"]

    found = verdict_on("energy", whole)
    assert found is not None
    assert "90 % of it is clients' computing" in found.reasons[0]
    assert verdict_on("energy", lacking) is None


def test_the_cheapest_is_named_where_prices_are_given(answer: dict[str, Any]) -> None:
    """With what most of its cost is for."""
    found = with_resources(answer, money=MONEY)
    for result, cost in zip(found["results"], (12.0, 1.25, 9.0), strict=True):
        result["successful_round"]["money"] = {"mean": cost, "low": cost, "high": cost}
        result["common_draws"] |= {"seeds": [0], "money": [cost], "ends": {}}
    found["results"][1]["money"] |= {"uplink": 1.0, "accelerators": 0.25, "total": 1.25}
    verdict = verdict_on("money", found)

    assert verdict is not None
    assert verdict.winner is not None
    assert verdict.winner.name == "kd"
    assert "KD-FedLLM: 1.25 USD; Split-FedLLM: 7.2" in verdict.text
    assert "80 % of it is for the uplink" in verdict.reasons[0]


def verdict_on(metric: str, answer: dict[str, Any]) -> Verdict | None:
    """The verdict on one metric; None where nothing can be compared."""
    found = verdicts([Result(table) for table in answer["results"]])
    return next((verdict for verdict in found if verdict.metric.key == metric), None)


def test_what_rounding_leaves_is_no_wait(answer: dict[str, Any]) -> None:
    """A mean less its parts is rarely exactly zero."""
    found = copy.deepcopy(answer)
    for result in found["results"]:
        result["round_time_s"]["wait"] = 1e-15 * result["round_time_s"]["mean"]

    assert " ns" not in printed(found)
    assert not Result(found["results"][0]).waits


def written_svg(scenario: dict[str, Any], path: Path) -> str:
    """The figure with its text as text."""
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure([scenario], path)
    return path.read_text(encoding="utf-8")


def test_where_simulated_clients_wait_the_figure_is_of_time(
    answer: dict[str, Any], tmp_path: Path
) -> None:
    """A bar a result, with its time in all."""
    text = written_svg(answer, tmp_path / "a.svg")

    assert any(Result(result).waits for result in answer["results"])
    for result in answer["results"]:
        assert f">{result['name']}</text>" in text
        assert f">{format_seconds(result['makespan_s']['mean'])}</text>" in text
    assert ">waiting</text>" in text


def test_where_nobody_waits_the_figure_is_of_costs(answer: dict[str, Any], tmp_path: Path) -> None:
    """Communication against computation, as for the closed form."""
    found = copy.deepcopy(answer)
    for result in found["results"]:
        result["round_time_s"]["wait"] = 0.0

    assert "computation of a client and round [TFLOP]" in written_svg(found, tmp_path / "a.svg")


def test_a_swept_number_is_an_axis(answer: dict[str, Any], tmp_path: Path) -> None:
    """With a line a case, and one without waiting."""
    found = copy.deepcopy(answer)
    found["results"] = [
        copy.deepcopy(answer["results"][0])
        | {
            "name": f"{case} num_clients={count}",
            "case": case,
            "axes": {"fleet.num_clients": count},
        }
        for case in ("one", "two")
        for count in (2, 7, 31)
    ]
    text = written_svg(found, tmp_path / "a.svg")

    for word in ("number of clients", "one", "two", "without waiting", "2", "7", "31"):
        assert f">{word}</text>" in text


def test_an_infeasible_result_has_no_bar(answer: dict[str, Any], tmp_path: Path) -> None:
    """It is named, and its time is not drawn."""
    found = copy.deepcopy(answer)
    nothing = dict.fromkeys(("round_time_s", "makespan_s", "successful_round", "totals"))
    found["results"][1] |= {"status": "infeasible", "reason": "too large", **nothing}
    text = written_svg(found, tmp_path / "a.svg")

    assert ">kd</text>" in text
    assert " infeasible</text>" in text
    assert f">{format_seconds(answer['results'][1]['makespan_s']['mean'])}</text>" not in text


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_figure_of_time_is_the_same_every_time(
    answer: dict[str, Any], tmp_path: Path, suffix: str
) -> None:
    """No dates and no random ids."""
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for path in paths:
        figure([answer], path)

    assert paths[0].read_bytes() == paths[1].read_bytes()
