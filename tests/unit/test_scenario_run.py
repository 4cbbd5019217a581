"""A scenario is checked as a whole, and every mistake is one line with what to type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario import answer_json, read_scenario, run_scenario
from scenarios import SMALL, answered, changed, written


def mistakes(folder: Path, table: dict[str, Any], *overrides: str) -> list[str]:
    """Lines of the refusal, without the file's name."""
    path = written(folder, table)
    with pytest.raises(ScenarioError) as error:
        run_scenario(path, overrides)
    return [line.removeprefix(f"{path}: ") for line in str(error.value).splitlines()]


def single(folder: Path, table: dict[str, Any], *overrides: str) -> str:
    """The only line of the refusal."""
    lines = mistakes(folder, table, *overrides)
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lora": {"rank": 3}}, "[lora] rank: unknown key; allowed: r, alpha"),
        ({"lora": {"rank": 3}}, "Did you mean 'r'?"),
        ({"model": {"batch_size": 3}}, "'batch_size' is a key of [workload]."),
        ({"lora": {"r": "8"}}, "[lora] r = '8': a whole number is needed"),
        ({"lora": {"r": 8.5}}, "[lora] r = 8.5: a whole number is needed"),
        ({"lora": {"r": 0}}, "[lora] r = 0: allowed: 1 or more"),
        ({"lora": {"dropout": float("nan")}}, "[lora] dropout = nan: a finite number is needed"),
        ({"lora": {"alpha": float("inf")}}, "[lora] alpha = inf: a finite number is needed"),
        ({"lora": {"dropout": 1.0}}, "[lora] dropout = 1.0: allowed: below 1"),
        ({"lora": {"target_modules": ["q"]}}, "[lora] target_modules: 'q' is no linear layer"),
        ({"lora": {"num_top_layers": 4}}, "[lora] num_top_layers = 4: gpt2-tiny has 3 blocks"),
        ({"model": {"name": "gpt-2"}}, "[model] name = 'gpt-2': model 'gpt-2' is not in"),
        ({"model": {"head": "cls"}}, "allowed: 'classification' or 'language_model'"),
        ({"model": {"gradient_checkpointing": 1}}, "true or false is needed"),
        ({"split": {"cut_layer": 3}}, "[split] cut_layer = 3: gpt2-tiny has 3 blocks"),
        ({"split": {"cut_layer": 0}}, "allowed for a cut: 1 to 2"),
        ({"workload": {"max_tokens": 200}}, "[workload] max_tokens = 200: gpt2-tiny has 128"),
        ({"workload": {"available_samples": 45}}, "are more than available_samples = 45"),
        ({"workload": {"lengths": [0]}}, "allowed: 'banking77', a list of lengths"),
        ({"workload": {"lengths": [[1]]}}, "allowed: 'banking77', a list of lengths"),
        ({"workload": {"lengths": {"x": 1}}}, "allowed: 'banking77', a list of lengths"),
        ({"workload": {"samples_per_client": 10**7}}, "allowed: 1,000,000 or less"),
        ({"workload": {"samples_per_client": 10**6}}, "each of its own length; allowed with"),
        ({"link": {"uplink": "10 mbps"}}, "[link] uplink = '10 mbps': unit case is ambiguous"),
        ({"link": {"uplink": 10}}, "[link] uplink = 10: a quantity needs a unit"),
        ({"link": {"uplink": "0 bit/s"}}, "[link] uplink = '0 bit/s': allowed: above 0"),
        ({"link": {"like": "lte"}}, "[link] like = 'lte': no link of the catalogue"),
        ({"device": {"like": "rtx4080"}}, "Did you mean 'rtx4090'?"),
        ({"device": {"like": "profile"}}, "this is what a profile measured, and none is named"),
        ({"server": {"device": {"like": "x"}}}, "[server] device.like = 'x': no device"),
        ({"server": {"num_accelerators": 0}}, "[server] num_accelerators = 0: allowed: 1 or more"),
        ({"policy": {"mode": "async"}}, "[policy] mode = 'async': allowed: 'synchronous'"),
        ({"policy": {"mode": "async"}}, "Did you mean 'buffered' (aggregation at every buffer"),
        ({"model": {"head": "generation"}}, "Did you mean 'language_model'"),
        ({"lora": {"use_rslora": "True"}}, "true or false is needed, without quotes: true"),
        ({"lora": {"r": [4, 8]}}, "one value is needed. Several are a sweep: write them in a"),
        ({"lora": {"r": [4, 8]}}, "sweep = { 'lora.r' = [4, 8] }"),
        ({"split": {"cut": 1}}, "Did you mean 'cut_layer'?"),
        ({"device": {"like": "a100"}}, "Did you mean 'a100-80g-sxm'?"),
        ({"device": {"like": "iphone15"}}, "Did you mean 'sd8gen3-phone'?"),
        ({"workload": {"top_k": 64}}, "about what is not modeled: see 'Not modeled' in the docs"),
        ({"model": {"load_in_4bit": True}}, "about what is not modeled"),
        ({"device": {"battery": "5 Wh"}}, "about what is not modeled"),
        # Called best by users; they stay.
        (
            {"link": {"uplink": "10"}},
            "[link] uplink = '10': a quantity needs a unit: write e.g.",
        ),
        ({"split": {"cut_layer": 12}}, "[split] cut_layer = 12: gpt2-tiny has 3 blocks; allowed"),
        (
            {"model": {"name": "llama-tiny"}},
            "'attn.c_attn' is no linear layer of a llama block; allowed: all-linear, self_attn",
        ),
        ({"model": {"name": "meta-llama/Llama-3.2-1B"}}, "Did you mean 'llama-3.2-1b'?"),
        ({"engine": "ns3"}, "engine = 'ns3': allowed: 'auto', 'analytic', 'des', 'scale' or"),
        ({"profile": "nowhere"}, "profile = 'nowhere': "),
        ({"seed": -1}, "seed = -1: allowed: 0 or more"),
        ({"question": 3}, "question = 3: text in quotes is needed"),
        ({"lora": 3}, "lora = 3: a table is needed"),
        ({"learning": {"partition": "dirichlet"}}, "[learning] dirichlet_alpha is missing"),
        ({"fleet": {"class": 3}}, "a list is needed"),
        ({"fleet": {"class": [{"name": "a"}]}}, "every class needs a share, or every class"),
        ({"fleet": {"class": [{"name": "a", "share": 0.4}]}}, "shares must add up to 1"),
        ({"fleet": {"class": [{"name": "a", "num_clients": 3}]}}, "the classes have 3 clients"),
        ({"fleet": {"class": [{"name": "server", "num_clients": 4}]}}, "choose another name"),
        ({"fleet": {"class": [{"name": "a", "num_clients": 4, "rr": 1}]}}, "number 1 rr: unknown"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    """Table, key and value stand in the line, with what is allowed."""
    assert expected in "\n".join(mistakes(tmp_path, changed(**changes)))


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"framework": "fedlm"}, "framework = 'fedlm': allowed: fedllm, kd_fedllm, split_fedllm"),
        ({"framework": "kd"}, "Did you mean 'kd_fedllm'?"),
        ({"framework": "split"}, "Did you mean 'split_fedllm'?"),
        ({"framework": "nowhere:f"}, "module 'nowhere' cannot be imported"),
        ({"framework": "json:nope"}, "module 'json' has no 'nope'"),
        ({"framework": "json:dumps"}, "framework 'json:dumps' fails: TypeError"),
        ({"framework": "builtins:repr"}, "gives str; a fedsim.protocol.step.Protocol is needed"),
        ({"framework": "a b:c"}, "write module:function"),
        ({"framework": 3}, "framework = 3: text in quotes is needed"),
        ({"sweep": {"lora.rank": [1]}}, "sweep 'lora.rank': no such key to sweep"),
        ({"sweep": {"lor.r": [1]}}, "Did you mean 'lora.r'?"),
        ({"sweep": {"r": [1]}}, "Did you mean 'lora.r'?"),
        ({"sweep": {"fleet.class": [1]}}, "no such key to sweep"),
        ({"sweep": {"seed": [1]}}, "no such key to sweep"),
        ({"sweep": {"lora.r": []}}, "sweep lora.r = []: at least 1 entry is needed"),
        ({"sweep": {"lora.r": 4}}, "sweep lora.r = 4: a list is needed"),
        ({"sweep": {"lora.r": [1, 1]}}, "two results are called 'x r=1'"),
        ({"sweep": {"lora.r": [1, 0]}}, "case 'x r=0': [lora] r = 0: allowed: 1 or more"),
        ({"sweep": {"lora.r": [{"a": 1}]}}, "an axis holds values, not tables"),
        ({"sweep": {"lora.r": list(range(1, 33)), "seed": []}}, "no such key to sweep"),
        ({"lora": {"rang": 3}}, "[lora] rang: unknown key"),
        ({"loar": {"r": 3}}, "loar: unknown key; allowed: name, framework"),
        ({"workload": {"public_samples": 0}}, "[workload] public_samples = 0: allowed: 1 or more"),
    ],
)
def test_a_mistake_in_a_case_is_named(tmp_path: Path, case: dict[str, Any], expected: str) -> None:
    """The case, or the swept result, is said."""
    table = {**SMALL, "case": [{"name": "x", "framework": "fedllm", **case}]}

    assert expected in "\n".join(mistakes(tmp_path, table))


