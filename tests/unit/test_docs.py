"""The documentation keeps up with the definitions."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from fedsim.cli import main
from fedsim.scenario.settings import ScenarioFile

DOCS = Path(__file__).parents[2] / "docs"
PICTURE = re.compile(r"^```\{image\}", re.MULTILINE)


def module(name: str) -> ModuleType:
    """A module of the documentation's own."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_every_key_of_a_scenario_is_documented() -> None:
    """Each key of each table of the file format stands in the generated reference."""
    reference = module("scenario_keys").key_tables()
    schema = ScenarioFile.model_json_schema(by_alias=True)
    keys = set(schema["properties"])
    for table in schema["$defs"].values():
        keys |= set(table.get("properties", {}))
    assert keys
    assert [key for key in sorted(keys) if f"`{key}`" not in reference] == []


@pytest.mark.parametrize("name", sorted(p.name for p in (DOCS / "examples").glob("*.toml")))
def test_the_examples_of_the_manual_are_answered(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every scenario that the manual shows gives an answer, a user's own framework included."""
    monkeypatch.syspath_prepend(str(DOCS / "examples"))
    result = CliRunner().invoke(main, ["scenario", str(DOCS / "examples" / name)])
    sys.modules.pop("adapters_up_logits_down", None)
    assert result.exit_code == 0, result.output


def test_the_readme_shows_the_shipped_profiles_figures() -> None:
    """The table in README.md is what the shipped profiles say, to the last digit."""
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert module("profile_table").updated(text) == text


def sentences(text: str) -> int:
    """How many sentences a paragraph has."""
    return len(re.findall(r"[a-zA-Z0-9)%][.?!](?=\s|$)", text))


@pytest.mark.parametrize(
    "name", ["half_fleet_lte", "overnight", "saturation", "stragglers", "second_gpu"]
)
def test_the_answers_of_the_manual_are_those_of_the_run(name: str) -> None:
    """Every figure that an answer quotes is what the scenario says now, to the last digit."""
    page = (DOCS / "questions.md").read_text(encoding="utf-8")
    assert module("question_quotes").missing_quotes(name, page) == []


def test_a_figure_that_is_no_longer_true_is_named() -> None:
    """Negative control: one digit of an answer is changed, and the check says which figure."""
    page = (DOCS / "questions.md").read_text(encoding="utf-8")
    spoilt = page.replace("10.32 s", "10.42 s")
    found = module("question_quotes").missing_quotes("second_gpu", spoilt)
    assert found == ["from 10.32 s to 9.836 s"]


def test_each_question_is_answered_in_two_sentences() -> None:
    """Below each picture of the page stands one paragraph of exactly two sentences."""
    page = (DOCS / "questions.md").read_text(encoding="utf-8")
    answers = [part.split("```", 1)[1].strip().split("\n\n")[0] for part in PICTURE.split(page)[1:]]
    assert len(answers) == 6
    assert [sentences(" ".join(answer.split())) for answer in answers] == [2] * 6
