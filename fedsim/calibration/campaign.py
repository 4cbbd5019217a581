"""Carry out a plan: passes separated in time, random order, disturbed visits made again.

Every visit is on disk before the next begins, so that an interrupted campaign goes on where it was.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import torch

from fedsim.calibration.disturbance import to_redo
from fedsim.calibration.judge import held_out_hash
from fedsim.calibration.machine import describe_machine, software_versions
from fedsim.calibration.measure import Bench
from fedsim.calibration.measurements import Memory, Partial, Visit
from fedsim.calibration.plan import MeasurementPlan, plan_hash, points
from fedsim.calibration.sentinel import sentinel_seconds
from fedsim.calibration.shape import Phase, Shape

__all__ = ["run_campaign"]

_PARTIAL = "measurements.partial.jsonl"


def run_campaign(
    plan: MeasurementPlan,
    out: Path,
    device: torch.device,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> tuple[list[Visit], int, Partial]:
    """Measure everything that is not yet measured.

    Returns
    -------
    tuple
        All visits, how many of them an interrupted run had left, and that run's file, which the
        caller removes when the results are safe.

    Raises
    ------
    CalibrationError
        If the folder cannot be written.
    """
    key = {
        "plan": plan_hash(plan),
        # What will be left out with what is fixed here, ahead of the first measurement.
        "held_out": held_out_hash(tuple(points(plan))),
        **describe_machine(device).model_dump(),
        **software_versions(),
    }
    partial = Partial(out / _PARTIAL, key)
    visits = partial.load(plan.shapes)
    num_resumed = len(visits)
    done = {(v.shape, v.pass_index) for v in visits}
    total = plan.num_passes * len(plan.shapes)

    def visit(shape: Shape, pass_index: int, attempt: int, what: str) -> None:
        if on_progress is not None:
            on_progress(len(visits), max(total, len(visits) + 1), what)
        fresh = measured_visit(plan, shape, pass_index, attempt, device)
        partial.note(fresh)
        visits.append(fresh)

    for pass_index in range(plan.num_passes):
        order = list(plan.shapes)
        random.Random(pass_index).shuffle(order)
        for shape in order:
            if (shape, pass_index) not in done:
                visit(shape, pass_index, 0, shape.name)
    num_redone = sum(v.attempt > 0 for v in visits)
    while num_redone < plan.max_redos:
        worst = to_redo(visits, plan.max_redos - num_redone)
        # The same visit again and again would spend on one point what others need too.
        worst = [v for v in worst if v.attempt < 2]
        if not worst:
            break
        total = len(visits) + len(worst)
        for bad in worst:
            visit(bad.shape, bad.pass_index, bad.attempt + 1, f"again: {bad.shape.name}")
        num_redone += len(worst)
    return visits, num_resumed, partial


def measured_visit(
    plan: MeasurementPlan, shape: Shape, pass_index: int, attempt: int, device: torch.device
) -> Visit:
    """Measure all phases of one shape, with the sentinels ahead and behind."""
    start = time.perf_counter()
    before = sentinel_seconds(device)
    bench = Bench(shape, device, seed=pass_index)
    seconds: dict[str, list[float]] = {}
    for repeat in range(plan.num_warm_ups + plan.num_repeats):
        for phase, value in bench.run_once().items():
            if repeat >= plan.num_warm_ups:
                seconds.setdefault(phase, []).append(value)
    after = sentinel_seconds(device)
    memory: dict[Phase, Memory] = {}
    if pass_index == 0 and attempt == 0:
        memory = bench.read_memory()
    return Visit(
        shape,
        pass_index,
        attempt,
        {phase: tuple(values) for phase, values in seconds.items()},  # type: ignore[misc]
        {name: (before[name] + after[name]) / 2 for name in before},
        memory,
        time.perf_counter() - start,
    )