@pytest.mark.parametrize(("rank", "is_told"), [(33, True), (32, False)])
def test_a_rank_above_a_layers_width_is_counted_with_a_note(
    tmp_path: Path, rank: int, is_told: bool
) -> None:
    """peft trains it; it is only of no use."""
    table = changed(lora={"r": rank}, case=[{"name": "x", "framework": "fedllm"}])

    [result] = run_scenario(written(tmp_path, table)).results
    text = "r = 33 is above the width of attn.c_attn (32)"
    assert any(text in note for note in result["notes"]) is is_told


def test_an_empty_file_is_told_all_that_it_lacks_at_once(tmp_path: Path) -> None:
    """Every table that is needed, not the next one after each repair."""
    lines = mistakes(tmp_path, {})

    for start in ("[[case]] is", "question is", "model is", "workload is", "fleet is", "server is"):
        assert any(line.startswith(start) for line in lines), start
    for start in ("[lora] is", "[device] is", "[link] is"):
        assert any(line.startswith(start) for line in lines), start
    assert any("with max_tokens, samples_per_client, batch_size, num_rounds" in x for x in lines)


def test_a_device_that_all_classes_share_is_refused_once(tmp_path: Path) -> None:
    """Where it stands, and not once a class."""
    classes = [{"name": name, "num_clients": 2} for name in ("a", "b")]
    table = changed(device={"like": "a100"}, fleet={"class": classes})

    lines = [line for line in mistakes(tmp_path, table) if "'a100'" in line]
    assert len(lines) == 1
    assert lines[0].startswith("[device] like = 'a100'")


