"""Small scenarios for tests: a file's text, tables as TOML, and answers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Final

import tomli_w

from fedsim.scenario import run_scenario
from fedsim.scenario.file.merge import merged

__all__ = ["SMALL", "answered", "changed", "written"]

#: All three frameworks on a tiny model, with texts of different lengths.
SMALL: Final[dict[str, Any]] = {
    "question": "What does it cost?",
    "model": {"name": "gpt2-tiny", "num_classes": 5, "dropout": 0.1},
    "lora": {"r": 4, "target_modules": ["attn.c_attn"], "dropout": 0.1},
    "workload": {
        "max_tokens": 24,
        "padding": "longest",
        "lengths": [3, 5, 8, 13, 21],
        "samples_per_client": 10,
        "public_samples": 6,
        "batch_size": 4,
        "num_rounds": 2,
    },
    "split": {"cut_layer": 1},
    "fleet": {"num_clients": 4},
    "device": {"like": "rpi5-8g"},
    "link": {"like": "lte-uk"},
    "server": {"device": {"like": "rpi5-16g"}, "num_accelerators": 4},
    "case": [
        {"name": "fedllm", "framework": "fedllm"},
        {"name": "kd", "framework": "kd_fedllm"},
        {"name": "split", "framework": "split_fedllm"},
    ],
}


def changed(**changes: Any) -> dict[str, Any]:
    """The small scenario with tables merged; ``changed(lora={"r": 8})``."""
    return merged(copy.deepcopy(SMALL), changes)


def written(folder: Path, table: dict[str, Any], name: str = "scenario.toml") -> Path:
    """A scenario file."""
    path = folder / name
    path.write_text(tomli_w.dumps(table), encoding="utf-8")
    return path


def answered(folder: Path, table: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of a scenario."""
    return run_scenario(written(folder, table)).results
