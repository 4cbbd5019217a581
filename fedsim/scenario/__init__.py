"""A TOML question, read and checked, answered by an interpreter."""

from fedsim.scenario.answer.result import ScenarioResult, answer_json
from fedsim.scenario.example import Example, example_protocol
from fedsim.scenario.file.document import scenario_names
from fedsim.scenario.file.json_schema import scenario_schema, scenario_schema_text
from fedsim.scenario.run import Question, read_scenario, run_scenario

__all__ = [
    "Example",
    "Question",
    "ScenarioResult",
    "answer_json",
    "example_protocol",
    "read_scenario",
    "run_scenario",
    "scenario_names",
    "scenario_schema",
    "scenario_schema_text",
]