def test_formats_that_contradict_each_other_are_told_once(tmp_path: Path) -> None:
    """By the rule that they break, not by what follows from a stand-in for them."""
    model = {"weights_dtype": "bfloat16", "compute_dtype": "float32"}

    [line] = mistakes(tmp_path, changed(model=model))
    assert "16-bit weights compute in their own format" in line


@pytest.mark.parametrize(("written_as", "same"), [("22:00", "22 h"), ("7:30", "450 min")])
def test_a_time_of_day_may_be_written_as_on_a_clock(
    tmp_path: Path, written_as: str, same: str
) -> None:
    """And means hours and minutes after midnight."""
    found = [
        answered(
            tmp_path,
            changed(
                fleet={"availability": {"kind": "diurnal", "start": start, "duration": "7 h"}},
                case=[{"name": "x", "framework": "fedllm"}],
            ),
        )
        for start in (written_as, same)
    ]
    assert found[0] == found[1]


def test_more_clients_than_there_are_are_not_asked_in_silence(tmp_path: Path) -> None:
    """10 of 4 is a slip; the note says what is computed."""
    table = changed(policy={"clients_per_round": 10}, case=[{"name": "x", "framework": "fedllm"}])

    [result] = answered(tmp_path, table)
    assert "policy.clients_per_round = 10 of 4 clients: all are asked" in result["notes"]


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    """Mistakes of syntax, of names and of combinations come together."""
    table = changed(
        model={"name": "gpt-2"},
        lora={"rank": 3},
        link={"uplink": "10 mbps"},
        device={"like": "rtx4080"},
        server={"device": "h300"},
        case=[{"name": "x", "framework": "fedlm"}, {"name": "y", "framework": "kd_fedllm"}],
    )
    text = "\n".join(mistakes(tmp_path, table))

    for part in ("gpt-2", "rank", "10 mbps", "rtx4080", "h300", "fedlm"):
        assert f"{part}" in text


