"""Outputs are checked first and appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario.output import check_writable, write_text


def test_a_usable_output_is_accepted(tmp_path: Path) -> None:
    """A new or an existing file in a folder that may be written."""
    check_writable(tmp_path / "a.json")
    check_writable(tmp_path / "a.PNG", (".png",))


@pytest.mark.parametrize("name", ["", "nowhere/a.json"])
def test_a_folder_or_a_missing_folder_is_refused(tmp_path: Path, name: str) -> None:
    """Before anything is computed."""
    with pytest.raises(ScenarioError, match="folder"):
        check_writable(tmp_path / name)


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    """The allowed ones are listed."""
    with pytest.raises(ScenarioError, match=r"allowed: \.png, \.svg"):
        check_writable(tmp_path / "a.pdf", (".png", ".svg"))


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """No temporary file is left behind."""
    path = tmp_path / "a.json"
    path.write_text("old")
    write_text(path, "new")

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """What cannot be renamed into place is removed."""
    (tmp_path / "a").mkdir()
    with pytest.raises(ScenarioError, match="cannot be written"):
        write_text(tmp_path / "a", "text")

    assert [path.name for path in tmp_path.iterdir()] == ["a"]
