"""Run a calibration from plan to profile; continue one that was interrupted."""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import torch

import fedsim
from fedsim.calibration.fit import FitResult, Observation, fit_time_model
from fedsim.calibration.machine import describe_machine, repository_commit, software_versions
from fedsim.calibration.measure import NUM_AGGREGATED, measure_shape, sentinel_seconds
from fedsim.calibration.plan import PHASES, Phase, Point, Shape, plan_hash
from fedsim.calibration.profile import (
    Fit,
    Machine,
    ProfileFile,
    Provenance,
    Quality,
    Raw,
    write_profile,
)
from fedsim.errors import CalibrationError
from fedsim.protocol.work import operation_work

__all__ = ["Calibration", "calibrate", "set_num_threads"]

#: With three passes one that was disturbed does not move a point: the middle one counts.
NUM_PASSES: Final = 3
NUM_WARM_UPS: Final = 2
NUM_REPEATS: Final = 5
_SENTINEL_FLOP: Final = 2 * 512**3
#: The sentinel is a middling product; larger ones may be somewhat faster.
_PEAK_MARGIN: Final = 1.5
_MEASUREMENTS: Final = "measurements.csv"
_PARTIAL: Final = "measurements.partial.jsonl"


@dataclass(frozen=True)
class Sample:
    """One phase at one shape in one pass."""

    phase: Phase
    shape: Shape
    pass_index: int
    median_s: float
    min_s: float
    max_s: float
    num_repeats: int
    sentinel_s: float


@dataclass(frozen=True)
class Calibration:
    """What a calibration found.

    Attributes
    ----------
    path : Path
        Of ``profile.toml``.
    file : ProfileFile
    fit : FitResult
    observations : tuple of Observation
    samples : tuple of Sample
    num_resumed : int
        Measurements that an interrupted run had left.
    """

    path: Path
    file: ProfileFile
    fit: FitResult
    observations: tuple[Observation, ...]
    samples: tuple[Sample, ...]
    num_resumed: int