def test_what_was_refused_is_not_missed_again(tmp_path: Path) -> None:
    """A broken uplink is one mistake, not a missing uplink as well."""
    link = {"uplink": "10 mbps", "downlink": "1 MB/s", "round_trip": "1 ms"}
    table = {**SMALL, "link": link}

    assert single(tmp_path, table).startswith("[link] uplink = '10 mbps'")


def test_a_mistake_of_all_cases_is_said_once(tmp_path: Path) -> None:
    """Three cases on one wrong base give one line, without a case's name."""
    assert single(tmp_path, changed(lora={"dropout": 2.0})).startswith("[lora] dropout = 2.0")


@pytest.mark.parametrize(
    ("framework", "table", "key"),
    [
        ("kd_fedllm", "workload", "public_samples"),
        ("split_fedllm", "split", "cut_layer"),
    ],
)
def test_a_framework_says_what_it_needs(
    tmp_path: Path, framework: str, table: str, key: str
) -> None:
    """KD-FedLLM needs a public set, Split-FedLLM a cut."""
    base = changed(case=[{"name": "x", "framework": framework}])
    del base[table][key]

    assert single(tmp_path, base).startswith(f"[{table}] {key} is missing")


@pytest.mark.parametrize("name", ["model", "workload", "fleet", "server", "lora"])
def test_a_missing_table_is_named(tmp_path: Path, name: str) -> None:
    """What cannot be left out is asked for."""
    table = {key: value for key, value in SMALL.items() if key != name}

    assert f"{name}" in single(tmp_path, table)
    assert "missing" in single(tmp_path, table)


@pytest.mark.parametrize("name", ["device", "link"])
def test_missing_hardware_is_no_default(tmp_path: Path, name: str) -> None:
    """No device or link is taken for granted."""
    table = {key: value for key, value in SMALL.items() if key != name}

    assert single(tmp_path, table).startswith(f"[{name}] is missing")


def test_too_many_results_are_refused(tmp_path: Path) -> None:
    """A sweep of 40,000 results is mistyped."""
    axis = list(range(1, 201))
    sweep = {"lora.r": axis, "workload.batch_size": axis}
    table = changed(case=[{"name": "x", "framework": "fedllm", "sweep": sweep}])

    assert "40,000 results; allowed: at most 10,000" in single(tmp_path, table)


def test_classes_of_different_segments_are_refused(tmp_path: Path) -> None:
    """A client whose part is frozen sends no adapters: its round has other segments."""
    classes = [{"name": "a", "num_clients": 2}, {"name": "b", "num_clients": 2, "cut_layer": 2}]
    table = changed(
        lora={"num_top_layers": 2},
        fleet={"class": classes},
        case=[{"name": "x", "framework": "split_fedllm"}],
    )

    assert "different segments" in single(tmp_path, table)


