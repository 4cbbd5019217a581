"""The schema comes from the declarations that read the file."""

from __future__ import annotations

import json

from fedsim.scenario import scenario_schema, scenario_schema_text
from fedsim.scenario.file.settings import ScenarioFile


def test_the_schema_knows_every_key_of_a_file() -> None:
    """Top-level keys, with their aliases."""
    assert set(scenario_schema()["properties"]) == set(ScenarioFile.model_fields)


def test_the_schema_is_json_and_says_what_keys_affect() -> None:
    """An editor and the docs can show it."""
    schema = json.loads(scenario_schema_text())

    assert schema["$defs"]["LoraTable"]["properties"]["r"]["affects"] == [
        "cost",
        "time",
        "learning",
    ]


def test_a_case_may_hold_part_of_a_table() -> None:
    """Nothing is mandatory in a table that another one completes."""
    schema = scenario_schema()

    assert "required" not in schema["$defs"]["WorkloadTable"]
    assert schema["required"] == ["question"]


def test_a_quantity_is_text_with_a_unit() -> None:
    """The pattern is the parser's."""
    uplink = scenario_schema()["$defs"]["LinkTable"]["properties"]["uplink"]

    assert "Mbit/s" in json.dumps(uplink)
