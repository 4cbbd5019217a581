"""A scenario that trains within a second, and the command that trains it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fedsim.cli import main
from fedsim.training.file import TrainingDocument, read_training

__all__ = ["TOML", "lines", "needs_published_data", "read", "train", "training_file", "untimed"]

needs_published_data = pytest.mark.skipif(
    not os.environ.get("FEDSIM_DATA_DIR"),
    reason="needs the published data: set FEDSIM_DATA_DIR to the folder that holds banking77/",
)

#: Dropout and a kept optimizer state: what a resumed run could get wrong.
TOML = """
[model]
name = "gpt2-tiny"
num_classes = 4
dropout = 0.1

[lora]
r = 2
alpha = 8
dropout = 0.1
target_modules = ["attn.c_attn"]

[workload]
max_tokens = 12
padding = "none"
samples_per_client = 6
public_samples = 5
batch_size = 4
num_rounds = 4

[split]
cut_layer = 1

[learning]
learning_rate = 1e-2
optimizer_state = "keep"
weights = "random"

[fleet]
num_clients = 2

[data]
dataset = "generated"
test_samples = 8

[[case]]
name = "fedllm"
framework = "fedllm"

[[case]]
name = "kd_fedllm"
framework = "kd_fedllm"

[[case]]
name = "split_fedllm"
framework = "split_fedllm"
"""


def training_file(folder: Path, text: str = TOML) -> Path:
    """The file on disk."""
    path = folder / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read(
    file: Path, overrides: Iterable[str] = (), case: str | None = "fedllm"
) -> TrainingDocument:
    """A case of the file."""
    return read_training(str(file), overrides, case)


def train(file: Path, out: Path, *options: str, case: str | None = "fedllm", **keys: Any) -> Result:
    """Run the command in this process; ``train__seeds=[1]`` sets a key."""
    chosen = () if case is None else ("--case", case)
    sets = [
        part
        for key, value in keys.items()
        for part in ("--set", f"{key.replace('__', '.')}={json.dumps(value)}")
    ]
    return CliRunner().invoke(
        main, ["train", str(file), "--output", str(out), *chosen, *sets, *options]
    )


def lines(path: Path) -> list[dict[str, Any]]:
    """Records of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def untimed(path: Path) -> list[dict[str, Any]]:
    """Records without what the clock said."""
    return [
        {name: value for name, value in record.items() if not name.endswith("_s")}
        for record in lines(path)
    ]
