"""Raw measurements as rows: in memory, in a CSV file, and in the file of an unfinished run.

Needs no torch: a profile is fitted and judged from these rows alone, on any machine.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any, Final

from fedsim.calibration.shape import COPY_PHASES, PHASES, Phase, Point, Shape
from fedsim.errors import CalibrationError, FedsimError

__all__ = ["Memory", "Partial", "Visit", "read_csv", "to_csv"]

_SENTINELS: Final = ("product", "stream", "dispatch")
_SHAPE_FIELDS: Final = tuple(f.name for f in fields(Shape))
_COLUMNS: Final = (
    "phase",
    *_SHAPE_FIELDS,
    "pass_index",
    "attempt",
    "is_used",
    "is_disturbed",
    "seconds",
    *(f"sentinel_{name}_s" for name in _SENTINELS),
    "peak_bytes",
    "saved_bytes",
    "resident_bytes",
)


@dataclass(frozen=True)
class Memory:
    """Memory of one phase at one shape [B]; see :class:`fedsim.calibration.measure.MemoryReading`.

    Attributes
    ----------
    peak_bytes, saved_bytes : int
    resident_bytes : int or None
    """

    peak_bytes: int
    saved_bytes: int
    resident_bytes: int | None


@dataclass(frozen=True)
class Visit:
    """All phases of one shape in one pass.

    Attributes
    ----------
    shape : Shape
    pass_index, attempt : int
        A disturbed visit is made again: the same pass, the next attempt.
    seconds : mapping of str to tuple of float
        Each repeat of each phase [s].
    sentinel_s : mapping of str to float
        Mean of the sentinels ahead of and behind the visit [s].
    memory : mapping of str to Memory
        In the first pass only.
    duration_s : float
        Of the whole visit, warm-ups and sentinels included [s].
    """

    shape: Shape
    pass_index: int
    attempt: int
    seconds: Mapping[Phase, tuple[float, ...]]
    sentinel_s: Mapping[str, float]
    memory: Mapping[Phase, Memory] = field(default_factory=dict)
    duration_s: float = 0.0

    @property
    def key(self) -> tuple[str, int, int]:
        """Shape, pass and attempt."""
        return self.shape.name, self.pass_index, self.attempt

    def median_s(self, phase: Phase) -> float:
        """Median of the repeats [s]."""
        return median(self.seconds[phase])


def to_csv(visits: Iterable[Visit], used: set[tuple[str, int, int]], disturbed: set[str]) -> str:
    """The rows of a measurement file.

    Parameters
    ----------
    visits : iterable of Visit
        All of them: what was measured again stays in the file.
    used : set
        Keys of the visits that the fit sees.
    disturbed : set of str
        Names of points that never settled.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for visit in sorted(visits, key=lambda v: v.key):
        for phase in (*PHASES, *COPY_PHASES):
            if phase not in visit.seconds:
                continue
            memory = visit.memory.get(phase)
            writer.writerow(
                [
                    phase,
                    *(getattr(visit.shape, name) for name in _SHAPE_FIELDS),
                    visit.pass_index,
                    visit.attempt,
                    visit.key in used,
                    Point(phase, visit.shape).name in disturbed,
                    " ".join(f"{value:.5g}" for value in visit.seconds[phase]),
                    *(f"{visit.sentinel_s[name]:.6g}" for name in _SENTINELS),
                    *(
                        ("", "", "")
                        if memory is None
                        else (memory.peak_bytes, memory.saved_bytes, memory.resident_bytes or "")
                    ),
                ]
            )
    return stream.getvalue()


def read_csv(text: str, where: str) -> list[Visit]:
    """The visits of a measurement file, those that were measured again included.

    Raises
    ------
    CalibrationError
        If the file is not what :func:`to_csv` writes; the message names the row.
    """
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != _COLUMNS:
        raise CalibrationError(
            f"{where}: its columns are not those of this fedsim's measurements. Restore the file "
            "or measure again with 'fedsim calibrate'."
        )
    collected: dict[tuple[str, int, int], dict[str, Any]] = {}
    for number, row in enumerate(reader, start=2):
        try:
            shape = _shape(row)
            key = (shape.name, int(row["pass_index"]), int(row["attempt"]))
            entry = collected.setdefault(key, {"shape": shape, "seconds": {}, "memory": {}})
            values = tuple(float(text) for text in row["seconds"].split())
            if not values or not all(0 < value < float("inf") for value in values):
                raise ValueError("no positive seconds")
            entry["seconds"][row["phase"]] = values
            entry["sentinel"] = {name: float(row[f"sentinel_{name}_s"]) for name in _SENTINELS}
            if row["peak_bytes"]:
                resident = row["resident_bytes"]
                entry["memory"][row["phase"]] = Memory(
                    int(row["peak_bytes"]),
                    int(row["saved_bytes"]),
                    int(resident) if resident else None,
                )
        except (KeyError, TypeError, ValueError, AttributeError, FedsimError) as error:
            raise CalibrationError(
                f"{where}, line {number}: not a measurement ({error}). Restore the file or measure "
                "again with 'fedsim calibrate'."
            ) from error
    return [
        Visit(e["shape"], key[1], key[2], e["seconds"], e["sentinel"], e["memory"])
        for key, e in collected.items()
    ]


def _shape(row: Mapping[str, str]) -> Shape:
    values: dict[str, Any] = {}
    for f in fields(Shape):
        text = row[f.name]
        if f.type == "int":
            values[f.name] = int(text)
        elif f.type == "bool":
            values[f.name] = {"True": True, "False": False}[text]
        else:
            values[f.name] = text
    return Shape(**values)


class Partial:
    """Visits of an unfinished run, one a line.

    Parameters
    ----------
    path : Path
    key : mapping
        Plan, machine and software: a line with another key is not continued.
    """

    def __init__(self, path: Path, key: Mapping[str, object]) -> None:
        self.path = path
        self.key = dict(key)

    def load(self, shapes: Iterable[Shape]) -> list[Visit]:
        """What is usable of an earlier run."""
        if not self.path.exists():
            return []
        by_name = {shape.name: shape for shape in shapes}
        visits = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                # The line that was being written when the run was killed.
                continue
            if record["key"] == self.key:
                visits.append(
                    Visit(
                        by_name[record["shape"]],
                        record["pass_index"],
                        record["attempt"],
                        {phase: tuple(values) for phase, values in record["seconds"].items()},
                        record["sentinel_s"],
                        {phase: Memory(**m) for phase, m in record["memory"].items()},
                        record["duration_s"],
                    )
                )
        return visits

    def append(self, visit: Visit) -> None:
        """Put one visit on disk."""
        record = {
            "key": self.key,
            "shape": visit.shape.name,
            "pass_index": visit.pass_index,
            "attempt": visit.attempt,
            "seconds": {phase: list(values) for phase, values in visit.seconds.items()},
            "sentinel_s": dict(visit.sentinel_s),
            "memory": {phase: vars(m) for phase, m in visit.memory.items()},
            "duration_s": visit.duration_s,
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                # Behind a line that was torn by a kill, a new one begins.
                stream.write("\n" + json.dumps(record) + "\n")
        except OSError as error:
            raise CalibrationError(
                f"{self.path}: cannot be written ({error.strerror}); name another folder by --out."
            ) from error

    def remove(self) -> None:
        """Forget the unfinished run: the profile has it all."""
        self.path.unlink(missing_ok=True)
