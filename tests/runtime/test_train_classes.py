"""Classes of a scenario's clients, trained and verified as the scenario plans them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedsim.scenario import read_scenario
from fedsim.training.data import client_sizes
from fedsim.training.setup import TrainingSetup
from training_file import TOML, lines, read, train, training_file, untimed

CLASSES = """[fleet]
[[fleet.class]]
name = "many"
num_clients = 1
samples_per_client = 9
batch_size = 2
local_epochs = 2
cut_layer = 2
[[fleet.class]]
name = "few"
num_clients = 2
samples_per_client = 3
"""
HARDWARE = '[device]\nlike = "rpi5-8g"\n[link]\nlike = "gbe"\n[server]\ndevice = "laptop-7840u"\n'
OLD = "[fleet]\nnum_clients = 2\n"
assert OLD in TOML
TEXT = TOML.replace(OLD, CLASSES).replace("dropout = 0.1\n\n[lora]", "\n[lora]")


def test_plans_are_those_of_the_scenario(tmp_path: Path) -> None:
    """One builder: samples, batches, epochs and cuts of each client, before any text was read."""
    text = 'question = "?"\n' + TEXT.replace('"none"', '"max_tokens"') + HARDWARE
    file = training_file(tmp_path, text)
    entry = next(e for e in read_scenario(file).entries if e.case.case_name == "split_fedllm")
    found = TrainingSetup(read(file, (), "split_fedllm")).plans()
    assert list(found) == ["few/0", "few/1", "many"]
    few, many = entry.federation.classes
    assert found["many"].train_epochs == many.plan.train_epochs
    assert found["few/1"].train_epochs == few.plan.train_epochs
    assert (found["many"].batch_size, found["many"].cut) == (2, many.plan.cut)
    assert len(found["many"].train_epochs) == 2
    assert client_sizes(entry.federation) == {"few/0": 3, "few/1": 3, "many": 9}


@pytest.mark.parametrize("case", ["fedllm", "kd_fedllm", "split_fedllm"])
def test_unequal_clients_train_alike_one_by_one_and_as_a_cohort(case: str, tmp_path: Path) -> None:
    """The same bytes and batches; every round was held against the formulas."""
    file = training_file(tmp_path, TEXT)
    for mode in ("sequential", "cohort"):
        result = train(file, tmp_path / mode, case=case, train__mode=mode, workload__num_rounds=2)
        assert result.exit_code == 0, result.output
    one, other = (untimed(tmp_path / mode / "metrics.jsonl") for mode in ("sequential", "cohort"))
    assert [r["uplink_payload_bytes"] for r in one] == [r["uplink_payload_bytes"] for r in other]
    rows = [r for r in lines(tmp_path / "sequential" / "ledger.jsonl") if r["round"] == 1]
    trained = {"fedllm": "a2", "kd_fedllm": "b1", "split_fedllm": "c1"}[case]
    samples = {r["party"]: r["samples"] for r in rows if r["step"] == trained}
    assert samples == {"few/0": 3, "few/1": 3, "many": 18}


def test_numbers_of_samples_that_spread_are_trained_on(tmp_path: Path) -> None:
    """Those that the scenario draws with its seed."""
    document = read(training_file(tmp_path), ["workload.samples_alpha=0.8", "fleet.num_clients=4"])
    sizes = client_sizes(document.federation)
    assert len(set(sizes.values())) > 1
    federation, _ = TrainingSetup(document).federation(0)
    assert {name: rows.num_rows for name, rows in federation.data.clients.items()} == sizes


def test_ranks_differ_where_nothing_is_averaged(tmp_path: Path) -> None:
    """Elsewhere the file is refused by the key, ahead of the first round."""
    file, out = training_file(tmp_path, TEXT), tmp_path / "run"
    keys = {"fleet__class.many.r": 4, "workload__num_rounds": 1}
    result = train(file, out, case="fedllm", **keys)
    assert result.exit_code == 2
    assert "[[fleet.class]] 'many' r = 4: an average of parameters needs one rank" in " ".join(
        result.output.split()
    )
    result = train(file, out, case="kd_fedllm", train__evaluate=["global"], **keys)
    assert result.exit_code == 0, result.output
    assert json.loads((out / "summary.json").read_text())["runs"][0]["num_rounds"] == 1


def test_the_server_asks_some(tmp_path: Path) -> None:
    """So many of them in every round, drawn by name."""
    keys = {"policy__clients_per_round": 2, "workload__num_rounds": 3}
    result = train(training_file(tmp_path, TEXT), tmp_path / "run", case="fedllm", **keys)
    assert result.exit_code == 0, result.output
    records = lines(tmp_path / "run" / "metrics.jsonl")[1:]
    assert [len(record["client_train_loss"]) for record in records] == [2, 2, 2]
