"""The answers of whole scenarios are those that were worked out by hand, in every interpreter."""

from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from oracles.by_hand import MESSAGE, D, F, Scenario, U, clients, equal, fedllm
from oracles.by_hand_split import split, tcp
from oracles.scenario_answers import answered, time_difference

SCENARIOS = (*fedllm(), *split(), *tcp())
#: Devices move bytes in almost no time, and times are sums of some tens of terms.
ROUNDING = 1e-11
SIMULATED = [(engine, one) for one in SCENARIOS for engine in one.engines]


@pytest.mark.parametrize(("engine", "scenario"), SIMULATED, ids=str)
def test_simulated_rounds_end_when_they_do_by_hand(
    engine: str, scenario: Scenario, tmp_path: Path
) -> None:
    """To rounding; and what was used, late, lost and wasted is as counted by hand."""
    answer = answered(scenario, engine, tmp_path)

    assert time_difference(scenario, answer) < ROUNDING
    rounds = answer["rounds"]
    if scenario.counts is not None:
        used, late, lost = scenario.counts
        assert (rounds["num_used"], rounds["num_late"], rounds["num_lost"]) == (used, late, lost)
    if scenario.wasted_flop is not None:
        assert answer["wasted"]["client_flop"] == scenario.wasted_flop


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.closed == "exact"], ids=str)
def test_the_closed_form_is_the_answer_by_hand_where_nobody_queues(
    scenario: Scenario, tmp_path: Path
) -> None:
    """And does not call it a bound."""
    answer = answered(scenario, "analytic", tmp_path)

    assert time_difference(scenario, answer) < ROUNDING
    assert answer["exactness"]["round_time_s"] != "lower_bound"


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.closed == "bound"], ids=str)
def test_the_closed_form_is_a_lower_bound_where_clients_queue(
    scenario: Scenario, tmp_path: Path
) -> None:
    """It says so, and is never above the answer by hand nor below half of it."""
    answer = answered(scenario, "analytic", tmp_path)

    assert answer["exactness"]["round_time_s"] == "lower_bound"
    assert 0.5 < answer["makespan_s"]["mean"] / scenario.seconds < 1 + ROUNDING


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.closed == "refuses"], ids=str)
def test_the_closed_form_refuses_what_it_cannot_honour(scenario: Scenario, tmp_path: Path) -> None:
    """It names the key and what to type."""
    with pytest.raises(ScenarioError, match=r'cannot honour .*; set engine = "auto"'):
        answered(scenario, "analytic", tmp_path)


def test_the_compiled_engine_refuses_overlap(tmp_path: Path) -> None:
    """Sending while computing is for the engine with a process a client."""
    (overlap,) = (one for one in SCENARIOS if "overlap" in one.name)
    with pytest.raises(ScenarioError, match=r"cannot honour policy.overlap = true"):
        answered(overlap, "scale", tmp_path)


def test_a_link_that_is_faster_by_a_millionth_is_seen(tmp_path: Path) -> None:
    """Negative control."""
    (alone,) = (one for one in SCENARIOS if one.name == "one client alone")
    answer = answered(alone, "des", tmp_path, ["link.uplink=8.000008 Mbit/s"])

    assert time_difference(alone, answer) > 1e-8


@pytest.mark.parametrize("engine", ["analytic", "des", "scale"])
def test_energy_and_money_are_the_sums_by_hand(engine: str, tmp_path: Path) -> None:
    """Two rounds of two clients, of which the faster waits F for the slower.

    10 W while computing and 2 W otherwise; the radio's 1.5 W and 1 W and its 0.5 J and 0.1 J a
    megabyte, up and down, beside that; the server idles at 20 W, for averaging takes no time. A
    gigabyte up costs 3, an hour of the accelerator 4 and a kilowatt-hour 0.3.
    """
    text = (
        clients(1, 2)
        + '[price]\nper_uplink_gb = 3\nper_accelerator_hour = 4\nper_kwh = 0.3\ncurrency = "EUR"\n'
    )
    sets = (
        "workload.num_rounds=2", "device.power=10 W", "device.idle_power=2 W",
        "link.transmit_power=1.5 W", "link.receive_power=1 W", "link.uplink_energy_per_mb=0.5 J",
        "link.downlink_energy_per_mb=0.1 J", "server.device.power=100 W",
        "server.device.idle_power=20 W",
    )  # fmt: skip
    round_s = D + 2 * F + U
    answer = answered(Scenario("energy", 2 * round_s, text, sets), engine, tmp_path)

    compute_j = 2 * 10 * (F + 2 * F)
    radio_j = 2 * 2 * (1.5 * U + 1 * D + (0.5 + 0.1) * MESSAGE / 1e6)
    idle_j = 2 * 2 * (2 * (U + D) + F)
    server_j = 2 * 20 * round_s
    energy, total_j = answer["energy"], compute_j + radio_j + idle_j + server_j
    assert energy["clients"]["compute_j"] == pytest.approx(compute_j, rel=ROUNDING)
    assert energy["clients"]["radio_j"] == pytest.approx(radio_j, rel=ROUNDING)
    assert energy["clients"]["idle_j"] == pytest.approx(idle_j, rel=ROUNDING)
    assert energy["server_j"] == pytest.approx(server_j, rel=ROUNDING)
    assert energy["total_j"] == pytest.approx(total_j, rel=ROUNDING)
    money = 3 * 4 * MESSAGE / 1e9 + 4 * 2 * round_s / 3600 + 0.3 * total_j / 3.6e6
    assert answer["money"]["total"] == pytest.approx(money, rel=ROUNDING)


@pytest.mark.parametrize("engine", ["des", "scale"])
def test_a_client_that_always_fails_is_lost_and_the_others_are_used(
    engine: str, tmp_path: Path
) -> None:
    """One of three in every round, whether it tries again or not."""
    fails = '[[fleet.class]]\nname = "fails"\nnum_clients = 1\ndropout_probability = 1.0\n'
    again = '[policy]\nretries = 2\nretry_after = "10 s"\n'
    for policy in ("", again):
        rounds = _ran(clients(1, 1) + fails + policy, engine, tmp_path)["rounds"]
        assert (rounds["num_used"], rounds["num_late"], rounds["num_lost"]) == (2, 0, 1)


@pytest.mark.parametrize("engine", ["des", "scale"])
def test_as_many_fail_as_the_binomial_law_says(engine: str, tmp_path: Path) -> None:
    """Of 2,000 client-rounds at 0.3: 1,400 used, give or take 4 times sqrt(2000 x 0.3 x 0.7)."""
    text = equal(50) + "dropout_probability = 0.3\n"
    answer = _ran(text, engine, tmp_path, ["workload.num_rounds=40"])

    rounds = answer["rounds"]
    assert rounds["num_used"] + rounds["num_lost"] == 2000
    assert abs(rounds["num_used"] - 1400) < 4 * (2000 * 0.3 * 0.7) ** 0.5


def _ran(text: str, engine: str, folder: Path, sets: list[str] | None = None) -> dict[str, Any]:
    return answered(Scenario("counted", 0.0, text), engine, folder, sets or [])
