"""Outputs are checked first and appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario.file.output import check_writable, write_text


def test_a_usable_output_is_accepted(tmp_path: Path) -> None:
    """A new file in a folder that may be written passes, and checking makes no file."""
    check_writable(tmp_path / "a.json")
    check_writable(tmp_path / "a.PNG", (".png",))
    assert list(tmp_path.iterdir()) == []


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


def test_a_device_or_pipe_is_refused_and_stays(tmp_path: Path) -> None:
    """Renaming a file over a device would destroy it: refused before anything runs."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ScenarioError, match="no regular file"):
        check_writable(pipe)
    assert pipe.is_fifo()
    with pytest.raises(ScenarioError, match="no regular file"):
        check_writable(Path("-"))


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    """Writing through a symbolic link changes the file that it names."""
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
