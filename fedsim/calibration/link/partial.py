"""Measurements of an unfinished sweep: one visit a line, so that a rerun continues."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from fedsim.calibration.link.sweep import Pilot, Sample, Visit
from fedsim.calibration.storage import JsonLines

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
        MeasurementPlan, address and endpoints; lines of another one are left alone.

    Attributes
    ----------
    pilot : Pilot or None
        The interrupted run's: another look at the link could choose other sizes.
    samples : list of Sample
    done : set
        Visits that need not be made again.
    """

    def __init__(self, path: Path, key: dict[str, str]) -> None:
        self._lines = JsonLines(path, key)
        self.pilot: Pilot | None = None
        self.samples: list[Sample] = []
        self.done: set[VisitKey] = set()
        for record in self._lines.read():
            try:
                self._take(record)
            except (ValueError, TypeError, KeyError):
                # A line of another fedsim, or one that was edited.
                continue

    def note_pilot(self, look: Pilot) -> None:
        """Keep the first look.

        Raises
        ------
        CalibrationError
            If the file cannot be written.
        """
        self.pilot = look
        self._lines.append({"pilot": asdict(look)})

    def note_visit(self, visit: Visit, samples: list[Sample]) -> None:
        """Keep a visit's measurements.

        Raises
        ------
        CalibrationError
            If the file cannot be written.
        """
        self.samples.extend(samples)
        self.done.add(visit_key(visit))
        self._lines.append({"visit": visit_key(visit), "samples": [asdict(s) for s in samples]})

    def remove(self) -> None:
        """Forget the unfinished run: the profile has it all."""
        self._lines.remove()

    def _take(self, record: dict[str, Any]) -> None:
        if "pilot" in record:
            self.pilot = Pilot(**record["pilot"])
            return
        size, direction, pass_index = record["visit"]
        samples = [Sample(**row) for row in record["samples"]]
        self.samples.extend(samples)
        self.done.add((size, direction, pass_index))
