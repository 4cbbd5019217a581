"""The folder of a training run: what stands in it, and that nothing in it is ever half-written.

``configuration.json`` says whose it is; ``metrics.jsonl`` and ``ledger.jsonl`` grow by whole
rounds; ``checkpoints/seed-N`` holds states; ``summary.json`` comes when a seed is done.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fedsim.errors import ScenarioError
from fedsim.runtime.training import Checkpoints
from fedsim.scenario.file.mistake import shown
from fedsim.scenario.file.output import write_text
from fedsim.text_file import read_text
from fedsim.training.file import TrainingDocument

__all__ = ["LEDGER", "METRICS", "SUMMARY", "RecordFile", "RunFolder"]

METRICS: Final = "metrics.jsonl"
LEDGER: Final = "ledger.jsonl"
SUMMARY: Final = "summary.json"
_CONFIGURATION: Final = "configuration.json"
_CHECKPOINTS: Final = "checkpoints"
_LOCK: Final = ".lock"
#: Of a configuration: 1 was that of training files which were no scenarios.
_SCHEMA: Final = 2


class RecordFile:
    """Records with a seed and a round, one a line.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """All whole records; a line that a kill tore is passed over.

        Raises
        ------
        ScenarioError
            If the file is there and cannot be read.
        """
        if not self.path.exists():
            return []
        lines = read_text(self.path).splitlines()
        return [record for line in lines if (record := _record(line)) is not None]

    def cut(self, seed: int, last_round: int) -> list[dict[str, Any]]:
        """Forget a seed's records behind a round, and torn lines; what is left of the seed."""
        records = self.read()
        kept = [r for r in records if r["seed"] != seed or r["round"] <= last_round]
        text = "".join(_line(record) for record in kept)
        if self.path.exists() and read_text(self.path) != text:
            write_text(self.path, text)
        return [record for record in kept if record["seed"] == seed]

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Put records on disk, all or none.

        Raises
        ------
        ScenarioError
            If the file cannot be written.
        """
        body = "".join(_line(record) for record in records).encode()
        try:
            with self.path.open("ab") as stream:
                size = stream.tell()
                try:
                    stream.write(body)
                    stream.flush()
                    os.fsync(stream.fileno())
                except OSError:
                    os.ftruncate(stream.fileno(), size)
                    raise
        except OSError as error:
            raise _unwritable(self.path, error) from error


class RunFolder:
    """Where a run writes.

    Parameters
    ----------
    path : Path
    document : TrainingDocument
    """

    def __init__(self, path: Path, document: TrainingDocument) -> None:
        self.path = path
        self.document = document
        self.metrics = RecordFile(path / METRICS)
        self.ledger = RecordFile(path / LEDGER)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out of the folder.

        Raises
        ------
        ScenarioError
            If one is at work there, or the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            stream = (self.path / _LOCK).open("a")
        except OSError as error:
            raise _unwritable(self.path, error) from error
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ScenarioError(
                    f"--output {self.path}: another run is writing there; name another folder."
                ) from error
            yield

    def check(self) -> None:
        """Raise ``ScenarioError`` where the folder holds a run of another configuration."""
        path = self.path / _CONFIGURATION
        if not path.exists():
            if self.metrics.path.exists():
                raise ScenarioError(
                    f"{self.metrics.path}: belongs to no run that is known here; name another "
                    "folder, or give --fresh to replace it."
                )
            return
        try:
            document = json.loads(read_text(path))
            found, schema = document["configuration"], document["schema"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ScenarioError(
                f"{path}: cannot be read ({error}); name another folder, or give --fresh."
            ) from error
        if schema != _SCHEMA:
            raise ScenarioError(
                f"--output {self.path}: holds a run of an older fedsim, whose training files had "
                "another format: it cannot go on. Its metrics stay readable; name another folder, "
                "or give --fresh to replace it."
            )
        differing = list(_differences(found, self.document.run_configuration()))
        if differing:
            raise ScenarioError(
                f"--output {self.path}: holds a run of another configuration: "
                f"{'; '.join(differing[:5])}. Name another folder, or give --fresh to replace it."
            )

    def num_rounds_left(self, *, is_fresh: bool) -> int:
        """Rounds of all seeds together that are not there yet."""
        num_rounds = self.document.settings.workload.num_rounds
        wanted = {
            (seed, number) for seed in self.document.seeds for number in range(1, num_rounds + 1)
        }
        if is_fresh:
            return len(wanted)
        return len(wanted - {(r["seed"], r["round"]) for r in self.metrics.read()})

    def begin(self) -> None:
        """Say whose folder it is."""
        document = {
            "schema": _SCHEMA,
            "sha256": self.document.sha256(),
            "configuration": self.document.run_configuration(),
        }
        write_text(self.path / _CONFIGURATION, json.dumps(document, indent=1) + "\n")

    def clear(self) -> None:
        """Remove an earlier run: first what it could go on from."""
        try:
            shutil.rmtree(self.path / _CHECKPOINTS, ignore_errors=False)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _unwritable(self.path, error) from error
        for name in (SUMMARY, METRICS, LEDGER, _CONFIGURATION):
            (self.path / name).unlink(missing_ok=True)

    def checkpoints(self, seed: int, identity: Mapping[str, str]) -> Checkpoints:
        """A seed's checkpoints."""
        return Checkpoints(self.path / _CHECKPOINTS / f"seed-{seed}", identity)


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # also a number of too many digits
        return None
    is_whole = isinstance(record, dict) and {"seed", "round"} <= set(record)
    return record if is_whole else None


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _differences(found: Any, wanted: Any, place: str = "") -> Iterator[str]:
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for name in dict.fromkeys([*found, *wanted]):
            inner = f"{place}.{name}" if place else str(name)
            yield from _differences(found.get(name), wanted.get(name), inner)
    elif found != wanted:
        yield f"{place} = {shown(found)} there and {shown(wanted)} here"


def _unwritable(path: Path, error: OSError) -> ScenarioError:
    return ScenarioError(
        f"{path}: cannot be written ({error.strerror}). What was there stays: make room or name "
        "another folder, and give the command again."
    )
