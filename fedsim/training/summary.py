"""The summary of a run: what it was, what it was made with, and its learning curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fedsim.calibration.machine import describe_machine, repository_commit, software_versions
from fedsim.scenario.file.output import write_text
from fedsim.training.file import TrainingDocument
from fedsim.training.folder import SUMMARY, RunFolder
from fedsim.training.setup import TrainingSetup
from fedsim.training.side_by_side import side_by_side
from fedsim.version import __version__

__all__ = ["written_summary"]

_TOTALS: Final = (
    "uplink_payload_bytes",
    "downlink_payload_bytes",
    "uplink_message_bytes",
    "downlink_message_bytes",
    "client_flop",
    "server_flop",
    "evaluation_flop",
    "compute_s",
    "transfer_s",
    "evaluation_s",
)


def written_summary(
    setup: TrainingSetup,
    folder: RunFolder,
    identities: Mapping[int, Mapping[str, str]],
    command: str,
) -> dict[str, Any]:
    """Write ``summary.json`` for the seeds that are done, and return what is in it."""
    document = setup.document
    records = folder.metrics.read()
    summary = {
        "schema": 2,
        "kind": "training",
        "fedsim": __version__,
        "commit": repository_commit(),
        "command": command,
        "file": document.name,
        "question": document.settings.question if "question" in document.given else "",
        "configuration": document.configuration(),
        "configuration_sha256": document.sha256(),
        "machine": describe_machine(setup.device).model_dump(),
        "versions": software_versions(),
        "weights": {
            "choice": document.settings.learning.weights,
            "source": document.train.weights_from or _model_name(setup),
        },
        "test_samples": _test_samples(records),
        "runs": [
            _run(document, seed, identity, [r for r in records if r["seed"] == seed])
            for seed, identity in identities.items()
        ],
    }
    write_text(folder.path / SUMMARY, json.dumps(summary, indent=1, allow_nan=False) + "\n")
    return summary


def _test_samples(records: list[dict[str, Any]]) -> int | None:
    """Test rows that every judged model was judged on; None where none was."""
    for record in records:
        num_judged = (record["global"] is not None) + len(record["clients"] or ())
        if num_judged:
            return int(record["evaluation_samples"]) // num_judged
    return None


def _model_name(setup: TrainingSetup) -> str | None:
    return None if setup.weights_source is None else setup.document.settings.model.name


def _run(
    document: TrainingDocument,
    seed: int,
    identity: Mapping[str, str],
    records: list[dict[str, Any]],
) -> dict[str, Any]:
    last = records[-1]
    judged = [record for record in records if record["global"] is not None]
    best = max(judged, key=lambda record: record["global"]["accuracy"], default=None)
    return {
        "seed": seed,
        "num_rounds": last["round"],
        "weights_sha256": identity["weights"],
        "data_sha256": identity["data"],
        "final": {
            name: last[name] for name in ("train_loss", "global", "clients", "mean_client_accuracy")
        },
        "best": None
        if best is None
        else {"round": best["round"], "accuracy": best["global"]["accuracy"]},
        "totals": {name: sum(record[name] for record in records) for name in _TOTALS},
        "predicted_and_measured": side_by_side(document, records),
        "curve": _curve(records),
    }


def _curve(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The columns of a learning curve, a value a round; null where nothing was measured."""
    judged = [record["global"] or {} for record in records]
    return {
        "round": [record["round"] for record in records],
        "train_loss": [record["train_loss"] for record in records],
        "global_loss": [found.get("loss") for found in judged],
        "global_accuracy": [found.get("accuracy") for found in judged],
        "mean_client_accuracy": [record["mean_client_accuracy"] for record in records],
        "float32_loss": [record["float32_loss"] for record in records],
    }
