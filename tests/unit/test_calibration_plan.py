"""Plans are fixed ahead of measuring, and a file's mistakes are named."""

import re
from pathlib import Path

import pytest

from fedsim.calibration.measurements import read_csv, to_csv
from fedsim.calibration.plan import full_plan, plan_hash, points, quick_plan
from fedsim.calibration.plan_file import read_plan
from fedsim.calibration.shape import Point, Shape, framework_of, regime_of
from fedsim.errors import CalibrationError
from profiles import made_up_visits

SHAPE = """
[[shape]]
num_layers = 3
hidden_size = 64
batch_size = {batch}
num_tokens = 8
r = 2
"""


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_the_full_plan_fills_its_grid(kind) -> None:
    """Every axis takes several values, every format that the device offers is there."""
    plan = full_plan(kind)
    assert plan == full_plan(kind)
    assert len(plan.shapes) >= 60
    for axis in ("num_layers", "hidden_size", "batch_size", "num_tokens", "r", "cut_layer"):
        assert len({getattr(shape, axis) for shape in plan.shapes}) >= 4, axis
    for axis in ("is_padded", "is_checkpointed", "head", "attention", "head_size"):
        assert len({getattr(shape, axis) for shape in plan.shapes}) == 2, axis
    wanted = {"float32", "bfloat16"} | ({"tf32"} if kind == "cuda" else set())
    assert wanted <= {shape.precision for shape in plan.shapes}


def test_every_phase_is_priced() -> None:
    """Each point has work of its own, and belongs to one regime."""
    for point in points(quick_plan("cuda")):
        assert sum(point.work().features()) > 0
        assert regime_of(point.phase) in ("model", "parameters", "message", "codec")
        assert (framework_of(point.phase) is not None) == (regime_of(point.phase) == "model")


def test_unpadded_text_is_computed_length_by_length() -> None:
    """Samples of a quarter of the length up to it, and each length is a group of its own."""
    shape = Shape(2, 64, 5, 32, 2, is_padded=False)
    assert (min(shape.lengths), max(shape.lengths)) == (8, 32)
    assert shape.batch().num_groups == len(set(shape.lengths))
    padded = Point("train", Shape(2, 64, 5, 32, 2)).work()
    work = Point("train", shape).work()
    assert work.linear_flop < padded.linear_flop
    assert work.num_kernels > padded.num_kernels
    assert work.weight_bytes > padded.weight_bytes


def test_a_plan_is_read_from_a_file(tmp_path: Path) -> None:
    """Shapes and passes come from the file; other plans have other hashes."""
    path = tmp_path / "mine.toml"
    path.write_text("num_passes = 2\n" + "".join(SHAPE.format(batch=b) for b in (1, 2, 4)))
    plan = read_plan(path, "cpu")
    assert (plan.name, plan.num_passes, len(plan.shapes)) == ("mine", 2, 3)
    assert plan_hash(plan) != plan_hash(quick_plan())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_passes = ", "not valid TOML"),
        ("num_passes = 1\n" + SHAPE.format(batch=1), "num_passes: Input should be greater"),
        (SHAPE.format(batch=0) * 3, "batch_size: Input should be greater"),
        (SHAPE.format(batch=1) * 3, "has the same shape twice"),
        (SHAPE.format(batch=1) + "colour = 1\n", "colour: Extra inputs"),
        ("".join(SHAPE.format(batch=b) + "cut_layer = 3\n" for b in (1, 2, 3)), "cut_layer = 3; a"),
    ],
)
def test_a_wrong_plan_says_where(tmp_path: Path, text: str, message: str) -> None:
    """Each mistake is named with the file."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=message) as caught:
        read_plan(path, "cpu")
    assert "mine.toml" in str(caught.value)


def test_a_missing_plan_says_what_there_is(tmp_path: Path) -> None:
    """The names of the built-in plans are in the message."""
    with pytest.raises(CalibrationError, match="allowed: quick, full, or a TOML file"):
        read_plan(tmp_path / "none.toml", "cpu")


def test_measurements_are_read_back() -> None:
    """What is written is what is fitted again, but for five digits."""
    visits = made_up_visits(quick_plan().shapes[:4], noise=0.1, seed=0, num_passes=2)
    used = {v.key for v in visits}
    text = to_csv(visits, used, set())
    again = {v.key: v for v in read_csv(text, "m.csv")}
    assert set(again) == used
    for visit in visits:
        assert again[visit.key].shape == visit.shape
        for phase, values in visit.seconds.items():
            assert again[visit.key].seconds[phase] == pytest.approx(values, rel=1e-4)


def test_rows_that_are_there_three_times_are_one_measurement() -> None:
    """So that fitting them is the work of fitting them once."""
    visits = made_up_visits(quick_plan().shapes[:4], noise=0.1, seed=0, num_passes=2)
    header, *rows = to_csv(visits, set(), set()).splitlines(keepends=True)
    once = read_csv("".join([header, *rows]), "m.csv")
    assert read_csv("".join([header, *rows, *rows, *rows]), "m.csv") == once


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("phase,", "fase,", 1), "its columns are not those"),
        (lambda t: t[: len(t) - 40], "line 129: not a measurement"),
        (lambda t: t.replace("eager", "hasty"), "attention = 'hasty'"),
        (lambda t: t + re.sub(r"0\.0\S* 0\.0\S*", "0.5 0.5", t.splitlines()[1]) + "\n", "line 130"),
    ],
)
def test_broken_measurements_name_the_row(change, message: str) -> None:
    """A truncated or edited file is refused, with the line."""
    visits = made_up_visits(quick_plan().shapes[:4], noise=0.1, seed=0, num_passes=2)
    text = to_csv(visits, {v.key for v in visits}, set())
    with pytest.raises(CalibrationError, match=message):
        read_csv(change(text), "m.csv")
