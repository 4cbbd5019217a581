"""Summaries of training runs as curves: what was varied is a covariate, the rest a condition.

Which key is which is declared with the keys (:mod:`fedsim.scenario.answer.learned`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from fedsim.errors import ScenarioError
from fedsim.learning.curves import CurveGroup, Curves, Run
from fedsim.scenario.answer.learned import Use, conditions, learning_keys, plain
from fedsim.text_file import read_text
from fedsim.training.tables import TrainingFile

__all__ = ["collect_curves", "training_use"]

#: Labels of data sets, where a file leaves them to the data.
_NUM_CLASSES: Final = {"banking77": 77, "clinc150": 150, "generated": 8}
_KEYS: Final = learning_keys(TrainingFile)
#: Keys that a real run does not have: what they say, its data say.
_READ: Final = ("workload.lengths",)
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
    use = training_use(configuration)
    framework = use.framework
    if configuration["model"]["head"] != "classification":
        raise ScenarioError(f"{summary['file']}: a language model has no accuracy to fit.")
    measured_under = conditions(use, _KEYS)
    key = framework, json.dumps(measured_under, sort_keys=True)
    group = groups.setdefault(
        key,
        {
            "framework": framework,
            "conditions": measured_under,
            "chance": 1.0 / _num_classes(configuration),
            "test_samples": _test_samples(summary),
            "runs": [],
        },
    )
    covariates = _covariates(use)
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


def training_use(configuration: Mapping[str, Any]) -> Use:
    """Values of all keys that learning depends on, by the path that a scenario has for them.

    Parameters
    ----------
    configuration : mapping
        A whole training file, as its summary has it.
    """
    values = {key.path: (None if key.path in _READ else key.default,) for key in learning_keys()}
    for key in _KEYS:
        table, _, name = key.path.partition(".")
        given = (configuration.get(table) or {}).get(name, key.default)
        values[key.stands_for or key.path] = (plain(given),)
    if configuration["model"]["head"] == "classification":
        values["model.num_classes"] = (_num_classes(configuration),)
    return Use(str(configuration["train"]["framework"]), values)


def _num_classes(configuration: Mapping[str, Any]) -> int:
    given = configuration["model"].get("num_classes")
    return int(given or _NUM_CLASSES[configuration["data"]["dataset"]])


def _covariates(use: Use) -> dict[str, float]:
    """Those that this framework learns by; all are there, for all runs of a group need the same."""
    found = {}
    for key in learning_keys():
        value = use[key.path]
        if key.role == "covariate" and value is not None and use.feels(key):
            share = key.covariate == "participation"
            found[key.covariate] = 1.0 - value if share else float(value)
    return found


def _test_samples(summary: Mapping[str, Any]) -> int:
    given = summary["configuration"]["data"]["test_samples"]
    return int(given) if given else int(summary.get("test_samples") or 1)