def test_a_blind_override_is_refused(tmp_path: Path) -> None:
    """An override that every reader of the key overrides again would do nothing, silently."""
    case = {"name": "x", "framework": "split_fedllm", "split": {"cut_layer": 2}}

    text = single(tmp_path, changed(case=[case]), "split.cut_layer=1")

    assert "change nothing" in text


def test_an_override_changes_the_answer(tmp_path: Path) -> None:
    """``--set lora.r=8`` is the same as writing it."""
    path = written(tmp_path, changed())
    by_override = run_scenario(path, ["lora.r=8"]).table["results"]

    assert by_override == run_scenario(written(tmp_path, changed(lora={"r": 8}))).table["results"]


def test_a_sweep_is_a_product_with_the_last_key_fastest(tmp_path: Path) -> None:
    """Names carry the values."""
    sweep = {"lora.r": [1, 2], "split.cut_layer": [1, 2]}
    table = changed(case=[{"name": "s", "framework": "split_fedllm", "sweep": sweep}])

    names = [result["name"] for result in answered(tmp_path, table)]

    assert names == [
        "s r=1, cut_layer=1",
        "s r=1, cut_layer=2",
        "s r=2, cut_layer=1",
        "s r=2, cut_layer=2",
    ]


def test_a_sweep_may_be_written_without_quotes(tmp_path: Path) -> None:
    """``sweep = { lora.r = [1] }`` is nested in TOML and means the same."""
    table = changed(case=[{"name": "s", "framework": "fedllm", "sweep": {"lora": {"r": [1, 2]}}}])

    assert [r["name"] for r in answered(tmp_path, table)] == ["s r=1", "s r=2"]


def test_a_sweep_over_links_and_texts(tmp_path: Path) -> None:
    """A link by name, and a quantity, are values like any other."""
    cases = [
        {"name": "a", "framework": "fedllm", "sweep": {"link": ["3g", "gbe"]}},
        {"name": "b", "framework": "fedllm", "sweep": {"link.uplink": ["1 Mbit/s", "1 Gbit/s"]}},
    ]
    results = answered(tmp_path, changed(case=cases))

    slow, fast, slower, faster = [result["round_time_s"]["transfer"] for result in results]
    assert slow > fast
    assert slower > faster


def test_a_users_framework_is_found_beside_the_scenario(tmp_path: Path) -> None:
    """``module:function`` needs no registration."""
    (tmp_path / "my_framework_of_test.py").write_text(
        "from fedsim.protocol import fedllm\n\n\ndef mine(plan):\n    return fedllm(plan)\n"
    )
    cases = [
        {"name": "own", "framework": "my_framework_of_test:mine"},
        {"name": "theirs", "framework": "fedllm"},
    ]
    own, theirs = answered(tmp_path, changed(case=cases))

    assert own["classes"] == theirs["classes"]


def test_an_answer_has_the_published_keys(tmp_path: Path) -> None:
    """Other programs read these names."""
    document = json.loads(answer_json([run_scenario(written(tmp_path, changed()))]))

    assert document["schema"] == 2
    scenario = document["scenarios"][0]
    assert set(scenario) == {
        "file", "question", "goal", "seed", "engine", "profile", "warnings", "axes", "answer",
        "verdicts", "claims", "break_even", "would_change", "results",
    }  # fmt: skip
    result = scenario["results"][0]
    assert {
        "name", "case", "axes", "framework", "status", "reason", "excluded", "classes", "setup",
        "server_per_round", "totals",
        "round_time_s", "makespan_s", "successful_round", "interval", "common_draws", "accuracy",
        "exactness",
    } <= set(result)  # fmt: skip
    assert set(result["round_time_s"]) == {
        "mean", "p05", "p50", "p95", "low", "high", "compute", "transfer", "wait",
    }  # fmt: skip
    assert set(result["classes"][0]["per_client_round"]) == {
        "uplink_payload_bytes", "downlink_payload_bytes", "uplink_message_bytes",
        "downlink_message_bytes", "client_flop", "server_flop", "peak_memory_bytes", "energy_j",
    }  # fmt: skip


