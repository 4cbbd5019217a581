"""Files are read, extended and overridden; what cannot be read is said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario import run_scenario
from fedsim.scenario.file.document import read_document, scenario_names
from fedsim.scenario.file.merge import merged
from fedsim.scenario.file.override import parse_override
from scenarios import SMALL, changed, written


def test_tables_are_merged_and_everything_else_is_replaced() -> None:
    """A list is a value: it is replaced, not appended to."""
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1}

    assert merged(base, {"a": {"y": [3]}, "b": 2}) == {"a": {"x": 1, "y": [3]}, "b": 2}


@pytest.mark.parametrize("name", ["device", "link"])
def test_a_name_stands_for_a_table(name: str) -> None:
    """A change to a named device or link keeps the name and changes the rest."""
    assert merged({name: "x"}, {name: {"y": 1}}) == {name: {"like": "x", "y": 1}}
    assert merged({name: {"y": 1}}, {name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lora.r=4", ("lora.r", 4)),
        ("seed = 7", ("seed", 7)),
        ("link.uplink=10 Mbit/s", ("link.uplink", "10 Mbit/s")),
        ('link.uplink="10 Mbit/s"', ("link.uplink", "10 Mbit/s")),
        ("model.gradient_checkpointing=true", ("model.gradient_checkpointing", True)),
        ('lora.target_modules=["a", "b"]', ("lora.target_modules", ["a", "b"])),
        ("device=rtx4090", ("device", "rtx4090")),
    ],
)
def test_an_override_is_a_key_and_a_toml_value(text: str, expected: tuple[str, Any]) -> None:
    """Quotes may be left out where nothing else could be meant."""
    assert parse_override(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lora.r", "write key=value"),
        ("=3", "write key=value"),
        ("lora.r=[", "not a TOML value"),
        ("lora.r=", "not a TOML value"),
        ("loar.r=4", "Did you mean 'lora'?"),
        ("lora=4", "name a key of it"),
        ("case=1", "unknown key 'case'"),
    ],
)
def test_a_broken_override_says_what_to_type(text: str, message: str) -> None:
    """An override that is no key=value is refused."""
    with pytest.raises(ScenarioError) as error:
        parse_override(text)

    assert message in str(error.value)


def test_a_value_with_a_second_line_is_no_override() -> None:
    """One override sets one key."""
    with pytest.raises(ScenarioError, match="not a TOML value"):
        parse_override("seed\n=1\nlora.r=2")


def test_a_file_overrides_what_it_extends(tmp_path: Path) -> None:
    """Tables are merged; the question is the file's own."""
    written(tmp_path, SMALL, "base.toml")
    child = {"question": "And now?", "extends": "base.toml", "lora": {"r": 2}}

    document = read_document(str(written(tmp_path, child)))

    assert document.table["question"] == "And now?"
    assert document.table["lora"] == {**SMALL["lora"], "r": 2}
    assert document.table["case"] == SMALL["case"]


def test_the_nearest_file_of_a_chain_has_the_last_word(tmp_path: Path) -> None:
    """Three levels in three folders; paths start where they are written, questions are left."""
    for name in ("far", "near"):
        (tmp_path / name).mkdir()
    far = {**SMALL, "profile": "measured", "workload": {**SMALL["workload"], "batch_size": 5}}
    written(tmp_path / "far", far, "base.toml")
    near = {"question": "y", "extends": "../far/base.toml", "lora": {"r": 3, "dropout": 0.5}}
    written(tmp_path / "near", near, "middle.toml")
    (tmp_path / "far" / "measured").mkdir()
    (tmp_path / "far" / "measured" / "profile.toml").touch()
    child = {"question": "x", "extends": "near/middle.toml", "lora": {"r": 2}}

    document = read_document(str(written(tmp_path, child)))

    assert document.table["question"] == "x"
    assert document.table["lora"] == {**SMALL["lora"], "r": 2, "dropout": 0.5}
    assert document.table["workload"]["batch_size"] == 5
    assert Path(document.table["profile"]).resolve() == (tmp_path / "far/measured").resolve()
    assert {path.name for path in document.inputs} == {"scenario.toml", "middle.toml", "base.toml"}


def test_a_circle_of_files_is_named(tmp_path: Path) -> None:
    """With all of its files, whoever of them was asked for."""
    written(tmp_path, {"question": "x", "extends": "two.toml"}, "one.toml")
    (tmp_path / "by").mkdir()
    written(tmp_path, {"question": "x", "extends": "by/../one.toml"}, "two.toml")

    with pytest.raises(ScenarioError, match=r"circle \(one\.toml -> two\.toml -> one\.toml\)"):
        read_document(str(tmp_path / "one.toml"))


@pytest.mark.parametrize("parent", ["bas.toml", "", 3, "\x00"])
def test_a_missing_parent_is_named(tmp_path: Path, parent: object) -> None:
    """The files beside the scenario are listed."""
    written(tmp_path, SMALL, "base.toml")
    path = tmp_path / "child.toml"
    value = f'"{parent}"' if isinstance(parent, str) and parent != "\x00" else '"\\u0000"'
    path.write_text(f'question = "x"\nextends = {value if parent != 3 else 3}\n')

    with pytest.raises(ScenarioError, match="extends = "):
        read_document(str(path))


def test_a_question_is_mandatory(tmp_path: Path) -> None:
    """Even where the extended file has one: another file asks something else."""
    written(tmp_path, SMALL, "base.toml")
    path = written(tmp_path, {"extends": "base.toml"})

    with pytest.raises(ScenarioError, match="question is missing"):
        run_scenario(path)


def test_broken_toml_is_located(tmp_path: Path) -> None:
    """Line and column are said."""
    path = tmp_path / "broken.toml"
    path.write_text('question = "x"\n[model\n')

    with pytest.raises(ScenarioError, match=r"not valid TOML: .*line 2, column 7"):
        read_document(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"a = " + b"[" * 5000, "nested too deeply|not valid TOML"),
        (b"a = " + b"9" * 5000, "not valid TOML"),
        (b"#" * 1_000_001, "larger than"),
    ],
)
def test_a_hostile_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Whatever is in it, one line says what is wrong."""
    path = tmp_path / "hostile.toml"
    path.write_bytes(content)

    with pytest.raises(ScenarioError, match=message):
        read_document(str(path))


def test_a_missing_file_lists_what_ships() -> None:
    """A near name is suggested."""
    with pytest.raises(ScenarioError, match="Did you mean 'case_study'"):
        read_document("case_studi")


@pytest.mark.parametrize("name", ["\x00", "a" * 5000])
def test_an_impossible_name_is_refused(name: str) -> None:
    """A name that no file can have is no traceback."""
    with pytest.raises(ScenarioError):
        read_document(name)


def test_a_folder_is_no_scenario(tmp_path: Path) -> None:
    """A folder is refused as such."""
    with pytest.raises(ScenarioError, match="is no file"):
        read_document(str(tmp_path))


@pytest.mark.parametrize("name", scenario_names())
def test_every_shipped_scenario_is_found_by_name(name: str) -> None:
    """The name of a shipped file, without its suffix, is enough."""
    assert read_document(name).table["question"]


def test_all_broken_overrides_are_named_at_once(tmp_path: Path) -> None:
    """Not only the first one."""
    path = str(written(tmp_path, changed()))

    with pytest.raises(ScenarioError) as error:
        read_document(path, ["a", "b"])

    assert len(str(error.value).splitlines()) == 2