def calibrate(
    shapes: tuple[Shape, ...],
    out: Path,
    *,
    name: str,
    plan_name: str,
    command: str,
    device: torch.device,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> Calibration:
    """Measure all shapes, fit, and write the profile.

    Shapes are visited in random order, in passes separated in time. After each shape the
    measurements are on disk; a run with the same plan continues where an interrupted one was.

    Raises
    ------
    CalibrationError
        If the folder cannot be written.
    """
    start = time.perf_counter()
    partial = _Partial(out / _PARTIAL, plan_hash(shapes), describe_machine(device))
    samples = partial.load(shapes)
    num_resumed = len({(s.shape, s.pass_index) for s in samples})
    done = {(s.shape, s.pass_index) for s in samples}
    total = NUM_PASSES * len(shapes)
    for pass_index in range(NUM_PASSES):
        order = list(shapes)
        random.Random(pass_index).shuffle(order)
        for shape in order:
            if (shape, pass_index) in done:
                continue
            if on_progress is not None:
                on_progress(len(done), total, shape.name)
            fresh = _measure(shape, pass_index, device)
            partial.append(fresh)
            samples.extend(fresh)
            done.add((shape, pass_index))
    observations = _observations(samples)
    peak = _SENTINEL_FLOP / min(s.sentinel_s for s in samples)
    fit = fit_time_model(observations, _bounds(peak))
    file = _profile_file(
        samples, fit, name, plan_name, command, device, time.perf_counter() - start
    )
    text = _csv(samples)
    file = file.model_copy(
        update={"raw": Raw(file=_MEASUREMENTS, sha256=hashlib.sha256(text.encode()).hexdigest())}
    )
    path = write_profile(out, file, text)
    partial.remove()
    return Calibration(path, file, fit, tuple(observations), tuple(samples), num_resumed)


def set_num_threads(num_threads: int) -> None:
    """Pin the number of CPU threads that torch computes with."""
    torch.set_num_threads(num_threads)


def _bounds(peak_flop_per_s: float) -> dict[str, float]:
    fastest = 1.0 / (_PEAK_MARGIN * peak_flop_per_s)
    return {"linear_flop": fastest, "attention_flop": fastest, "head_flop": fastest}


def _measure(shape: Shape, pass_index: int, device: torch.device) -> list[Sample]:
    before = sentinel_seconds(device)
    times = measure_shape(
        shape, device, num_warm_ups=NUM_WARM_UPS, num_repeats=NUM_REPEATS, seed=pass_index
    )
    sentinel = (before + sentinel_seconds(device)) / 2
    return [
        Sample(
            phase,
            shape,
            pass_index,
            median(values),
            min(values),
            max(values),
            len(values),
            sentinel,
        )
        for phase, values in times.seconds.items()
    ]


def _observations(samples: list[Sample]) -> list[Observation]:
    by_point: dict[tuple[Phase, Shape], list[float]] = {}
    for sample in samples:
        by_point.setdefault((sample.phase, sample.shape), []).append(sample.median_s)
    return [
        Observation(
            shape.name,
            operation_work(
                Point(phase, shape).operation(), shape.training(), NUM_AGGREGATED
            ).features(),
            median(values),
        )
        for (phase, shape), values in sorted(
            by_point.items(), key=lambda item: (item[0][1].name, PHASES.index(item[0][0]))
        )
    ]


def pass_noise(samples: list[Sample]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Relative difference of each point's first and last pass: the machine's test-retest noise."""
    by_point: dict[tuple[Phase, Shape], list[float]] = {}
    for sample in samples:
        by_point.setdefault((sample.phase, sample.shape), []).append(sample.median_s)
    return np.array(
        [abs(v[0] - v[-1]) / (sum(v) / len(v)) for v in by_point.values() if len(v) > 1]
    )


def _profile_file(
    samples: list[Sample],
    fit: FitResult,
    name: str,
    plan_name: str,
    command: str,
    device: torch.device,
    duration_s: float,
) -> ProfileFile:
    noise = pass_noise(samples)
    versions = software_versions()
    held_out = fit.held_out
    return ProfileFile.model_validate(
        {
            "schema": 1,
            "fedsim": fedsim.__version__,
            "name": name,
            "machine": describe_machine(device),
            "provenance": Provenance(
                command=command,
                date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
                commit=repository_commit(),
                plan=plan_name,
                duration_s=round(duration_s, 1),
                **versions,
            ),
            "fit": Fit(seconds_per_unit=fit.seconds_per_unit, relative_sigma=fit.relative_sigma),
            "quality": Quality(
                num_points=len(held_out.errors),
                noise_median=float(np.median(noise)),
                noise_p95=float(np.quantile(noise, 0.95)),
                held_out_by="shape",
                held_out_median=held_out.median,
                held_out_p95=held_out.p95,
                held_out_max=held_out.largest,
                held_out_bias=held_out.bias,
                coverage_95=held_out.coverage_95,
            ),
            "raw": Raw(file=_MEASUREMENTS, sha256=""),
        }
    )


def _csv(samples: list[Sample]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    shape_fields = list(Shape.__dataclass_fields__)
    writer.writerow(
        [
            "phase",
            *shape_fields,
            "pass_index",
            "median_s",
            "min_s",
            "max_s",
            "num_repeats",
            "sentinel_s",
        ]
    )
    for s in sorted(samples, key=lambda s: (s.shape.name, PHASES.index(s.phase), s.pass_index)):
        writer.writerow(
            [
                s.phase,
                *(getattr(s.shape, field) for field in shape_fields),
                s.pass_index,
                f"{s.median_s:.9g}",
                f"{s.min_s:.9g}",
                f"{s.max_s:.9g}",
                s.num_repeats,
                f"{s.sentinel_s:.9g}",
            ]
        )
    return stream.getvalue()


class _Partial:
    """Measurements of an unfinished run, one shape and pass a line."""

    def __init__(self, path: Path, plan: str, machine: Machine) -> None:
        self.path = path
        self.key = {"plan": plan, **machine.model_dump(), **software_versions()}

    def load(self, shapes: tuple[Shape, ...]) -> list[Sample]:
        """What is usable: lines of this plan, machine setting and software."""
        if not self.path.exists():
            return []
        by_name = {shape.name: shape for shape in shapes}
        samples: list[Sample] = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                # The line that was being written when the run was killed.
                continue
            if record["key"] == self.key:
                for row in record["samples"]:
                    row["shape"] = by_name[row["shape"]]
                    samples.append(Sample(**row))
        return samples

    def append(self, samples: list[Sample]) -> None:
        """Put one shape's measurements on disk."""
        rows = [
            {field: getattr(s, field) for field in Sample.__dataclass_fields__}
            | {"shape": s.shape.name}
            for s in samples
        ]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                # Behind a line that was torn by a kill, a new one begins.
                stream.write("\n" + json.dumps({"key": self.key, "samples": rows}) + "\n")
        except OSError as error:
            raise CalibrationError(
                f"{self.path}: cannot be written ({error.strerror}); name another folder by --out."
            ) from error

    def remove(self) -> None:
        """Forget the unfinished run: the profile has it all."""
        self.path.unlink(missing_ok=True)
