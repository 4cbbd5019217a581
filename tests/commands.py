"""Commands given as a user gives them, beside one file of the manual's examples."""

from __future__ import annotations

import shutil
from pathlib import Path

from click.testing import CliRunner, Result

from fedsim.cli import main

__all__ = ["EXAMPLES", "beside", "ran"]

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def ran(*arguments: str) -> Result:
    """A command that ends well."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result


def beside(name: str, folder: Path) -> Path:
    """A folder with nothing but a copy of one example file."""
    shutil.copy(EXAMPLES / name, folder)
    return folder
