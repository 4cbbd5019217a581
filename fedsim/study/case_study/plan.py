"""Which runs the case study is made of, the most telling first.

Decides sweeps, seeds and rounds of the full study (the article's Section V), of a small one that
two CPU cores finish within two hours, and of a quick one, and which choices of ours stand where the
article is silent. Runs of one *series* differ by one number and by seeds; a claim is about a
series, or about two of them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from fedsim.scenario.file.merge import merged

__all__ = ["SERIES", "Scale", "StudyRun", "study_runs"]

Scale = Literal["full", "small", "quick"]

#: Section V; what it leaves open is ours (see ``docs/case_study.md``).
_BASE: Final[dict[str, Any]] = {
    "model": {"name": "gpt2", "num_classes": 77, "dropout": 0.0},
    "lora": {
        "r": 8,
        "alpha": 32.0,
        "dropout": 0.1,
        "target_modules": ["attn.c_attn"],
        "init_lora_weights": "gaussian",
    },
    "workload": {
        "max_tokens": 80,
        "padding": "none",
        "samples_per_client": 1667,
        "public_samples": 5002,
        "batch_size": 16,
        "num_rounds": 100,
    },
    "split": {"cut_layer": 4},
    "learning": {"learning_rate": 1e-3, "weights": "random"},
    "fleet": {"num_clients": 3},
    "data": {"dataset": "banking77", "seed": 0},
    "train": {
        "seeds": [0, 1, 42],
        "mode": "cohort",
        "evaluate": ["global"],
    },
}
_OF_SCALE: Final[Mapping[Scale, dict[str, Any]]] = {
    "full": {},
    "small": {
        "model": {"name": "gpt2-mini"},
        "workload": {"num_rounds": 15, "public_samples": 2000},
        "split": {"cut_layer": 2},
        "train": {"seeds": [0, 1], "evaluate_every": 3},
    },
    "quick": {
        "model": {"name": "gpt2-mini"},
        "workload": {"num_rounds": 4, "public_samples": 800, "samples_per_client": 600},
        "split": {"cut_layer": 2},
        "data": {"test_samples": 1000},
        "train": {"seeds": [0, 1], "evaluate_every": 2},
    },
}

_DROPOUTS: Final = "percent of clients that drop out of a round"

#: Name of a series: framework, what varies, its words.
SERIES: Final[Mapping[str, tuple[str, str, str]]] = {
    "fedllm": ("fedllm", "lora.r", "rank"),
    "kd": ("kd_fedllm", "workload.public_samples", "public samples"),
    "split": ("split_fedllm", "workload.samples_per_client", "training samples a client"),
    "split-v2": ("split_fedllm", "workload.samples_per_client", "training samples a client"),
    "fedllm-default-init": ("fedllm", "lora.r", "rank, peft's own initialization"),
    "fedllm-rslora": ("fedllm", "lora.r", "rank, rank-stabilized scaling"),
    "fedllm-scaled-rate": ("fedllm", "lora.r", "rank, learning rate growing as r^1.5"),
    "fedllm-dropouts": ("fedllm", "fleet.dropout_probability", _DROPOUTS),
    "kd-dropouts": ("kd_fedllm", "fleet.dropout_probability", _DROPOUTS),
    "split-dropouts": ("split_fedllm", "fleet.dropout_probability", _DROPOUTS),
}
_VALUES: Final[Mapping[Scale, Mapping[str, Sequence[int]]]] = {
    "full": {
        "fedllm": (8, 32, 1, 4, 16, 2),
        "kd": (5002, 1000, 500, 2000, 3000, 4000),
        "split": (1667, 400, 100, 200, 800, 1200),
        "split-v2": (1667,),
        "fedllm-default-init": (8, 1, 32),
        "fedllm-rslora": (8, 1, 32),
        "fedllm-scaled-rate": (8, 1, 32),
        "fedllm-dropouts": (30,),
        "kd-dropouts": (30,),
        "split-dropouts": (30,),
    },
    "small": {
        "fedllm": (8, 1, 32, 4),
        "kd": (2000, 500),
        "split": (1667, 400),
        "split-v2": (1667,),
        "fedllm-default-init": (8, 1, 32),
        "fedllm-dropouts": (30,),
        "kd-dropouts": (30,),
        "split-dropouts": (30,),
    },
    "quick": {
        "fedllm": (8, 1, 32),
        "kd": (800, 200),
        "split": (600, 150),
        "fedllm-default-init": (1, 32),
    },
}
#: One value of each series ahead of the next: what is cut off by a limit of time is detail.
_ORDER: Final = (
    "fedllm",
    "kd",
    "split",
    "split-v2",
    "fedllm-default-init",
    "fedllm-rslora",
    "fedllm-scaled-rate",
    "fedllm-dropouts",
    "kd-dropouts",
    "split-dropouts",
)
_CHANGES: Final[Mapping[str, dict[str, Any]]] = {
    # Clients take turns at one server-side model, so nothing can be computed for all at once; in
    # passes of one length, which is the same function, it is the faster of what is left.
    "split-v2": {
        "split": {"server_variant": "v2"},
        "workload": {"padding": "longest"},
        "train": {"mode": "sequential"},
    },
    "fedllm-default-init": {"lora": {"init_lora_weights": "default"}},
    "fedllm-rslora": {"lora": {"use_rslora": True}},
}


@dataclass(frozen=True)
class StudyRun:
    """One run of the study.

    Attributes
    ----------
    series : str
        A key of :data:`SERIES`.
    value : int
        Of what the series varies.
    table : dict
        Its scenario.
    """

    series: str
    value: int
    table: dict[str, Any]

    @property
    def name(self) -> str:
        """Folder of the run."""
        return f"{self.series}-{self.value}"


def study_runs(scale: Scale, changes: Mapping[str, Any] | None = None) -> list[StudyRun]:
    """All runs, in the order in which they are made.

    Parameters
    ----------
    scale : {"full", "small", "quick"}
    changes : mapping, optional
        Tables over the study's own: a device, weights, fewer rounds.
    """
    base = merged(copy.deepcopy(_BASE), copy.deepcopy(_OF_SCALE[scale]))
    base = merged(base, dict(changes or {}))
    values = _VALUES[scale]
    longest = max(len(found) for found in values.values())
    return [
        StudyRun(series, values[series][place], _table(base, series, values[series][place]))
        for place in range(longest)
        for series in _ORDER
        if place < len(values.get(series, ()))
    ]


def _table(base: dict[str, Any], series: str, value: int) -> dict[str, Any]:
    framework, varied, _ = SERIES[series]
    table = merged(copy.deepcopy(base), copy.deepcopy(_CHANGES.get(series, {})))
    table["case"] = [{"name": series, "framework": framework}]
    where, name = varied.split(".")
    table[where][name] = value / 100 if name == "dropout_probability" else value
    if series == "fedllm-scaled-rate":
        # Under 'gaussian' Adam's first step moves the product by alpha eta r^-1.5: equal at r = 8.
        rate = table["learning"]["learning_rate"]
        table["learning"]["learning_rate"] = rate * (value / 8) ** 1.5
    return table
