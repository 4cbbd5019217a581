"""Summaries of training runs as curves: what was varied is a covariate, the rest a condition."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from fedsim.errors import ScenarioError
from fedsim.learning.curves import CurveGroup, Curves, Run
from fedsim.text_file import read_text

__all__ = ["collect_curves"]

_COMMON: Final = {
    "dataset": ("data", "dataset"),
    "model": ("model", "name"),
    "head": ("model", "head"),
    "dropout": ("model", "dropout"),
    "max_tokens": ("workload", "max_tokens"),
    "batch_size": ("workload", "batch_size"),
    "accumulation_steps": ("workload", "accumulation_steps"),
    "local_epochs": ("workload", "local_epochs"),
    "optimizer": ("workload", "optimizer"),
    "learning_rate": ("learning", "learning_rate"),
    "optimizer_state": ("learning", "optimizer_state"),
    "partition": ("learning", "partition"),
    "dirichlet_alpha": ("learning", "dirichlet_alpha"),
    "alpha": ("lora", "alpha"),
    "lora_dropout": ("lora", "dropout"),
    "init_lora_weights": ("lora", "init_lora_weights"),
    "use_rslora": ("lora", "use_rslora"),
    "num_top_layers": ("lora", "num_top_layers"),
    "shares_head": ("lora", "shares_head"),
    "server_optimizer": ("train", "server_optimizer"),
    "mu": ("train", "mu"),
    "server_learning_rate": ("train", "server_learning_rate"),
}
_OF_FRAMEWORK: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "kd_fedllm": {
        "distillation_epochs": ("workload", "distillation_epochs"),
        "distillation_loss": ("learning", "distillation_loss"),
        "distillation_temperature": ("learning", "distillation_temperature"),
    },
    "split_fedllm": {
        "server_variant": ("split", "server_variant"),
        "cut_layer": ("split", "cut_layer"),
    },
}
#: Labels of data sets, where a file leaves them to the data.
_NUM_CLASSES: Final = {"banking77": 77, "clinc150": 150, "generated": 8}
_PROVENANCE: Final = ("fedsim", "commit", "versions")


def collect_curves(paths: Iterable[Path], provenance: Mapping[str, Any] | None = None) -> Curves:
    """Read summaries of ``fedsim train`` and put runs of equal conditions together.

    Parameters
    ----------
    paths : iterable of Path
        ``summary.json`` files, or the folders that hold them.
    provenance : mapping, optional
        What to add to what the summaries say: a command, a date.

    Raises
    ------
    ScenarioError
        If a file is no such summary, or holds no accuracy.
    """
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    machines: dict[str, None] = {}
    software: dict[str, Any] = {}
    for path in paths:
        summary = _summary(path / "summary.json" if path.is_dir() else path)
        machines.setdefault(_machine(summary["machine"]))
        software = {name: summary[name] for name in _PROVENANCE}
        _add(groups, summary)
    if not groups:
        raise ScenarioError("no summaries of training runs were named: nothing to collect.")
    found = {"machine": "; ".join(machines), **software, **(provenance or {})}
    return Curves(
        provenance=found,
        groups=tuple(CurveGroup(**groups[key]) for key in sorted(groups)),
    )


def _summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(read_text(path))
        if summary["kind"] != "training":
            raise KeyError("kind")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ScenarioError(f"{path}: no summary of 'fedsim train' ({error!r}).") from error
    found: dict[str, Any] = summary
    return found


def _machine(machine: Mapping[str, Any]) -> str:
    device = "GPU" if machine.get("device") == "cuda" else "CPU"
    return f"{machine.get('processor', 'unknown')} ({device})"


def _add(groups: dict[tuple[str, str], dict[str, Any]], summary: Mapping[str, Any]) -> None:
    configuration = summary["configuration"]
    framework = str(configuration["train"]["framework"])
    if configuration["model"]["head"] != "classification":
        raise ScenarioError(f"{summary['file']}: a language model has no accuracy to fit.")
    conditions = _conditions(framework, summary)
    dataset = configuration["data"]["dataset"]
    num_classes = configuration["model"]["num_classes"] or _NUM_CLASSES[dataset]
    key = framework, json.dumps(conditions, sort_keys=True)
    group = groups.setdefault(
        key,
        {
            "framework": framework,
            "conditions": conditions,
            "chance": 1.0 / num_classes,
            "test_samples": _test_samples(summary),
            "runs": [],
        },
    )
    covariates = _covariates(framework, configuration)
    label = "-".join(f"{name}={value:g}" for name, value in covariates.items())
    for run in summary["runs"]:
        curve = run["curve"]
        points = [
            (number, accuracy)
            for number, accuracy in zip(curve["round"], curve["global_accuracy"], strict=True)
            if accuracy is not None
        ]
        if len(points) < 2:
            raise ScenarioError(
                f"{summary['file']}, seed {run['seed']}: the global model was judged in fewer than "
                "two rounds."
            )
        group["runs"].append(
            Run(
                name=f"{label}-seed={run['seed']}",
                seed=run["seed"],
                covariates=covariates,
                rounds=tuple(number for number, _ in points),
                accuracy=tuple(round(accuracy, 6) for _, accuracy in points),
            )
        )


def _conditions(framework: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    configuration = summary["configuration"]
    names = {**_COMMON, **_OF_FRAMEWORK.get(framework, {})}
    found = {
        name: (configuration.get(table) or {}).get(key) for name, (table, key) in names.items()
    }
    weights = summary["weights"]
    source = f" ({weights['source']})" if weights["source"] else ""
    found["weights"] = f"{weights['choice']}{source}"
    lora = configuration.get("lora")
    if lora is not None:
        found["target_modules"] = ", ".join(lora["target_modules"])
    return {name: value for name, value in found.items() if value is not None}


def _covariates(framework: str, configuration: Mapping[str, Any]) -> dict[str, float]:
    workload = configuration["workload"]
    found = {
        "samples_per_client": float(workload["samples_per_client"]),
        "num_clients": float(configuration["data"]["num_clients"]),
        # Share of the clients that a round is expected to hear from.
        "participation": 1.0 - float(configuration["train"].get("dropout_probability", 0.0)),
    }
    if configuration.get("lora") is not None:
        found["r"] = float(configuration["lora"]["r"])
    if framework == "kd_fedllm":
        found["public_samples"] = float(workload["public_samples"])
    return found


def _test_samples(summary: Mapping[str, Any]) -> int:
    given = summary["configuration"]["data"]["test_samples"]
    return int(given) if given else int(summary.get("test_samples") or 1)
