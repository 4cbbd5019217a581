"""``[privacy]`` of a scenario: who shares masks, what comes back, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedsim.comparison.claim import break_even_ranks, claims
from fedsim.comparison.result import results_of
from fedsim.errors import ScenarioError
from fedsim.report.scenario.report import scenario_report
from fedsim.scenario import read_scenario, run_scenario
from fedsim.scenario.file.merge import merged
from scenarios import answered, changed, written

SECAGG = {"secure_aggregation": "secagg"}
_COUNTS = ("client_flop", "server_flop", "uplink_payload_bytes", "downlink_payload_bytes")
_COUNTS += ("uplink_message_bytes", "downlink_message_bytes")


def one(tmp_path: Path, framework: str = "fedllm", **changes: Any) -> dict[str, Any]:
    """The result of one framework."""
    case = [{"name": "x", "framework": framework}]
    return answered(tmp_path, changed(case=case, **changes))[0]


def test_nothing_is_hidden_without_the_table(tmp_path: Path) -> None:
    """An empty table changes nothing but the settings that come back."""
    plain, empty = (answered(tmp_path, changed(**t)) for t in ({}, {"privacy": {}}))

    assert plain == empty
    assert all(result["privacy"] is None for result in plain)


@pytest.mark.parametrize("framework", ["fedllm", "kd_fedllm", "split_fedllm"])
@pytest.mark.parametrize("kind", ["secagg", "secagg+"])
def test_what_is_added_is_the_difference_to_the_plain_run(
    tmp_path: Path, framework: str, kind: str
) -> None:
    """Of a client and of the server; the steps are in it, and the rest is the upload's."""
    privacy = {"secure_aggregation": kind, "differential_privacy": "central"}
    plain, hidden = one(tmp_path, framework), one(tmp_path, framework, privacy=privacy)
    added = {row["party"]: row for row in hidden["privacy"]["difference"]}
    before, after = (r["classes"][0]["per_client_round"] for r in (plain, hidden))

    for name in _COUNTS:
        assert added["clients"][name] == after[name] - before[name], name
    server = hidden["server_per_round"]["flop"] - plain["server_per_round"]["flop"]
    assert added["server"]["server_flop"] == server > 0
    steps = [row for row in hidden["privacy"]["steps"] if row["party"] == "clients"]
    for name in ("client_flop", "downlink_payload_bytes"):
        assert sum(row[name] for row in steps) == added["clients"][name]
    assert [row["step"] for row in steps] == ["sa1", "sa2", "dp1", "sa3", "sa4"]


@pytest.mark.parametrize("engine", ["des", "scale"])
def test_engines_find_the_closed_forms_counts_and_times(tmp_path: Path, engine: str) -> None:
    """Where nobody queues: totals to the last unit, rounds to rounding."""
    privacy = {**SECAGG, "differential_privacy": "local"}
    expected = answered(tmp_path, changed(privacy=privacy, engine="analytic"))
    found = answered(tmp_path, changed(privacy=privacy, engine=engine))

    for one_result, other in zip(expected, found, strict=True):
        assert other["totals"] == one_result["totals"]
        assert other["privacy"] == one_result["privacy"]
        mean = one_result["round_time_s"]["mean"]
        assert other["round_time_s"]["mean"] == pytest.approx(mean, rel=1e-9)


def test_those_who_are_asked_share_masks(tmp_path: Path) -> None:
    """8 of 20 clients are asked for the sake of 6: 2 vectors do not count."""
    policy = {"clients_per_round": 6, "over_selection": 0.3}
    entry = one(tmp_path, fleet={"num_clients": 20}, policy=policy, privacy=SECAGG)["privacy"]

    assert (entry["num_participants"], entry["num_dropouts"]) == (8, 2)
    assert (entry["num_neighbors"], entry["num_shares"], entry["threshold"]) == (7, 8, 6)
    assert entry["ring_bits"] == 35


def test_who_is_not_awaited_costs_the_server_pairs_of_masks(tmp_path: Path) -> None:
    """2 of 8 clients: 12 pairs more, each a key agreement and an expanded mask, 2 masks less."""
    fleet = {"num_clients": 8}
    full, less = (
        one(tmp_path, fleet=fleet, policy=policy, privacy=SECAGG) for policy in ({}, {"quorum": 6})
    )
    flop = [r["server_per_round"]["flop"] for r in (full, less)]
    values = full["privacy"]["num_values"]

    assert flop[1] - flop[0] == 12 * 92_152 + 6 * values * (12 - 2)


def test_a_sweep_over_neighbors_is_one_result_each(tmp_path: Path) -> None:
    """More of them cost more."""
    case = {"name": "x", "framework": "fedllm", "sweep": {"privacy.neighbors": [2, 4, 8]}}
    case["privacy"] = {"secure_aggregation": "secagg+"}
    results = answered(tmp_path, changed(case=[case], fleet={"num_clients": 10}))

    sent = [r["classes"][0]["per_client_round"]["uplink_payload_bytes"] for r in results]
    assert sent == sorted(set(sent))
    assert [r["privacy"]["num_neighbors"] for r in results] == [2, 4, 8]


def test_fewer_bits_may_save_more_than_keys_take(tmp_path: Path) -> None:
    """8 and 2 bits instead of 32."""
    privacy = {**SECAGG, "quantization_bits": 8}
    result = one(tmp_path, privacy=privacy, lora={"r": 32})

    assert result["privacy"]["difference"][0]["uplink_payload_bytes"] < 0
    # Nothing that is negative is called added.
    assert "added" not in result["privacy"]
    assert "saves" in printed(tmp_path, privacy=privacy, lora={"r": 32})


