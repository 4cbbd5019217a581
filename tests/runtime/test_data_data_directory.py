"""Laws of the search for the user's data directory."""

from pathlib import Path

import pytest

from fedsim.errors import ScenarioError
from fedsim.runtime.data import DATA_DIR_VARIABLE, data_directory


def test_the_argument_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that the caller names is taken, whatever the environment says."""
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(tmp_path / "other"))
    assert tmp_path == data_directory(tmp_path)


def test_the_environment_is_asked_when_no_argument_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an argument the environment variable names the folder."""
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(tmp_path))
    assert tmp_path == data_directory()


@pytest.mark.parametrize("value", [None, ""])
def test_no_data_directory_tells_what_to_type(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without argument and variable (an empty one counts as none) all three ways are named."""
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(DATA_DIR_VARIABLE, value)
    with pytest.raises(ScenarioError, match=r"--data-dir.*FEDSIM_DATA_DIR.*--data generated"):
        data_directory()


def test_a_missing_folder_is_named_with_the_setting_that_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that does not exist is reported with its path and with who asked for it."""
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(ScenarioError, match=r"^FEDSIM_DATA_DIR = '.*gone': does not exist"):
        data_directory()
    with pytest.raises(ScenarioError, match=r"^--data-dir = '.*away': does not exist"):
        data_directory(tmp_path / "away")


def test_a_file_is_no_data_directory(tmp_path: Path) -> None:
    """A file in place of the folder is reported as a file."""
    (tmp_path / "file").touch()
    with pytest.raises(ScenarioError, match="is a file"):
        data_directory(tmp_path / "file")
