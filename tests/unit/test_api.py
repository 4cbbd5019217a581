"""The public face: what ``fedsim`` itself offers, what it costs to import, and scenarios by it."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import fedsim
from fedsim.api.table import Column, Table, at
from fedsim.cli import main

ROOT = Path(fedsim.__file__).parents[1]
PADDING = ROOT / "docs" / "examples" / "padding.toml"
TEXT = """
extends = "case_study"
question = "Is <b>1 & 2</b> less?"
goal.least = "bytes"
[[case]]
name = "<i>low</i>"
framework = "fedllm"
sweep = { "lora.r" = [1, 2] }
[[case]]
name = "kd"
framework = "kd_fedllm"
workload.public_samples = 500
"""
#: Of the manual's ``what_if``: two clients at home, and one on LTE with other adapters.
UNEQUAL = {"workload.num_rounds": 1, "fleet.class.lte.r": 2, "fleet.num_clients": 3}


def modules_after(code: str) -> set[str]:
    """What a process of its own has imported after some lines."""
    code = f"import sys\n{code}\nsys.stdout.write(' '.join(sys.modules))"
    command = [sys.executable, "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def written_by_the_command(folder: Path, *arguments: str) -> str:
    """The JSON of ``fedsim scenario``."""
    path = folder / "answer.json"
    result = CliRunner().invoke(main, ["scenario", *arguments, "--json", str(path)])
    assert result.exit_code == 0, result.output
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def answer() -> fedsim.Answer:
    """Of a table of one's own, with two cases of which one is swept."""
    return fedsim.run(tomllib.loads(TEXT))


# --- importing ---------------------------------------------------------------------------------


def test_importing_fedsim_imports_nothing_large() -> None:
    """Names come when they are used."""
    large = {"numpy", "pydantic", "scipy", "torch", "numba", "rich", "click", "pandas", "pyarrow"}
    assert large & modules_after("import fedsim") == set()


def test_a_framework_is_written_without_what_answers_it() -> None:
    """The step words need neither torch nor what reads files and shows answers."""
    found = modules_after("from fedsim import Each, Framework, Train, adapter_payload")
    assert {"torch", "rich", "numba", "fedsim.scenario"} & found == set()


def test_a_scenario_is_answered_without_torch() -> None:
    """Nor does it need what prints, simulates or makes tables."""
    found = modules_after("import fedsim\nfedsim.run('case_study')")
    assert {"torch", "rich", "numba", "pandas", "pyarrow"} & found == set()


@pytest.mark.parametrize("name", fedsim.__all__)
def test_every_name_is_there_typed_and_documented(name: str) -> None:
    """Importable, listed, imported for type checkers, with a docstring and on the API page."""
    value = getattr(fedsim, name)
    assert name in dir(fedsim)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert f"fedsim.{name}\n" in page or f"`{name}`" in page


def test_type_checkers_see_the_names_that_are_loaded() -> None:
    """The imports that they read name each public name at the place where it is kept."""
    source = Path(fedsim.__file__).read_text(encoding="utf-8")
    block = source.split("if TYPE_CHECKING:\n")[1].split("\n__all__")[0]
    seen: dict[str, Any] = {}
    exec(inspect.cleandoc(block), seen)
    del seen["__builtins__"]
    assert {"__version__", *seen} == set(fedsim.__all__)
    assert {name for name, value in seen.items() if getattr(fedsim, name) is not value} == set()


def test_no_public_name_is_a_module_of_the_package() -> None:
    """Importing a submodule sets an attribute of the package, and would take a name's place."""
    modules = {path.stem for path in Path(fedsim.__file__).parent.iterdir()}
    assert modules & set(fedsim.__all__) == set()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'simulate'"):
        fedsim.simulate  # type: ignore[attr-defined]  # noqa: B018


