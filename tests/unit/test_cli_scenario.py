"""``fedsim scenario``: answers, files, and refusals without a trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedsim.cli import main
from scenarios import SMALL, changed, written


def invoked(*arguments: object) -> Result:
    """Run ``fedsim scenario``."""
    return CliRunner().invoke(main, ["scenario", *map(str, arguments)])


def refused(result: Result, *parts: str) -> None:
    """Exit code 2 and a message on standard error, nothing else."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def test_a_report_is_printed(tmp_path: Path) -> None:
    """The question is its title, and the answer comes first; the rest is asked for."""
    path = written(tmp_path, SMALL)
    result = invoked(path)

    assert result.exit_code == 0
    assert "What does it cost?" in result.stdout
    assert "takes least time" in result.stdout
    assert "Who takes least, and why" not in result.stdout
    assert "Who takes least, and why" in invoked(path, "--show", "verdicts").stdout
    assert "One client, one round" in invoked(path, "--all").stdout


def test_json_and_pictures_are_written(tmp_path: Path) -> None:
    """Beside the report, and without temporary files left over."""
    path = written(tmp_path, SMALL)
    for suffix in ("png", "svg"):
        done = invoked(path, "--json", tmp_path / "a.json", "--plot", tmp_path / f"a.{suffix}")
        assert done.exit_code == 0

    assert json.loads((tmp_path / "a.json").read_text())["schema"] == 2
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"scenario.toml", "a.json", "a.png", "a.svg"}


def test_several_files_give_one_document(tmp_path: Path) -> None:
    """In the order in which they were named."""
    first, second = written(tmp_path, SMALL, "a.toml"), written(tmp_path, SMALL, "b.toml")
    assert invoked(first, second, "--json", tmp_path / "a.json").exit_code == 0

    document = json.loads((tmp_path / "a.json").read_text())
    assert [entry["file"] for entry in document["scenarios"]] == [str(first), str(second)]


def test_a_shipped_scenario_is_named(tmp_path: Path) -> None:
    """Without its path."""
    assert invoked("case_study", "--json", tmp_path / "a.json").exit_code == 0
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["scenarios"][0]["file"] == "case_study"


def test_the_schema_is_printed() -> None:
    """And nothing else, so that it can be piped into a file."""
    assert json.loads(invoked("--schema").stdout)["title"] == "fedsim scenario"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("question = ", "not valid TOML"),
        ('question = "x"', "[[case]] is missing"),
        ('question = "x"\ncase = 3', "[[case]] is missing"),
        ('question = "x"\n[[case]]\nname = "a"', "framework is missing"),
        ('qestion = "x"', "question is missing"),
        ("", "question is missing"),
    ],
)
def test_a_broken_file_leaves_no_output(tmp_path: Path, text: str, part: str) -> None:
    """Neither JSON nor picture, whole or in part."""
    path = tmp_path / "x.toml"
    path.write_text(text)

    refused(invoked(path, "--json", tmp_path / "a.json", "--plot", tmp_path / "a.png"), part)
    assert [file.name for file in tmp_path.iterdir()] == ["x.toml"]


def test_mistakes_of_all_files_are_named(tmp_path: Path) -> None:
    """A second file's mistakes do not wait for the first's."""
    one = written(tmp_path, changed(lora={"rank": 1}), "one.toml")
    two = written(tmp_path, changed(link={"uplink": 3}), "two.toml")

    refused(
        invoked(one, two, "nothing.toml"), "one.toml: [lora] rank", "two.toml: [link]", "nothing"
    )


def test_an_existing_answer_survives_a_mistake(tmp_path: Path) -> None:
    """What was there stays."""
    (tmp_path / "a.json").write_text("old")
    path = written(tmp_path, changed(lora={"r": 0}))

    refused(invoked(path, "--json", tmp_path / "a.json"), "r = 0")
    assert (tmp_path / "a.json").read_text() == "old"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--plot", "a.pdf"], "allowed: .png, .svg"),
        (["--plot", "a"], "allowed: .png, .svg"),
        (["--json", "nowhere/a.json"], "there is no folder"),
        (["--json", "."], "is a folder"),
        (["--json", "a.png", "--plot", "a.png"], "both name a.png"),
        (["--engine", "ns3"], "allowed: 'auto', 'analytic'"),
        (["--set", "lora.rank=3"], "Did you mean 'r'?"),
        (["--set", "link.uplink=10 mbps"], "unit case is ambiguous"),
        (["--set", "lora.r"], "write key=value"),
        (["--show", "cost"], "Did you mean 'counts'?"),
    ],
)
def test_an_option_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], part: str
) -> None:
    """With what is allowed."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path, SMALL)

    refused(invoked("scenario.toml", *options), part)
    assert [file.name for file in tmp_path.iterdir()] == ["scenario.toml"]
