"""Files are written whole or not at all, under names of their own, and never over an input."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedsim.cli import main
from fedsim.files import is_same_file, overwritten, replaced, write_file
from fedsim.resources import resource_dir
from scenarios import SMALL, changed, written


def invoked(*args: object) -> Result:
    """A command in this process."""
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """And nothing temporary."""
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with replaced(path) as (temporary,):
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    """The file that it names is written."""
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")

    write_file(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_written_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    """Not those of a secret: others may read an answer."""
    write_file(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")

    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_file_with_the_longest_name_can_be_written(tmp_path: Path) -> None:
    """A temporary name is no longer than that of the file."""
    write_file(tmp_path / ("x" * 255), "new")

    assert (tmp_path / ("x" * 255)).read_text() == "new"


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """Each renames what it wrote itself: one of the two is there in the end, whole."""
    path, both = tmp_path / "a", threading.Barrier(2)

    def write(text: str) -> None:
        with replaced(path) as (temporary,):
            temporary.write_text(text)
            both.wait()

    other = threading.Thread(target=write, args=("1" * 1000,))
    other.start()
    write("2" * 1000)
    other.join()
    assert path.read_text() in ("1" * 1000, "2" * 1000)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("spelled", ["a", "./a", "../{}/a", "symbolic", "hard"])
def test_one_file_is_known_by_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelled: str
) -> None:
    """Relative paths, symbolic links and hard links."""
    (tmp_path / "a").write_text("x")
    (tmp_path / "symbolic").symlink_to("a")
    os.link(tmp_path / "a", tmp_path / "hard")
    monkeypatch.chdir(tmp_path)

    path = Path(spelled.format(tmp_path.name))
    assert is_same_file(path, tmp_path / "a")
    assert overwritten([Path("b"), path], [tmp_path / "a"]) == (path, tmp_path / "a")
    assert overwritten([Path("b")], [tmp_path / "a"]) is None


# --- commands ------------------------------------------------------------------------------------


def a_scenario_with_files(folder: Path) -> Path:
    """One that names a file of every kind; all in one folder."""
    (folder / "clients.csv").write_text("slowdown\n1\n2\n")
    (folder / "rates.csv").write_text("time_s,factor\n0,1\n10,0.5\n")
    (folder / "stays.csv").write_text("client,start_s,end_s\na,0,80000\n")
    shutil.copytree(resource_dir("calibrate") / "cpu-2-threads", folder / "mine")
    model = {
        "model_type": "gpt2",
        **{"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 100},
    }
    (folder / "model.json").write_text(json.dumps(model))
    written(folder, SMALL, "base.toml")
    table = {
        "question": "What does it cost?",
        "extends": "base.toml",
        "profile": "mine",
        "model": {"name": "model.json"},
        "split": {"cut_layer": 1},
        "fleet": {
            "table": "clients.csv",
            "availability": {"kind": "trace", "file": "stays.csv", "period": "1 d"},
        },
        "link": {"trace": "rates.csv", "trace_period": "1 h"},
        "case": [{"name": "x", "framework": "fedllm"}],
    }
    return written(folder, table)


INPUTS = [
    *("scenario.toml", "base.toml", "clients.csv", "rates.csv", "stays.csv", "model.json"),
    "mine/profile.toml",
]


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("how", ["plain", "symbolic", "hard"])
def test_no_answer_is_written_over_what_it_was_computed_from(
    tmp_path: Path, name: str, how: str
) -> None:
    """The scenario, what it extends, tables, traces, the model and the profile."""
    path = a_scenario_with_files(tmp_path)
    before, output = (tmp_path / name).read_bytes(), tmp_path / name
    if how == "symbolic":
        output = tmp_path / "other.json"
        output.symlink_to(name)
    elif how == "hard":
        output = tmp_path / "other.json"
        os.link(tmp_path / name, output)

    result = invoked("scenario", path, "--json", output)
    assert result.exit_code == 2, result.output
    assert "is read by this command" in result.output
    assert (tmp_path / name).read_bytes() == before


def test_an_answer_beside_its_inputs_is_written(tmp_path: Path) -> None:
    """Only the inputs themselves are kept from it."""
    result = invoked("scenario", a_scenario_with_files(tmp_path), "--json", tmp_path / "a.json")

    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "a.json").read_text())["scenarios"]


def test_a_picture_or_trace_is_not_written_over_a_scenario(tmp_path: Path) -> None:
    """Whatever the scenario's suffix is."""
    table = changed(case=[{"name": "x", "framework": "fedllm"}])
    picture = written(tmp_path, table, "x.png")
    trace = written(tmp_path, table, "y.json")

    for options in ((picture, "--plot", picture), (trace, "--trace", tmp_path / "y")):
        result = invoked("scenario", *options)
        assert result.exit_code == 2, result.output
        assert "is read by this command" in result.output


def test_laws_are_not_written_over_the_curves_they_were_fitted_to(tmp_path: Path) -> None:
    """A file of curves that is called laws.json is where laws go by default."""
    shipped = resource_dir("calibrate") / "cpu-2-threads" / "learning" / "curves.json"
    curves = tmp_path / "laws.json"
    shutil.copy(shipped, curves)

    for options in ((), ("--out", curves)):
        result = invoked("learn", "fit", curves, *options)
        assert result.exit_code == 2, result.output
        assert curves.read_bytes() == shipped.read_bytes()