def test_counts_are_integers(tmp_path: Path) -> None:
    """Bytes and FLOP are never floats."""
    for result in answered(tmp_path, changed()):
        assert all(type(value) is int for value in result["totals"].values())
        cost = result["classes"][0]["per_client_round"]
        assert all(type(v) is int for k, v in cost.items() if k != "energy_j")


def test_an_infeasible_result_says_why(tmp_path: Path) -> None:
    """Too little memory is an answer, not an error."""
    result = answered(tmp_path, changed(device={"memory": "1 kB"}))[0]

    assert result["status"] == "infeasible"
    assert "1,000 B" in result["reason"]


def test_queueing_is_called_a_lower_bound(tmp_path: Path) -> None:
    """More clients than accelerators queue, which a closed form does not see."""
    table = changed(server={"num_accelerators": 1}, engine="analytic")
    split = answered(tmp_path, table)[2]

    assert split["exactness"]["round_time_s"] == "lower_bound"
    assert any("lower bound" in note for note in split["notes"])


def test_classes_are_sized_by_largest_remainder(tmp_path: Path) -> None:
    """Shares of ten clients in thirds: 4, 3 and 3, and none is lost."""
    classes = [{"name": n, "share": 1 / 3} for n in "abc"]
    table = changed(fleet={"num_clients": 10, "class": classes})

    sizes = [c["num_clients"] for c in answered(tmp_path, table)[0]["classes"]]

    assert sizes == [4, 3, 3]


def test_a_class_overrides_its_plan(tmp_path: Path) -> None:
    """Rank, cut, batch and samples may differ by class, and come back in its plan."""
    special = {"name": "b", "num_clients": 2, "r": 2, "samples_per_client": 3, "batch_size": 2,
               "cut_layer": 2, "link": {"uplink": "1 Mbit/s"}}  # fmt: skip
    table = changed(fleet={"class": [{"name": "a", "num_clients": 2}, special]})

    plan = answered(tmp_path, table)[2]["classes"][1]["plan"]

    assert plan["lora"]["r"] == 2
    assert plan["workload"]["samples_per_client"] == 3
    assert plan["workload"]["batch_size"] == 2
    assert plan["split"]["cut_layer"] == 2
    assert plan["link"]["uplink_bytes_per_s"] == 125_000
    assert plan["link"]["downlink_bytes_per_s"] > 0


def test_results_that_are_too_many_together_are_refused(tmp_path: Path) -> None:
    """Each is fine alone, and all of them would take an hour."""
    workload = {"padding": "max_tokens", "samples_per_client": 10**6, "batch_size": 1}
    case = {"name": "x", "framework": "fedllm", "sweep": {"lora.r": list(range(1, 33))}}

    text = single(tmp_path, changed(workload=workload, case=[case]))

    assert text.startswith("[[case]]: all results together have 32,000,")


def test_a_public_set_too_large_hides_no_other_mistake(tmp_path: Path) -> None:
    """Both are named."""
    table = changed(workload={"available_samples": 1}, device={"like": "x"})
    text = "\n".join(mistakes(tmp_path, table))

    assert "available_samples" in text
    assert "[device] like = 'x'" in text


def test_a_refused_value_hides_no_later_mistake(tmp_path: Path) -> None:
    """The checks go on without it."""
    table = changed(workload={"batch_size": "16"}, split={"cut_layer": 9})
    text = "\n".join(mistakes(tmp_path, table))

    assert "batch_size = '16'" in text
    assert "cut_layer = 9" in text


def test_simulated_rounds_are_told_while_they_are_done(tmp_path: Path) -> None:
    """With how many there are, so that a terminal can say how long it still takes."""
    told: list[tuple[int, int]] = []
    question = read_scenario(written(tmp_path, changed(engine="des", workload={"num_rounds": 5})))
    question.answer(rounds=lambda done, total: told.append((done, total)))

    assert told == [(done, 5) for done in range(1, 6)] * 3
