"""``fedsim.verify`` and ``fedsim.train``: what the commands do, for a program."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

import fedsim
from fedsim.agreement import Difference
from fedsim.api.table import at
from fedsim.cli import main
from fedsim.ledger import RowKey
from training_file import TOML, lines, train, training_file, untimed

QUICK: dict[str, Any] = {
    "set": {"workload.samples_per_client": 3, "workload.public_samples": 3},
    "timed_rounds": 0,
}


# --- verify ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def agreement() -> fedsim.Agreement:
    """FedLLM on the tiny model."""
    return fedsim.verify(case="fedllm", **QUICK)


def test_verifying_gives_what_the_command_writes(
    agreement: fedsim.Agreement, tmp_path: Path
) -> None:
    """The same outcome in the same words."""
    path = tmp_path / "out.json"
    sets = ("workload.samples_per_client=3", "workload.public_samples=3")
    options = ["--timed-rounds", "0", *(word for key in sets for word in ("--set", key))]
    command = ["verify", "--case", "fedllm", *options, "--json", str(path)]
    assert CliRunner().invoke(main, command).exit_code == 0
    document = json.loads(path.read_text(encoding="utf-8"))
    (outcome,) = document["outcomes"]
    assert agreement.title == document["title"]
    assert agreement.table["steps"] == outcome["steps"]
    assert agreement.agrees
    assert agreement.differences == []


def test_a_row_is_a_step(agreement: fedsim.Agreement) -> None:
    """With the counts of the JSON, in the order of the protocol."""
    frame = agreement.to_pandas()
    assert list(frame["step"]) == ["setup", "a1", "a2", "a3", "a4"]
    assert frame["agrees"].all()
    for number, step in enumerate(agreement.table["steps"]):
        for side in ("predicted", "measured"):
            for name, count in step[side].items():
                assert frame[f"{side}.{name}"][number] == count
    assert frame["measured_s"].isna().all()
    assert agreement.to_arrow().column_names == list(frame.columns)


def test_a_difference_is_shown_and_no_error(agreement: fedsim.Agreement) -> None:
    """The step, in the table and in a notebook, where its texts are escaped."""
    difference = Difference(RowKey(1, "<b>", "a2"), "client_flop", 1, 2)
    broken = fedsim.Agreement(replace(agreement.outcome, found=(difference,)), "<i>title</i>")
    assert not broken.agrees
    frame = broken.to_pandas()
    assert list(frame["step"][~frame["agrees"]]) == ["a2"]
    page = broken._repr_html_()
    assert "differs" in page
    assert "round 1, &lt;b&gt;, step a2" in page
    assert "<i>" not in page
    assert "differs" in str(broken)


def own(plan: fedsim.ClientPlan) -> fedsim.Protocol:
    """A bare function beside a test: clients train alone and never hear of each other."""
    whole = fedsim.Part.whole(plan.training.model.num_layers)
    weights = fedsim.base_weights_payload(plan.training, whole)

    def steps(batch: fedsim.BatchShape, is_update: bool) -> tuple[fedsim.Compute, ...]:
        train = fedsim.Train(whole, batch, is_update)
        return (fedsim.Compute("o1", fedsim.Site.CLIENT, train),)

    batches = fedsim.training_batches(
        plan.train_epochs, plan.batch_size, plan.accumulation_steps, steps
    )
    return fedsim.Protocol(
        "own",
        setup=(fedsim.Each((fedsim.Transfer("s", fedsim.Direction.DOWN, weights),)),),
        round=(fedsim.Each(batches),),
    )


@pytest.mark.parametrize("framework", [own, fedsim.Framework("mine", "Mine", own)])
def test_a_framework_of_ones_own_is_verified_as_it_is(framework: Any) -> None:
    """As a bare function and as a value."""
    found = fedsim.verify(framework=framework, **QUICK)
    assert found.agrees
    assert found.framework == ("own" if framework is own else "mine")
    assert [step["step"] for step in found.table["steps"]] == ["s", "o1"]


def test_a_function_that_gives_no_protocol_is_its_authors() -> None:
    """And said in one line."""
    with pytest.raises(fedsim.ScenarioError, match="'<lambda>' gives int"):
        fedsim.verify(framework=lambda plan: plan.batch_size, **QUICK)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "3 cases; a run is of one"),
        ({"source": "fedllm"}, "fedllm: a scenario is verified; write framework=..."),
        ({"source": "verify_tyny"}, "Did you mean 'verify_tiny'"),
        (
            {"case": "split_fedllm"},
            "--case split_fedllm: no such case; there are fedllm, kd",
        ),
        ({"case": "kd", "framework": "kd_fedllm"}, "leave framework or case out"),
        ({"framework": "fedlm"}, "Did you mean 'fedllm'"),
        ({"framework": 3}, "int is no framework"),
        ({"rounds": 0}, "rounds = 0"),
        ({"timed_rounds": -1}, "timed_rounds = -1"),
        ({"case": "kd", "set": {"lora.rank": 1}}, "Did you mean 'r'"),
        ({"case": "kd", "set": {"data.dataset": "bankin77"}}, "Did you mean 'banking77'"),
        (
            {"case": "kd", "set": {"data.dataset": "banking77"}, "data_dir": "no-such-folder"},
            "no-such-folder",
        ),
        ({"case": "split", "set": {"split.cut_layer": 3}}, "allowed for a cut: 1 to 2"),
        ({"case": "kd", "set": {"train.attention": "sdpa"}}, 'write attention = "eager"'),
    ],
)
def test_bad_input_says_what_to_type(options: dict[str, Any], words: str) -> None:
    """A mistake is the user's to mend."""
    with pytest.raises(fedsim.FedsimError) as caught:
        fedsim.verify(**options)
    assert words in str(caught.value)


