"""What can be refused at once is refused ahead of torch, whose import alone takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training_file import TOML, training_file

CODE = """
import sys
from click.testing import CliRunner
from fedsim.cli import main
result = CliRunner().invoke(main, sys.argv[1:])
print(result.output)
print(result.exit_code, "torch" in sys.modules)
"""


def called(*arguments: str) -> list[str]:
    """Output of a command line in a process of its own, and whether torch was imported."""
    command = [sys.executable, "-c", CODE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("command", ["verify", "train", "reproduce"])
def test_a_missing_data_folder_is_said_before_torch_is_imported(
    command: str, tmp_path: Path
) -> None:
    """Naming the folder; exit code 2."""
    text = TOML.replace('dataset = "generated"', 'dataset = "banking77"')
    file = training_file(tmp_path, text)
    arguments = {
        "verify": ["verify", "--set", "data.dataset=banking77"],
        "train": ["train", str(file), "--case", "fedllm", "--output", str(tmp_path / "o")],
        "reproduce": ["reproduce", "case-study", "--quick", "--output", str(tmp_path / "o")],
    }[command]
    output = called(*arguments, "--data-dir", str(tmp_path / "absent"))
    assert output[-1] == "2 False"
    assert "absent" in "".join(output)
    assert not (tmp_path / "o").exists()
