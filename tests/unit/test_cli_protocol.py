"""``fedsim protocol``: the steps of a framework, with the article's names."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedsim.cli import main


def invoked(*arguments: object) -> Result:
    """Run ``fedsim protocol``."""
    return CliRunner().invoke(main, ["protocol", *map(str, arguments)])


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("fedllm", ["a1", "a2", "a3", "a4"]),
        ("kd_fedllm", [f"b{i}" for i in range(1, 9)]),
        ("split_fedllm", ["c1", "c2", "c3", "c4", "c5", "cc1", "cc2", "cc3", "cc4"]),
    ],
)
def test_every_step_has_a_row(name: str, labels: list[str]) -> None:
    """In the order in which they run."""
    result = invoked(name)

    assert result.exit_code == 0
    words = result.stdout.split()
    rows = [words.index(label) for label in labels]
    assert rows == sorted(rows)


@pytest.mark.parametrize("name", ["fedllm", "kd_fedllm", "split_fedllm"])
def test_a_diagram_is_drawn(tmp_path: Path, name: str) -> None:
    """Step names and payload sizes stand in it."""
    path = tmp_path / "a.svg"

    assert invoked(name, "--plot", path).exit_code == 0
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["fedlm"], "Did you mean 'fedllm'?"),
        (["nowhere:f"], "cannot be imported"),
        (["fedllm", "--plot", "a.pdf"], "allowed: .png, .svg"),
    ],
)
def test_a_mistake_is_2(arguments: list[str], part: str) -> None:
    """With a message."""
    result = invoked(*arguments)

    assert result.exit_code == 2
    assert part in result.stderr