def test_what_can_be_refused_at_once_is_refused_ahead_of_torch(tmp_path: Path) -> None:
    """Its import alone takes seconds."""
    code = (
        "import sys, fedsim\n"
        "for call in (lambda: fedsim.verify('x.toml'), lambda: fedsim.verify(),\n"
        "             lambda: fedsim.train({'train': {}}, sys.argv[1])):\n"
        "    try:\n        call()\n    except fedsim.ScenarioError:\n        print('refused')\n"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "o")]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert found == ["refused"] * 3 + ["False"]
    assert not (tmp_path / "o").exists()


# --- train -------------------------------------------------------------------------------------


def test_training_by_a_table_ends_with_the_bits_of_the_command(tmp_path: Path) -> None:
    """All but the clock."""
    assert train(training_file(tmp_path), tmp_path / "cli").exit_code == 0
    found = fedsim.train(tomllib.loads(TOML), tmp_path / "api", case="fedllm")
    metrics = "metrics.jsonl"
    assert untimed(tmp_path / "api" / metrics) == untimed(tmp_path / "cli" / metrics)
    summary = json.loads((tmp_path / "api" / "summary.json").read_text(encoding="utf-8"))
    assert found.summary == summary
    (sides,) = found.predicted_and_measured.values()
    sent = sides["uplink_payload_bytes"]
    assert sent["predicted"] == sent["measured"] == found.to_pandas()["uplink_payload_bytes"].sum()
    assert found.folder == tmp_path / "api"


def test_a_row_is_a_seed_and_a_round(tmp_path: Path) -> None:
    """With the values of its line of metrics, seed by seed; progress hears of each."""
    told: list[tuple[int, int]] = []
    found = fedsim.train(
        training_file(tmp_path),
        tmp_path / "out",
        case="fedllm",
        set={"train.seeds": [1, 0], "workload.num_rounds": 2},
        progress=lambda record: told.append((record["seed"], record["round"])),
    )
    frame = found.to_pandas()
    rows = list(zip(frame["seed"], frame["round"], strict=True))
    assert rows == told == [(1, 0), (1, 1), (1, 2), (0, 0), (0, 1), (0, 2)]
    for number, record in enumerate(lines(tmp_path / "out" / "metrics.jsonl")):
        for path in frame.columns:
            actual, expected = frame[path][number], at(record, path)
            assert (expected is None) if actual is pd.NA else (actual == expected), path
    assert found.to_arrow().num_rows == 6
    assert found._repr_html_().count("<tr>") == 7
    assert "seed 1" in str(found)


def test_a_second_call_goes_on_and_fresh_starts_over(tmp_path: Path) -> None:
    """Rounds that are there are not trained again, unless that is asked for."""
    out, told = tmp_path / "out", list[int]()

    def rounds(num: int, *, fresh: bool = False) -> list[int]:
        told.clear()
        fedsim.train(
            tomllib.loads(TOML),
            out,
            case="fedllm",
            set={"workload.num_rounds": num},
            fresh=fresh,
            progress=lambda record: told.append(record["round"]),
        )
        return list(told)

    assert rounds(2) == [0, 1, 2]
    assert rounds(2) == []
    assert rounds(3) == [3]
    assert rounds(1, fresh=True) == [0, 1]


def test_a_users_texts_are_escaped_in_a_notebook(tmp_path: Path) -> None:
    """The question is the user's."""
    table = {**tomllib.loads(TOML), "question": "<b>why</b>"}
    few = {"workload.num_rounds": 1}
    page = fedsim.train(table, tmp_path / "o", case="fedllm", set=few)._repr_html_()
    assert "&lt;b&gt;why&lt;/b&gt;" in page


def test_mistakes_of_a_training_table_are_told_at_once(tmp_path: Path) -> None:
    """With the table's name, a line each; nothing is written."""
    table = tomllib.loads(TOML)
    table["lora"]["rank"] = table["lora"].pop("r")
    table["workload"]["batch_size"] = 0
    with pytest.raises(fedsim.ScenarioError) as caught:
        fedsim.train(table, tmp_path / "o", case="fedllm")
    text = str(caught.value)
    assert "<dict>: [workload] batch_size = 0" in text
    assert "Did you mean 'r'" in text
    assert not (tmp_path / "o").exists()
