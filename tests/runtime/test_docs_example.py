"""A framework of one's own, as the manual shows it, really runs."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_a_framework_of_ones_own_is_executed_and_agrees() -> None:
    """The manual's framework runs on the unchanged runtime with every step as predicted."""
    result = subprocess.run(
        [sys.executable, "run_own_framework.py"],
        cwd=EXAMPLES,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "equal to the last unit" in " ".join(result.stdout.split())