def test_what_nobody_runs_is_not_exact(tmp_path: Path) -> None:
    """Messages and operations of secure aggregation; of differential privacy only operations."""
    hidden = one(tmp_path, privacy=SECAGG)
    noisy = one(tmp_path, privacy={"differential_privacy": "local"})

    assert hidden["exactness"]["uplink_payload_bytes"] == "approximate"
    assert noisy["exactness"]["uplink_payload_bytes"] == "exact"
    for result in (hidden, noisy):
        assert result["exactness"]["client_flop"] == "approximate"
    assert any("never run" in note for note in hidden["notes"])


def test_waiting_between_messages_makes_unequal_clients_a_lower_bound(tmp_path: Path) -> None:
    """Alike, they wait for nobody."""
    classes = [{"name": "a", "num_clients": 2}, {"name": "b", "num_clients": 2, "link": "3g"}]
    alike = one(tmp_path, privacy=SECAGG, engine="analytic")
    fleet = {"class": classes, "num_clients": 4}
    unequal = one(tmp_path, privacy=SECAGG, engine="analytic", fleet=fleet)

    assert alike["exactness"]["round_time_s"] == "simulated"
    assert unequal["exactness"]["round_time_s"] == "lower_bound"


def test_split_says_what_it_does_not_hide(tmp_path: Path) -> None:
    """The exchange at the cut is no sum."""
    notes = one(tmp_path, "split_fedllm", privacy=SECAGG)["notes"]

    assert any("cross the cut in the clear" in note for note in notes)


def printed(tmp_path: Path, **changes: Any) -> str:
    """The report as text."""
    file = io.StringIO()
    table = run_scenario(written(tmp_path, changed(**changes))).table
    Console(width=140, file=file).print(scenario_report(table, everything=True))
    return file.getvalue()


def test_the_report_has_a_row_a_step(tmp_path: Path) -> None:
    """In the order in which they happen, with what they are."""
    text = printed(tmp_path, privacy={**SECAGG, "differential_privacy": "central"})
    block = text[text.index("What privacy adds") :]
    places = [block.index(f"\n   {step}") for step in ("sa1", "sa2", "dp1", "sa3", "sa4", "sa5")]

    assert places == sorted(places)
    assert "take masks away" in block
    assert "secagg of 4 clients, 3 neighbors each, 3 of 4 shares, 34 bits a value" in block
    assert "What privacy adds" not in printed(tmp_path)


def test_many_results_do_not_flood_the_report(tmp_path: Path) -> None:
    """Six are shown."""
    case = {"name": "x", "framework": "fedllm", "sweep": {"lora.r": list(range(1, 9))}}
    text = printed(tmp_path, case=[case], privacy=SECAGG)

    assert text.count("take masks away") == 6
    assert "and 2 more results" in text


def test_the_articles_claims_are_about_frameworks_that_hide_nothing(tmp_path: Path) -> None:
    """Nothing is claimed of the others, and no break-even rank is solved from masked bytes."""
    table = run_scenario(written(tmp_path, changed(privacy=SECAGG))).table
    results = results_of(table)

    assert claims(results) == []
    assert break_even_ranks(results) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"policy": {"mode": "buffered", "buffer_size": 2}}, 'set policy.mode = "synchronous"'),
        ({"policy": {"mode": "windowed", "window": "9 s"}}, 'set policy.mode = "synchronous"'),
        ({"policy": {"retries": 1}}, "set policy.retries = 0"),
        ({"policy": {"quorum": 2}}, "3 of 4 shares recover a secret and fewer are left"),
        ({"fleet": {"num_clients": 1}}, "at least 2 clients"),
        ({"privacy": {"neighbors": 2}}, "[privacy] neighbors = 2: no meaning unless"),
        ({"privacy": {"quantization_bits": 40}}, "[privacy] quantization_bits = 40"),
        ({"split": {"cut_layer": 2}, "lora": {"num_top_layers": 1}}, "does not sum"),
    ],
)
def test_what_has_no_meaning_is_refused(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    """With the key and what to type."""
    table = merged(changed(privacy=SECAGG), changes)
    if "split" in changes:
        table["workload"]["samples_per_client"] = 1
        table["case"] = [{"name": "s", "framework": "split_fedllm"}]
    with pytest.raises(ScenarioError) as caught:
        read_scenario(written(tmp_path, table))

    assert text in str(caught.value)


def test_vectors_of_different_lengths_have_no_masks_in_common(tmp_path: Path) -> None:
    """A class with a rank of its own."""
    classes = [{"name": "a", "num_clients": 2, "r": 2}, {"name": "b", "num_clients": 2}]
    table = changed(privacy=SECAGG, fleet={"class": classes})
    with pytest.raises(ScenarioError, match="masks cancel in vectors of one length"):
        read_scenario(written(tmp_path, table))


def test_noise_has_a_meaning_in_every_mode(tmp_path: Path) -> None:
    """Once an aggregation, or once a contribution."""
    for kind in ("central", "local"):
        privacy = {"differential_privacy": kind}
        result = one(tmp_path, privacy=privacy, policy={"mode": "buffered", "buffer_size": 2})
        assert result["status"] == "ok"
        assert result["privacy"]["difference"][0]["uplink_payload_bytes"] == 0
