"""A TOML question, read and checked, answered by an interpreter."""

from fedsim.scenario.document import scenario_names
from fedsim.scenario.json_schema import scenario_schema, scenario_schema_text
from fedsim.scenario.result import ScenarioResult, answer_json, write_answer
from fedsim.scenario.run import Question, read_scenario, run_scenario

__all__ = [
    "Question",
    "ScenarioResult",
    "answer_json",
    "read_scenario",
    "run_scenario",
    "scenario_names",
    "scenario_schema",
    "scenario_schema_text",
    "write_answer",
]
