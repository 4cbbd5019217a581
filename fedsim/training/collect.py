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
from fedsim.scenario.answer.learned import LearningKey, Use, conditions, learning_keys
from fedsim.text_file import read_text

__all__ = ["collect_curves", "run_keys", "training_use"]

#: Tables of a file that decide what a real run learns; devices and links only say how soon.
_TABLES: Final = ("model", "lora", "workload", "split", "codec", "learning", "data", "train")
#: What a run's own key says of a device, and what of a file its data say themselves.
_TF32: Final = "device.tf32"
_MORE: Final = (_TF32, "policy.clients_per_round")
_READ: Final = ("workload.lengths",)
_SCHEMA: Final = 2
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
    if summary.get("schema") != _SCHEMA:
        raise ScenarioError(
            f"{path}: of an older fedsim, whose training files had another format; its curves can "
            "be collected by that version, or trained again. Curves that were collected stay good."
        )
    found: dict[str, Any] = summary
    return found


def _machine(machine: Mapping[str, Any]) -> str:
    device = "GPU" if machine.get("device") == "cuda" else "CPU"
    return f"{machine.get('processor', 'unknown')} ({device})"


def _add(groups: dict[tuple[str, str], dict[str, Any]], summary: Mapping[str, Any]) -> None:
    configuration = summary["configuration"]
    if configuration["fleet"]["class"]:
        raise ScenarioError(
            f"{summary['file']}: has classes of clients; a law is of clients that are alike."
        )
    if configuration.get("schedule"):
        raise ScenarioError(
            f"{summary['file']}: its plans change by round ([[schedule]]); a law is of rounds that "
            "are planned alike."
        )
    use = training_use(configuration)
    framework = use.framework
    if configuration["model"]["head"] != "classification":
        raise ScenarioError(f"{summary['file']}: a language model has no accuracy to fit.")
    measured_under = conditions(use, run_keys())
    key = framework, json.dumps(measured_under, sort_keys=True)
    group = groups.setdefault(
        key,
        {
            "framework": framework,
            "conditions": measured_under,
            "chance": 1.0 / configuration["model"]["num_classes"],
            "test_samples": summary["test_samples"] or 1,
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


def run_keys() -> tuple[LearningKey, ...]:
    """Keys that say under which conditions a real run learned."""
    return tuple(
        key for key in learning_keys() if key.path.partition(".")[0] in _TABLES or key.path in _MORE
    )


def training_use(configuration: Mapping[str, Any]) -> Use:
    """Values of all keys that learning depends on.

    Parameters
    ----------
    configuration : mapping
        All tables of a run's file, as its summary has them.
    """
    values = {}
    for key in learning_keys():
        found: Any = configuration
        for name in key.path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        values[key.path] = (key.default if found is None else _plain(found),)
    values[_TF32] = (configuration["train"]["tf32"],)
    values.update(dict.fromkeys(_READ, (None,)))
    return Use(str(configuration["framework"]), values)


def _plain(value: Any) -> Any:
    """A value of a summary as a file of curves has it."""
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    if isinstance(value, Mapping):
        return value.get("path") or value.get("name")
    return value


def _covariates(use: Use) -> dict[str, float]:
    """Those that this framework learns by; all are there, for all runs of a group need the same."""
    found = {}
    for key in learning_keys():
        value = use[key.path]
        if key.role == "covariate" and value is not None and use.feels(key):
            share = key.covariate == "participation"
            found[key.covariate] = 1.0 - value if share else float(value)
    return found
