"""A calibration measures every phase, survives being interrupted, and writes what it measured."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fedsim.calibration import run
from fedsim.calibration.machine import describe_machine
from fedsim.calibration.measure import measure_shape
from fedsim.calibration.plan import PHASES, Point, plan_hash, quick_plan
from fedsim.calibration.profile import load_profile

SHAPES = tuple(
    replace(shape, num_layers=2, hidden_size=64, batch_size=2, num_tokens=4 + 4 * i, cut_layer=1)
    for i, shape in enumerate(quick_plan()[:4])
)
CPU = torch.device("cpu")


def calibrate(out: Path, **options) -> run.Calibration:
    """A small calibration."""
    return run.calibrate(
        SHAPES,
        out,
        name="small",
        plan_name="test",
        command="fedsim calibrate",
        device=CPU,
        **options,
    )


def test_every_phase_is_measured_at_every_shape() -> None:
    """All phases of the three frameworks get as many repetitions as asked for."""
    times = measure_shape(SHAPES[0], CPU, num_warm_ups=1, num_repeats=2)
    assert set(times.seconds) == set(PHASES)
    assert all(len(values) == 2 and min(values) > 0 for values in times.seconds.values())


def test_every_phase_is_an_operation_of_the_protocol() -> None:
    """What is timed is priced by the same operation that a protocol holds."""
    names = {type(Point(phase, SHAPES[0]).operation()).__name__ for phase in PHASES}
    assert len(names) == len(PHASES)


def test_the_profile_holds_all_measurements(tmp_path: Path) -> None:
    """The written profile loads, and its CSV has every phase, shape and pass."""
    result = calibrate(tmp_path)
    assert load_profile(result.path).file == result.file
    rows = list(csv.DictReader((tmp_path / "measurements.csv").read_text().splitlines()))
    assert len(rows) == len(PHASES) * len(SHAPES) * run.NUM_PASSES
    assert not (tmp_path / "measurements.partial.jsonl").exists()


def test_an_interrupted_calibration_continues(tmp_path: Path) -> None:
    """After an interruption in the middle, only the missing shapes are measured."""

    def interrupt(done: int, total: int, what: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(tmp_path, on_progress=interrupt)
    assert not (tmp_path / "profile.toml").exists()
    # What a kill in the middle of a line leaves behind.
    partial = tmp_path / "measurements.partial.jsonl"
    with partial.open("a") as stream:
        stream.write('{"key": {"pl')
    measured: list[str] = []
    result = calibrate(tmp_path, on_progress=lambda done, total, what: measured.append(what))
    assert result.num_resumed == 3
    assert len(measured) == run.NUM_PASSES * len(SHAPES) - 3
    assert len(result.samples) == len(PHASES) * len(SHAPES) * run.NUM_PASSES


def test_another_plan_does_not_take_over_measurements(tmp_path: Path) -> None:
    """Measurements of a different plan are not mixed in."""
    assert plan_hash(SHAPES) != plan_hash(SHAPES[:-1])
    partial = run._Partial(tmp_path / "p.jsonl", plan_hash(SHAPES), describe_machine(CPU))
    partial.append(run._measure(SHAPES[0], 0, CPU))
    other = run._Partial(tmp_path / "p.jsonl", plan_hash(SHAPES[:-1]), describe_machine(CPU))
    assert len(partial.load(SHAPES)) == len(PHASES)
    assert other.load(SHAPES) == []
