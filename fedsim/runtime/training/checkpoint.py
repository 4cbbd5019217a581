"""Checkpoints: tensors as safetensors, and a JSON beside them that says what they belong to.

A checkpoint counts when its JSON is there and names the tensors' hash. Both are written under
temporary names, synchronized and renamed, tensors first, so that a kill at any moment leaves either
no checkpoint or a whole one. The last two are kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from torch import Tensor

from fedsim.errors import ScenarioError, TrainingError
from fedsim.files import write_file
from fedsim.runtime.channel import deserialize, serialize
from fedsim.text_file import read_text

__all__ = ["Checkpoint", "Checkpoints", "checkpoint_name"]

_SCHEMA: Final = 1
_KEPT: Final = 2
_NAME: Final = re.compile(r"round-(\d{6,})\.json")


@dataclass(frozen=True)
class Checkpoint:
    """A state that training can go on from.

    Attributes
    ----------
    round_index : int
        The last round in it.
    tensors : dict of str to Tensor
        On the CPU.
    identity : dict of str to str
        Whose it is.
    """

    round_index: int
    tensors: dict[str, Tensor]
    identity: dict[str, str]


@dataclass
class Checkpoints:
    """The checkpoints of one run.

    Attributes
    ----------
    folder : Path
    identity : mapping
        What must be the same for a checkpoint to be this run's: configuration, weights, data.
    damaged : list of str
        Checkpoints that :meth:`latest` passed over, and why.
    """

    folder: Path
    identity: Mapping[str, str]
    damaged: list[str] = field(default_factory=list)

    def latest(self) -> Checkpoint | None:
        """The newest good checkpoint; None where there is none at all.

        Raises
        ------
        ScenarioError
            If a checkpoint belongs to another run, or there are some and all are damaged.
        """
        self.damaged = []
        for round_index, path in self._found():
            sidecar = self._sidecar(path)
            if sidecar is None:
                continue
            self._check_identity(path, sidecar)
            tensors = self._tensors(path.with_suffix(".safetensors"), sidecar)
            if tensors is not None:
                return Checkpoint(round_index, tensors, sidecar["identity"])
        if self.damaged:
            raise ScenarioError(
                f"{'; '.join(self.damaged)}: no good checkpoint is left. Give --fresh to start "
                "over, or name another folder."
            )
        return None

    def write(self, round_index: int, tensors: Mapping[str, Tensor]) -> None:
        """Put a state on disk, and remove all but the last two.

        Raises
        ------
        TrainingError
            If a parameter is infinite or no number: such a state is never kept.
        ScenarioError
            If the folder cannot be written; earlier checkpoints stay as they are.
        """
        for name, tensor in tensors.items():
            if not bool(torch.isfinite(tensor).all()):
                raise TrainingError(
                    f"round {round_index}: {name} holds numbers that are not finite"
                )
        body = serialize(tensors)
        sidecar = {
            "schema": _SCHEMA,
            "round": round_index,
            "identity": dict(self.identity),
            "num_bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        path = self.folder / checkpoint_name(round_index)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_file(path.with_suffix(".safetensors"), body, is_synced=True)
            write_file(path, json.dumps(sidecar, indent=1) + "\n", is_synced=True)
            self._remove_old()
        except OSError as error:
            raise ScenarioError(
                f"{path}: cannot be written ({error.strerror}). Earlier checkpoints are as they "
                "were: make room or mend the folder, and give the command again."
            ) from error

    def _found(self) -> Iterator[tuple[int, Path]]:
        """Sidecars, newest first."""
        if not self.folder.is_dir():
            return
        named = [(_NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        found = [(int(match[1]), path) for match, path in named if match is not None]
        yield from sorted(found, reverse=True)

    def _sidecar(self, path: Path) -> dict[str, Any] | None:
        try:
            sidecar = json.loads(read_text(path))
            if sidecar["schema"] == _SCHEMA and isinstance(sidecar["identity"], dict):
                return dict(sidecar)
            self.damaged.append(f"{path}: written by another version of fedsim")
        except (ScenarioError, ValueError, KeyError, TypeError, RecursionError) as error:
            self.damaged.append(f"{path}: cannot be read ({error})")
        return None

    def _check_identity(self, path: Path, sidecar: Mapping[str, Any]) -> None:
        found = sidecar["identity"]
        differing = [
            f"{name} was {found.get(name)} and is {value}"
            for name, value in self.identity.items()
            if found.get(name) != value
        ]
        if differing:
            raise ScenarioError(
                f"{path}: belongs to another run: {'; '.join(differing)}. Name another folder, or "
                "give --fresh to start over in this one."
            )

    def _tensors(self, path: Path, sidecar: Mapping[str, Any]) -> dict[str, Tensor] | None:
        try:
            body = path.read_bytes()
        except OSError as error:
            self.damaged.append(f"{path}: cannot be read ({error.strerror})")
            return None
        if len(body) != sidecar.get("num_bytes"):
            self.damaged.append(f"{path}: truncated ({len(body)} B of {sidecar.get('num_bytes')})")
            return None
        if hashlib.sha256(body).hexdigest() != sidecar.get("sha256"):
            self.damaged.append(f"{path}: changed since it was written")
            return None
        try:
            return deserialize(body, torch.device("cpu"))
        except SafetensorError as error:
            self.damaged.append(f"{path}: no safetensors ({error})")
            return None

    def _remove_old(self) -> None:
        for _, path in list(self._found())[_KEPT:]:
            # The JSON first: without it the tensors count for nothing.
            path.unlink(missing_ok=True)
            path.with_suffix(".safetensors").unlink(missing_ok=True)


def checkpoint_name(round_index: int) -> str:
    """File name of a checkpoint's JSON."""
    return f"round-{round_index:06}.json"
