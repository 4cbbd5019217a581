"""Messages of the runtime and of the data loaders, as mistakes in a scenario file.

They name options of other commands and arguments of functions; here the user typed keys.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fedsim.errors import ScenarioError
from fedsim.scenario.file.mistake import Mistake

__all__ = ["mistakes_of"]

_KEYS_FOR_OPTIONS: Final = {
    "--weights-from FOLDER": 'weights_from = "FOLDER"',
    "--weights random": 'learning.weights = "random"',
    "--model": "[model] name",
    "--data generated": '[data] dataset = "generated"',
    "--device ": "device = ",
}
_PLACES: Final = {
    "num_clients": "[fleet] num_clients",
    "num_public": "[workload] public_samples",
    "num_labels": "[model] num_classes",
    "num_test": "[data] test_samples",
    "num_train": "[workload] samples_per_client",
    "num_classes": "[model] num_classes",
    "max_tokens": "[workload] max_tokens",
    "device": "[train] device",
}
_PREFIXES: Final = ("partition: ", "generated data: ")


def mistakes_of(error: ScenarioError, where: str) -> list[Mistake]:
    """One mistake a line of the message, at the key that it is about or at ``where``."""
    return [_mistake(line, where) for line in str(error).splitlines()]


def _mistake(line: str, where: str) -> Mistake:
    for prefix in _PREFIXES:
        line = line.removeprefix(prefix)
    for option, words in _KEYS_FOR_OPTIONS.items():
        line = line.replace(option, words)
    mistake = Mistake.of(ScenarioError(line), where)
    key = mistake.where.rpartition(" ")[2]
    return replace(mistake, where=_PLACES.get(key, mistake.where))
