"""Raw measurements as rows: in memory, in a CSV file, and in the file of an unfinished run.

Needs no torch: a profile is fitted and judged from these rows alone, on any machine.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import Any, Final

from fedsim.calibration.shape import COPY_PHASES, PHASES, Phase, Point, Shape
from fedsim.calibration.storage import JsonLines
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
    """Memory of one phase at one shape [B].

    Attributes
    ----------
    peak_bytes : int
        Live tensors at the peak, the part's parameters and its optimizer's state included: on CUDA
        the allocator's active peak, on a CPU the storages that operations made.
    saved_bytes : int
        What autograd keeps for the backward pass, each storage once, without parameters, by
        saved-tensor hooks. Under checkpointing only what it keeps itself.
    resident_bytes : int or None
        Growth of the process's resident set to its peak; None where the system does not tell.
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
    try:
        return _visits(reader, where)
    except csv.Error as error:
        raise CalibrationError(
            f"{where}: not a CSV table ({error}). Restore the file or measure again with "
            "'fedsim calibrate'."
        ) from error


def _visits(reader: csv.DictReader[str], where: str) -> list[Visit]:
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
            # A row that is there twice is one measurement; two that contradict are none.
            if entry["seconds"].setdefault(row["phase"], values) != values:
                raise ValueError("an earlier line has other seconds of the same phase and visit")
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


class Partial(JsonLines):
    """Visits of an unfinished run, one a line."""

    def load(self, shapes: Iterable[Shape]) -> list[Visit]:
        """What is usable of an earlier run."""
        by_name = {shape.name: shape for shape in shapes}
        return [
            Visit(
                by_name[record["shape"]],
                record["pass_index"],
                record["attempt"],
                {phase: tuple(values) for phase, values in record["seconds"].items()},
                record["sentinel_s"],
                {phase: Memory(**m) for phase, m in record["memory"].items()},
                record["duration_s"],
            )
            for record in self.read()
        ]

    def note(self, visit: Visit) -> None:
        """Put one visit on disk."""
        record = asdict(visit)
        self.append({**record, "shape": visit.shape.name})
