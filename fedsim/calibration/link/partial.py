"""Measurements of an unfinished sweep: one visit a line, so that a rerun continues."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from fedsim.calibration.link.sweep import Pilot, Sample, Visit
from fedsim.errors import CalibrationError

__all__ = ["PARTIAL_FILE", "Partial", "visit_key"]

PARTIAL_FILE: Final = "link_measurements.partial.jsonl"

VisitKey = tuple[int, str, int]


def visit_key(visit: Visit) -> VisitKey:
    """What tells a visit from the others of its sweep."""
    return visit.size_bytes, visit.direction.value, visit.pass_index


class Partial:
    """The file, and what of it belongs to this sweep.

    Parameters
    ----------
    path : Path
    key : dict of str to str
        Plan, address and endpoints; lines of another one are left alone.

    Attributes
    ----------
    pilot : Pilot or None
        The interrupted run's: another look at the link could choose other sizes.
    samples : list of Sample
    done : set
        Visits that need not be made again.
    """

    def __init__(self, path: Path, key: dict[str, str]) -> None:
        self._path = path
        self._key = key
        self.pilot: Pilot | None = None
        self.samples: list[Sample] = []
        self.done: set[VisitKey] = set()
        self._load()

    def note_pilot(self, look: Pilot) -> None:
        """Keep the first look.

        Raises
        ------
        CalibrationError
            If the file cannot be written.
        """
        self.pilot = look
        self._append({"pilot": asdict(look)})

    def note_visit(self, visit: Visit, samples: list[Sample]) -> None:
        """Keep a visit's measurements.

        Raises
        ------
        CalibrationError
            If the file cannot be written.
        """
        self.samples.extend(samples)
        self.done.add(visit_key(visit))
        self._append({"visit": visit_key(visit), "samples": [asdict(s) for s in samples]})

    def remove(self) -> None:
        """Forget the unfinished run: the profile has it all."""
        self._path.unlink(missing_ok=True)

    def _load(self) -> None:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise CalibrationError(
                f"{self._path}: cannot be read ({error}); remove it to start over."
            ) from error
        for line in lines:
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                # The line that was being written when the run was killed.
                continue

    def _take(self, record: dict[str, Any]) -> None:
        if record["key"] != self._key:
            return
        if "pilot" in record:
            self.pilot = Pilot(**record["pilot"])
            return
        size, direction, pass_index = record["visit"]
        samples = [Sample(**row) for row in record["samples"]]
        self.samples.extend(samples)
        self.done.add((size, direction, pass_index))

    def _append(self, record: dict[str, Any]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as stream:
                # Behind a line that was torn by a kill, a new one begins.
                stream.write("\n" + json.dumps({"key": self._key, **record}) + "\n")
        except OSError as error:
            raise CalibrationError(
                f"--out {self._path.parent}: cannot be written ({error.strerror}); name another "
                "folder."
            ) from error
