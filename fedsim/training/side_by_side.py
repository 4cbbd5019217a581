"""What a file predicted of a run beside what the run measured: bytes, FLOP, time and accuracy.

Bytes are equal to the last unit, or the run would have ended with the round in which they were not.
FLOP are too where torch counted them. Seconds are those of the file's devices, and accuracy is that
of measured learning curves where all their conditions hold; elsewhere it is said why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fedsim.errors import ScenarioError
from fedsim.scenario.answer.accuracy import law_accuracy
from fedsim.scenario.file.hardware_tables import DeviceTable
from fedsim.scenario.file.settings import Settings
from fedsim.training.file import TrainingDocument
from fedsim.training.predicted import Devices
from fedsim.training.record import PREDICTED

__all__ = ["side_by_side"]

_METERED: Final = ("client_flop", "server_flop")
_NO_DEVICE: Final = "the file names no device, or no server, to predict seconds with"


def side_by_side(
    document: TrainingDocument, records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The entry of one seed's run.

    Parameters
    ----------
    document : TrainingDocument
    records : sequence of mapping
        The seed's lines of metrics, the set-up first.
    """
    is_metered = all(record["flop_is_metered"] for record in records)
    counts = {
        name: {
            "predicted": sum(record["predicted"][name] for record in records),
            "measured": sum(record[name] for record in records)
            if is_metered or name not in _METERED
            else None,
        }
        for name in PREDICTED
    }
    return {
        **counts,
        "compute_s": _seconds(document, records),
        "accuracy": _accuracy(document, records),
    }


def _seconds(document: TrainingDocument, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    devices = Devices.of(document)
    found = [record["predicted"]["compute_s"] for record in records]
    is_known = devices is not None and None not in found
    sums = [sum(each) for each in zip(*found, strict=True)] if is_known else [None] * 3
    names = [] if devices is None else [*devices.clients.values(), devices.server]
    return {
        "predicted": sums[0],
        "low": sums[1],
        "high": sums[2],
        "measured": sum(record["compute_s"] for record in records),
        "devices": list(dict.fromkeys(device.name for device in names)),
        "reason": None if is_known else _NO_DEVICE,
    }


def _accuracy(document: TrainingDocument, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    judged = records[-1]["global"]
    entry: dict[str, Any] = {
        "predicted": None,
        "low": None,
        "high": None,
        "measured": None if judged is None else judged["accuracy"],
        "reason": None,
    }
    try:
        found = law_accuracy(
            document.framework.name,
            _as_it_is_run(document.settings),
            document.case.laws,
            document.federation,
            records[-1]["round"],
        )
    except ScenarioError as error:
        return {**entry, "reason": str(error).rstrip(".")}
    if found.mean is None:
        return {**entry, "reason": "; ".join(found.extrapolates) or found.basis}
    return {**entry, "predicted": found.mean, "low": found.low, "high": found.high}


def _as_it_is_run(settings: Settings) -> Settings:
    """The settings that a real run has: texts of their own length, and the run's own format."""
    tf32 = {"tf32": settings.train.tf32}

    def as_run(table: DeviceTable) -> DeviceTable:
        return table.model_copy(update=tf32)

    server = settings.server.model_copy(update={"device": as_run(settings.server.device)})
    device = None if settings.device is None else as_run(settings.device)
    workload = settings.workload.model_copy(update={"lengths": None})
    return settings.model_copy(update={"device": device, "server": server, "workload": workload})
