"""Files that a scenario names: where they are looked for, and when they are read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario import run_scenario, scenario_schema
from fedsim.scenario.file.document import read_document
from scenarios import changed, written

ONE = {"case": [{"name": "x", "framework": "fedllm"}]}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "vocab_size": 100,
}
ALL_LINEAR = {"r": 2, "target_modules": ["all-linear"]}
MODULE = """
from fedsim.protocol import {name}


def build(plan):
    return {name}(plan)
"""


def a_model(folder: Path, num_layers: int) -> Path:
    """A folder with a config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(LLAMA | {"num_hidden_layers": num_layers})
    (folder / "config.json").write_text(text, encoding="utf-8")
    return folder


def num_layers(path: Path, *overrides: str) -> int:
    """Of the model that a scenario's first result is about."""
    number: int = run_scenario(path, overrides).results[0]["classes"][0]["plan"]["num_layers"]
    return number


def test_a_table_that_changed_between_two_answers_changes_the_second(tmp_path: Path) -> None:
    """A stale table would give a client of 10 kbit/s the time of one of 1 Mbit/s."""
    path = written(tmp_path, changed(fleet={"table": "clients.csv"}, **ONE))
    times = []
    for rate in ("1000", "0010"):
        (tmp_path / "clients.csv").write_text(f"communication_kbit_per_s\n{rate}\n")
        times.append(run_scenario(path).results[0]["round_time_s"]["mean"])

    assert times[1] > 10 * times[0]


def test_a_trace_that_changed_between_two_answers_changes_the_second(tmp_path: Path) -> None:
    """Rates and stays are read again too."""
    fleet = {"availability": {"kind": "trace", "file": "stays.csv", "period": "1 d"}}
    link = {"trace": "rates.csv", "trace_period": "1 h"}
    path = written(tmp_path, changed(fleet=fleet, link=link, **ONE))
    times = []
    for factor, start in (("1.00", "0"), ("0.01", "0"), ("0.01", "9")):
        (tmp_path / "rates.csv").write_text(f"time_s,factor\n0,{factor}\n")
        (tmp_path / "stays.csv").write_text(f"client,start_s,end_s\na,{start},80000\n")
        times.append(run_scenario(path).results[0]["makespan_s"]["mean"])

    assert times[0] < times[1] < times[2]


def test_a_model_that_changed_between_two_answers_changes_the_second(tmp_path: Path) -> None:
    """Its config.json is read for each answer."""
    path = written(tmp_path, changed(model={"name": "./mine"}, lora=ALL_LINEAR, **ONE))
    found = []
    for layers in (2, 3):
        a_model(tmp_path / "mine", layers)
        found.append(num_layers(path))

    assert found == [2, 3]


def test_two_folders_frameworks_of_one_name_are_two(tmp_path: Path) -> None:
    """The second scenario is answered with its own module."""
    uplinks = []
    for name in ("fedllm", "kd_fedllm"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "my_own_framework.py").write_text(MODULE.format(name=name), encoding="utf-8")
        case = {"case": [{"name": "x", "framework": "my_own_framework:build"}]}
        result = run_scenario(written(folder, changed(**case))).results[0]
        uplinks.append(result["totals"]["uplink_payload_bytes"])

    assert uplinks[0] != uplinks[1]


def test_a_relative_path_on_the_command_line_starts_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one in the file at the file: two models of one name, and never the other's."""
    (tmp_path / "there").mkdir()
    a_model(tmp_path / "there" / "mine", 2)
    a_model(tmp_path / "here" / "mine", 3)
    path = written(tmp_path / "there", changed(model={"name": "./mine"}, lora=ALL_LINEAR, **ONE))
    monkeypatch.chdir(tmp_path / "here")

    assert num_layers(path) == 2
    for spelled in ("./mine", "mine", "mine/config.json", "../here/mine"):
        assert num_layers(path, f"model.name={spelled}") == 3, spelled


def test_a_path_in_a_file_that_is_extended_starts_at_that_file(tmp_path: Path) -> None:
    """Its table lies beside it, not beside the file that extends it."""
    for folder, rate in (("base", 1000), ("child", 1)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "c.csv").write_text(f"communication_kbit_per_s\n{rate}\n")
    base = changed(fleet={"table": "c.csv"}, **ONE)
    child = {"question": "And here?", "extends": "../base/scenario.toml"}

    expected = run_scenario(written(tmp_path / "base", base)).results[0]["round_time_s"]
    found = run_scenario(written(tmp_path / "child", child)).results[0]["round_time_s"]
    assert found == expected


FILE_KEYS = [
    *("fleet.table", "fleet.availability.file", "link.trace", "link.profile"),
    *("profile", "model.name", "learning.curves", "train.weights_from"),
    *("data.dataset.path", "data.dataset.test_path"),
    *("data.public_dataset.path", "data.public_dataset.test_path"),
]


@pytest.mark.parametrize("key", FILE_KEYS)
def test_every_key_that_names_a_file_starts_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Tables, traces, profiles, curves and models alike."""
    monkeypatch.chdir(tmp_path)

    table: Any = read_document("case_study", [f"{key}=./some.file"]).table
    for part in key.split("."):
        table = table[part]
    assert table == str(tmp_path / "some.file")


@pytest.mark.parametrize("override", ["model.name=gpt2", "profile=cpu-2-threads"])
def test_a_name_on_the_command_line_stays_a_name(override: str) -> None:
    """What ships is found from everywhere."""
    key, _, value = override.partition("=")
    table: Any = read_document("case_study", [override]).table
    for part in key.split("."):
        table = table[part]
    assert table == value


def test_a_file_that_is_not_there_is_named_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the folder of fedsim's own scenarios."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ScenarioError) as caught:
        run_scenario("case_study", ["model.name=./none"])
    assert f"there is no file or folder {tmp_path / 'none'}" in str(caught.value)


#: Keys of text that names no file.
WORDS = {
    *("question", "extends", "model.name", "device.like", "device.name", "link.like", "link.name"),
    *("device", "link", "lora.target_modules", "workload.dataset", "price.currency"),
    *("goal.first", "goal.least", "goal.than"),
    *(
        f"codec.{content}{way}"
        for content in ("adapters", "logits", "activations", "activation_gradients")
        for way in ("", ".up", ".down")
    ),
    *(f"data.{n}.{c}_column" for n in ("dataset", "public_dataset") for c in ("text", "label")),
}


def free_texts(table: dict[str, Any], definitions: dict[str, Any], prefix: str = "") -> set[str]:
    """Keys whose value may be any text."""
    found = set()
    for name, entry in table["properties"].items():
        for option in (entry, *entry.get("anyOf", ())):
            inner = definitions.get(option.get("$ref", "").rpartition("/")[2])
            if inner is not None and name not in ("case", "class", "server"):
                found |= free_texts(inner, definitions, f"{prefix}{name}.")
            elif option.get("type") == "string" and not option.keys() & {
                "enum",
                "const",
                "pattern",
            }:
                found.add(f"{prefix}{name}")
    return found


def test_every_key_of_free_text_was_asked_whether_it_names_a_file() -> None:
    """A new key that does has to start at the current folder too."""
    schema = scenario_schema()

    found = free_texts(schema, schema["$defs"])
    assert found == WORDS | {*FILE_KEYS}
