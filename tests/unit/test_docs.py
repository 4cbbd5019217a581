"""The documentation keeps up with the definitions."""

import html
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from fedsim.cli import main
from fedsim.scenario import run_scenario
from fedsim.scenario.file.settings import ScenarioFile

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


def words_of(svg: Path) -> list[str]:
    """What a picture of a terminal says."""
    return html.unescape(
        " ".join(re.findall(r">([^<]*)</text>", svg.read_text(encoding="utf-8")))
    ).split()


def test_the_readme_shows_the_report_of_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both widths and themes of the report's picture say what the command prints now."""
    monkeypatch.syspath_prepend(str(DOCS))
    module("make_images")._draw_report(tmp_path / "case_study_report.png")
    fresh = sorted(tmp_path.glob("*.svg"))
    assert len(fresh) == 4
    for path in fresh:
        assert words_of(DOCS / "images" / path.name) == words_of(path)
    report = " ".join(words_of(fresh[0]))
    for quoted in ("43 s (22..85)", "1.50x (1.46..1.58)"):
        assert f"`{quoted}`" in (DOCS.parent / "README.md").read_text(encoding="utf-8")
        assert quoted in report


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
    quote = "10 s (7.7..18) for 9.8 s (7.2..16), 1.0x (0.99..1.3)"
    spoilt = page.replace("(7.7..18)", "(7.6..18)")
    assert spoilt != page
    assert module("question_quotes").missing_quotes("second_gpu", spoilt) == [quote]


def test_each_question_is_answered_in_two_sentences() -> None:
    """Below each picture of the page stands one paragraph of exactly two sentences."""
    page = (DOCS / "questions.md").read_text(encoding="utf-8")
    answers = [part.split("```", 1)[1].strip().split("\n\n")[0] for part in PICTURE.split(page)[1:]]
    assert len(answers) == 6
    assert [sentences(" ".join(answer.split())) for answer in answers] == [2] * 6


#: Tables whose keys are the user's or a scenario's own; :func:`keys_of` does not look into them.
FREE = {"axes", "changes", "instead_of", "measured_with"}
#: Parts of a plan in the words of the file, which the scenario reference documents.
OF_THE_FILE = {"model", "lora", "codec", "workload", "split", "learning", "policy", "privacy"}


def keys_of(value: Any, inside: str = "") -> Iterator[str]:
    """Every key of an answer."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            if key not in FREE and not (inside == "plan" and key in OF_THE_FILE):
                yield from keys_of(item, key)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from keys_of(item, inside)


STUDY = """
extends = "small_study"
question = "What does half the accuracy cost?"
goal.least = "time"
learning.budget_time = "10 min"
price.per_kwh = 0.3
[[case]]
name = "fedllm"
framework = "fedllm"
lora.r = 8
"""

FIRST = """
extends = "case_study"
question = "From where on are two faster?"
goal = { first = "fleet.num_clients", slower = 1.1, than = "two" }
workload.samples_per_client = 16
[[case]]
name = "one"
framework = "split_fedllm"
split.cut_layer = 4
sweep = { "fleet.num_clients" = [1, 2] }
[[case]]
name = "two"
framework = "split_fedllm"
split.cut_layer = 4
server.num_accelerators = 2
sweep = { "fleet.num_clients" = [1, 2] }
"""

#: A file of the manual, a shipped scenario or the text of one, and what is set on it.
ANSWERS = {
    "closed form": (DOCS / "examples" / "padding.toml", ()),
    "simulated": (
        DOCS / "examples" / "what_if.toml",
        ("engine=des", "device.slowdown_p95=2.0", "workload.num_rounds=2"),
    ),
    "privacy": (DOCS / "examples" / "privacy.toml", ()),
    "infeasible": ("case_study", ("device.memory=1.2 GB",)),
    "priced": (DOCS / "examples" / "padding.toml", ("price.per_uplink_gb=0.1",)),
    "left out": (
        DOCS / "examples" / "what_if.toml",
        (
            "policy.exclude_unfit=true",
            "fleet.class.lte.device.like=agx-orin-64g",
            "fleet.class.lte.device.memory=1 GB",
        ),
    ),
    "first": (FIRST, ()),
    "within": ("case_study", ("goal.within=1 d",)),
    "accuracy": (STUDY, ()),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_key_of_a_real_answer_is_explained(name: str, tmp_path: Path) -> None:
    """A program's author finds each key that an answer has on the page of the JSON contract."""
    path, overrides = ANSWERS[name]
    if path in (STUDY, FIRST):
        text, path = str(path), tmp_path / "question.toml"
        path.write_text(text, encoding="utf-8")
    page = (DOCS / "json.md").read_text(encoding="utf-8")
    keys = dict.fromkeys(keys_of(run_scenario(path, overrides).table))
    assert len(keys) > 100
    assert [key for key in keys if f"`{key}`" not in page] == []


def test_a_key_that_is_not_explained_is_named() -> None:
    """Negative control: the collector finds keys in lists of tables, and not those of the user."""
    answer = {"results": [{"new": 1, "axes": {"lora.r": 1}, "plan": {"lora": {"r": 1}, "own": 2}}]}
    assert list(keys_of(answer)) == ["results", "new", "axes", "plan", "lora", "own"]