# --- running -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", ["case_study", str(PADDING), PADDING], ids=["name", "text", "path"]
)
def test_an_answer_is_the_commands_byte_for_byte(source: str | Path, tmp_path: Path) -> None:
    """By a shipped name and by a path."""
    assert fedsim.run(source).to_json() == written_by_the_command(tmp_path, str(source))


def test_options_are_those_of_the_command(tmp_path: Path) -> None:
    """Overrides, engine and draws."""
    sets = ("--set", "workload.num_rounds=3", "--set", "link.uplink=10 Mbit/s")
    options = (*sets, "--engine", "des", "--seeds", "2")
    found = fedsim.run(
        PADDING,
        set={"workload.num_rounds": 3, "link.uplink": "10 Mbit/s"},
        engine="des",
        seeds=2,
    )
    assert found.to_json() == written_by_the_command(tmp_path, str(PADDING), *options)
    assert {result.engine for result in found.results} == {"des"}


def test_a_table_is_answered_like_the_file_that_holds_it(
    answer: fedsim.Answer, tmp_path: Path
) -> None:
    """But for what the file is called."""
    path = tmp_path / "own.toml"
    path.write_text(TEXT, encoding="utf-8")
    of_file = fedsim.run(path)
    assert {**answer.table, "file": str(path)} == of_file.table
    assert answer.table["file"] == "<dict>"


def test_a_table_with_a_sweep_on_top_is_not_changed() -> None:
    """Whoever gave it can give it again; tuples and numbers of numpy are as good as a file's."""
    table: dict[str, Any] = tomllib.loads(TEXT)
    table["case"][0]["sweep"]["lora.r"] = (np.int64(1), np.int64(2))
    before = json.dumps(table, default=str)
    found = fedsim.run(table, set={"lora.alpha": 16.0}, engine="analytic")
    assert json.dumps(table, default=str) == before
    assert [result.axes for result in found.results[:2]] == [{"lora.r": 1}, {"lora.r": 2}]


def test_relative_paths_of_a_table_start_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it extends, for one."""
    monkeypatch.chdir(tmp_path)
    base = TEXT.replace('extends = "case_study"', "")
    (tmp_path / "base.toml").write_text(base, encoding="utf-8")
    with pytest.raises(fedsim.ScenarioError, match="workload is missing"):
        fedsim.run({"extends": "base.toml", "question": "?"})
    with pytest.raises(fedsim.ScenarioError, match=r"files there: base\.toml"):
        fedsim.run({"extends": "bas.toml", "question": "?"})


def test_all_mistakes_are_told_at_once_as_by_the_command() -> None:
    """The same text, for a file's keys and for overrides."""
    with pytest.raises(fedsim.ScenarioError) as caught:
        fedsim.run("case_study", set={"workload.batch_size": 0, "lora.alpha": -1.0})
    options = ["--set", "workload.batch_size=0", "--set", "lora.alpha=-1.0"]
    result = CliRunner().invoke(main, ["scenario", "case_study", *options])
    assert result.output == f"Error: {caught.value}\n"
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("case_studi", {}, "Did you mean 'case_study'"),
        ({"seed": None, 3: 1}, {}, "<dict>: seed = None: a file cannot say that"),
        ({"seed": {1}}, {}, "set is nothing that a file can hold"),
        ({"seeds": 1}, {}, "Did you mean 'seed'"),
        ("case_study", {"set": {"lorra.r": 4}}, "Did you mean 'lora'"),
        ("case_study", {"set": {"lora": {"r": 4}}}, "name a key of it"),
        ("case_study", {"set": {4: 4}}, "write a key and its value"),
        ("case_study", {"set": {"lora.r": None}}, "lora.r = None"),
        ("case_study", {"engine": "dse"}, "allowed:"),
        ("case_study", {"seeds": 0}, "from 1 to 1,000"),
    ],
)
def test_bad_input_says_what_to_type(source: Any, options: dict[str, Any], words: str) -> None:
    """Every mistake is the user's to mend, and never a traceback from within."""
    with pytest.raises(fedsim.ScenarioError) as caught:
        fedsim.run(source, **options)
    assert words in str(caught.value)


def test_a_table_within_itself_is_refused() -> None:
    """There is no end to reading it."""
    table: dict[str, Any] = {}
    table["model"] = table
    with pytest.raises(fedsim.ScenarioError, match="nested too deeply"):
        fedsim.run(table)


def test_progress_tells_each_result_and_its_rounds() -> None:
    """Up to the last round of each simulated result."""
    told: list[tuple[str, int, int]] = []
    found = fedsim.run(
        PADDING,
        engine="des",
        seeds=1,
        set={"workload.num_rounds": 2},
        progress=lambda *news: told.append(news),
    )
    assert {name for name, _, _ in told} == {result.name for result in found.results}
    assert all((name, 2, 2) in told for name, _, _ in told)


def test_the_readmes_file_and_program_fit_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines of TOML and of Python are run as they stand there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    file, program = (readme.split(f"```{kind}\n")[1].split("```")[0] for kind in ("toml", "python"))
    assert len(file.splitlines()) == 5
    (tmp_path / "question.toml").write_text(file, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    assert "FedLLM takes least time" in capsys.readouterr().out


# --- tables ------------------------------------------------------------------------------------


def test_a_row_is_a_result_with_the_values_of_its_json(answer: fedsim.Answer) -> None:
    """A column is called like its path; one class of clients stands for all of them."""
    frame = answer.to_pandas()
    assert len(frame) == len(answer.results)
    for number, table in enumerate(answer.table["results"]):
        (alone,) = table["classes"]
        for path in frame.columns:
            if path in ("num_clients", "lora.r"):
                continue
            group = path.partition(".")[0]
            expected = at(alone if group.startswith("per_client") else table, path)
            actual = frame[path][number]
            assert (expected is None) if actual is pd.NA else (actual == expected), path


def test_missing_values_are_na_and_types_do_not_depend_on_them(answer: fedsim.Answer) -> None:
    """KD-FedLLM sweeps no rank, and nobody has a price."""
    frame = answer.to_pandas()
    assert list(frame["lora.r"][:2]) == [1, 2]
    assert frame["lora.r"][2] is pd.NA
    assert frame["money.total"].isna().all()
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert kinds["lora.r"] == kinds["per_client_round.client_flop"] == "Int64"
    assert kinds["money.total"] == kinds["round_time_s.mean"] == "Float64"
    assert kinds["name"] == kinds["money.currency"] == "string"


def test_arrow_has_the_same_columns_and_values(answer: fedsim.Answer) -> None:
    """NA there is null here."""
    frame, table = answer.to_pandas(), answer.to_arrow()
    assert table.column_names == list(frame.columns)
    for name in frame.columns:
        ours = [None if value is pd.NA else value for value in frame[name]]
        assert table[name].to_pylist() == ours


def test_of_unequal_clients_a_column_is_the_mean_and_of_memory_the_largest() -> None:
    """Weighted by how many clients a class has."""
    result = fedsim.run(PADDING.with_name("what_if.toml"), engine="des", set=UNEQUAL, seeds=1)
    frame = result.to_pandas()
    classes = result.table["results"][0]["classes"]
    peaks = [each["per_client_round"]["peak_memory_bytes"] for each in classes]
    assert len(set(peaks)) == len({each["num_clients"] for each in classes}) == 2
    num = sum(each["num_clients"] for each in classes)
    for name in ("uplink_payload_bytes", "client_flop"):
        total = sum(each["num_clients"] * each["per_client_round"][name] for each in classes)
        assert frame[f"per_client_round.{name}"][0] == pytest.approx(total / num, rel=1e-15)
    assert frame["per_client_round.peak_memory_bytes"][0] == max(peaks)
    assert frame["num_clients"][0] == num


def test_what_cannot_run_takes_no_time() -> None:
    """Its counts stand there; its times are NA."""
    frame = fedsim.run("case_study", set={"device.memory": "1.2 GB"}).to_pandas()
    lost = frame[frame["status"] == "infeasible"]
    assert len(lost) > 0
    assert lost["round_time_s.mean"].isna().all()
    assert (lost["per_client_round.client_flop"] > 0).all()


def test_a_number_beyond_64_bits_makes_its_column_a_float() -> None:
    """Instead of failing, or of a silent overflow."""
    table = Table({"x": Column("integer", (2**63, None)), "y": Column("integer", (2**63 - 1, 0))})
    assert [str(kind) for kind in table.to_pandas().dtypes] == ["Float64", "Int64"]
    assert table.to_arrow()["y"].to_pylist() == [2**63 - 1, 0]


def test_without_pandas_the_error_says_what_to_install(
    answer: fedsim.Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so without pyarrow."""
    for name in ("pandas", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(fedsim.ScenarioError, match=r"pip install 'fedsim-llm\[tables\]'"):
        answer.to_pandas()
    with pytest.raises(fedsim.ScenarioError, match="pip install pyarrow"):
        answer.to_arrow()


# --- showing -----------------------------------------------------------------------------------


def test_a_notebook_shows_the_answer_first_and_every_text_escaped(answer: fedsim.Answer) -> None:
    """The question, the answer's sentences, then a row a result."""
    page = answer._repr_html_()
    assert "<b>" not in page
    assert "<i>" not in page
    assert "Is &lt;b&gt;1 &amp; 2&lt;/b&gt; less?" in page
    first = answer.answer.splitlines()[0]
    assert first
    assert page.index("less?") < page.index("sends and receives") < page.index("<table>")
    assert page.count("<tr>") == 1 + len(answer.results)
    assert ">&lt;i&gt;low&lt;/i&gt; r=1</th>" in page


def test_a_notebook_says_how_far_figures_can_be_trusted() -> None:
    """What the command has in yellow stands under the table, and what would change the answer."""
    page = fedsim.run("case_study")._repr_html_()
    trusted = page[page.index("</table>") :]
    assert "Trust: bytes and FLOP are exact; seconds x/÷ 2.0: nobody measured" in trusted
    assert "Trust: energy is a lower bound" in trusted
    assert "Would change it: workload.public_samples = 1,247" in trusted


def test_as_text_it_is_the_commands_report(capsys: pytest.CaptureFixture[str]) -> None:
    """And ``show`` prints it, with the parts that were asked for."""
    found = fedsim.run("case_study")
    assert capsys.readouterr().out == ""
    command = CliRunner().invoke(main, ["scenario", "case_study"])
    assert str(found) == command.stdout
    found.show("counts")
    printed = capsys.readouterr().out
    assert (
        printed == CliRunner().invoke(main, ["scenario", "case_study", "--show", "counts"]).stdout
    )
    with pytest.raises(fedsim.ScenarioError, match="Did you mean 'counts'"):
        found.show("count")


def test_the_answer_and_warnings_are_those_of_the_json() -> None:
    """A setting that changes nothing is told."""
    found = fedsim.run("case_study", set={"fleet.num_clients": 3})
    assert found.answer.splitlines() == found.table["answer"]["sentences"]
    assert found.warnings == found.table["warnings"] != []
    assert found.question == found.table["question"]


def test_the_signatures_are_typed() -> None:
    """Editors and type checkers know every parameter and what comes back."""
    for function in (fedsim.run, fedsim.verify, fedsim.train):
        parameters = inspect.signature(function).parameters.values()
        assert all(one.annotation is not inspect.Parameter.empty for one in parameters)
        assert inspect.signature(function).return_annotation in fedsim.__all__


def test_one_case_of_a_file_is_answered_by_its_name() -> None:
    """The same source and the same word as for a run."""
    answer = fedsim.run("case_study", case="split", set={"workload.samples_per_client": 100})
    assert [result.name for result in answer.results] == ["split"]
    with pytest.raises(fedsim.ScenarioError, match=r"--case kdd: no such case.*'kd'"):
        fedsim.run("case_study", case="kdd")
