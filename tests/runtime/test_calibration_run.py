"""A calibration measures every phase, survives being killed, and writes what it measured."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from fedsim.calibration import campaign
from fedsim.calibration.measure import Bench
from fedsim.calibration.measurements import Partial
from fedsim.calibration.plan import MeasurementPlan
from fedsim.calibration.plan_file import read_plan
from fedsim.calibration.profile import load_profile
from fedsim.calibration.sentinel import sentinel_seconds
from fedsim.calibration.shape import PHASES, Point, Shape
from fedsim.cli import main
from fedsim.cost.memory import training_memory
from fedsim.protocol.operation import Train
from profiles import made_up_visits

CPU = torch.device("cpu")
SHAPES = tuple(
    Shape(2 + i % 2, 64 * (1 + i % 3), 1 + i, 4 + 4 * i, 2, is_padded=i != 4) for i in range(9)
)


def plan_file(folder: Path) -> Path:
    """Nine tiny shapes, measured twice."""
    tables = [
        f"[[shape]]\nnum_layers = {s.num_layers}\nhidden_size = {s.hidden_size}\n"
        f"batch_size = {s.batch_size}\nnum_tokens = {s.num_tokens}\nr = {s.r}\n"
        f"is_padded = {str(s.is_padded).lower()}\n"
        for s in SHAPES
    ]
    path = folder / "tiny.toml"
    head = "num_passes = 2\nnum_warm_ups = 1\nnum_repeats = 2\nmax_redone_share = 0.1\n"
    path.write_text(head + "\n".join(tables))
    return path


def called(*arguments: str) -> str:
    """The output of a command that succeeds, or finds the machine too noisy: not its fault."""
    result = CliRunner().invoke(main, ["calibrate", *arguments])
    if result.exit_code != 0:
        assert result.exit_code == 2, result.output
        assert "is unusable in float32" in result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished calibration."""
    out = tmp_path_factory.mktemp("calibration")
    called("--plan", str(plan_file(out)), "--out", str(out / "mine"), "--threads", "1")
    return out / "mine"


@pytest.mark.parametrize(
    "shape",
    [
        SHAPES[0],
        SHAPES[4],
        Shape(2, 64, 2, 8, 2, precision="bfloat16"),
        Shape(2, 64, 2, 8, 2, precision="bfloat16-autocast"),
        Shape(2, 64, 2, 8, 2, attention="sdpa"),
        Shape(2, 64, 2, 8, 2, is_checkpointed=True, head="language_model"),
        Shape(2, 64, 2, 8, 2, precision="tf32"),
    ],
    ids=lambda shape: shape.name,
)
def test_every_phase_is_measured(shape: Shape) -> None:
    """All phases run in every format, padding, attention and head."""
    seconds = Bench(shape, CPU).run_once()
    assert tuple(seconds) == PHASES or set(seconds) == set(PHASES)
    assert min(seconds.values()) > 0
    assert torch.get_float32_matmul_precision() == "highest"


def test_fused_attention_computes_the_same() -> None:
    """What is timed with fused attention is the same function as with eager attention."""
    eager, fused = (Bench(Shape(2, 64, 3, 12, 2, attention=a), CPU) for a in ("eager", "sdpa"))
    torch.testing.assert_close(eager.teacher, fused.teacher, rtol=1e-4, atol=1e-5)


def test_memory_is_read_beside_the_seconds() -> None:
    """What autograd keeps is what the table of saved tensors says, and labels and indices."""
    shape = Shape(2, 64, 3, 12, 2)
    reading = Bench(shape, CPU).read_memory()["train"]
    operation = Point("train", shape).operation()
    assert isinstance(operation, Train)
    table = training_memory(shape.training(), operation.part, operation.batch)
    assert 0 <= reading.saved_bytes - table.saved_bytes <= 64 * shape.batch_size
    assert 0.8 < table.total_bytes / reading.peak_bytes < 1.25


def test_the_sentinels_are_three() -> None:
    """A product, a stream and launches."""
    assert set(sentinel_seconds(CPU, repeats=1)) == {"product", "stream", "dispatch"}


def test_the_profile_holds_all_measurements(folder: Path) -> None:
    """The profile loads, its rows are all there, and nothing unfinished is left."""
    file = load_profile(folder / "profile.toml").file
    rows = list(csv.DictReader((folder / "measurements.csv").read_text().splitlines()))
    used = [row for row in rows if row["is_used"] == "True"]
    assert len(used) == len(PHASES) * len(SHAPES) * 2
    assert len(rows) == file.raw.num_rows == len(PHASES) * file.provenance.num_visits
    assert set(file.fit) == {"float32"}
    assert {path.name for path in folder.iterdir()} == {
        "profile.toml",
        "measurements.csv",
        "validation.json",
        "validation.png",
    }


def test_the_validation_holds_every_point(folder: Path) -> None:
    """Each point with what was measured and what was predicted without its configuration."""
    document = json.loads((folder / "validation.json").read_text())
    found = document["precisions"]["float32"]["points"]
    assert {point["name"] for point in found} == {
        Point(phase, shape).name for phase in PHASES for shape in SHAPES
    }
    assert all(point["measured_s"] > 0 and point["predicted_s"] >= 0 for point in found)


def test_measured_once_fitted_again_gives_the_same(folder: Path, tmp_path: Path) -> None:
    """Fitting the written file gives the coefficients that were fitted to the measurements."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    before = load_profile(folder / "profile.toml").file
    assert "fedsim calibrate" not in called("fit", str(tmp_path)).splitlines()[0]
    after = load_profile(tmp_path / "profile.toml").file
    assert after.provenance == before.provenance
    assert after.fit == before.fit
    assert after.memory == before.memory


def test_a_finished_profile_is_shown_and_kept(folder: Path) -> None:
    """What the device achieves is printed; a second calibration does not replace it."""
    text = called("show", str(folder))
    assert "passes over the model" in text
    assert "a2, b1 local training" in text
    result = CliRunner().invoke(main, ["calibrate", "--out", str(folder)])
    assert result.exit_code == 2
    assert "holds a finished profile" in result.output


@pytest.mark.parametrize(("noise", "code"), [(0.3, 2), (0.01, 0)])
def test_a_noisy_machine_gets_no_profile_to_rest_on(
    noise: float, code: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The noisier, the wider its interval, and so the easier to keep: noise alone decides."""
    visits = made_up_visits(SHAPES, noise=noise, seed=0, num_passes=2)
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("fedsim.calibration.run.read_csv", lambda *_: visits)
    result = CliRunner().invoke(main, ["calibrate", "fit", str(tmp_path)])
    assert result.exit_code == code, result.output
    assert ("unusable" in result.output) == (code == 2)
    shown = " ".join(called("show", str(tmp_path)).split())
    assert ("profile 'mine' is unusable in float32" in shown) == (code == 2)
    assert ("no aim can be met" in shown) == (code == 2)


def test_a_check_compares_with_the_machine_of_now(folder: Path) -> None:
    """The same machine and software differ in nothing; forced, drift is reported and accepted."""
    text = called("check", str(folder), "--force")
    assert "differs:" not in text
    assert "product" in text


def test_another_device_is_refused(folder: Path, tmp_path: Path) -> None:
    """A profile of another processor does not hold here."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    profile = tmp_path / "profile.toml"
    name = load_profile(profile).file.machine.processor
    profile.write_text(profile.read_text().replace(f'processor = "{name}"', 'processor = "Z80"'))
    result = CliRunner().invoke(main, ["calibrate", "check", str(tmp_path)])
    assert result.exit_code == 2
    assert "measured on Z80" in result.output.replace("\n", " ")
    assert "does not hold on this machine" in result.output


def test_a_killed_calibration_continues(tmp_path: Path) -> None:
    """After kill -9 in the middle, a rerun measures the rest, and the profile has all points."""
    path = plan_file(tmp_path)
    out = tmp_path / "mine"
    command = [sys.executable, "-m", "fedsim", "calibrate", "--plan", str(path)]
    command += ["--out", str(out), "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    partial = out / "measurements.partial.jsonl"
    while process.poll() is None and (not partial.exists() or partial.read_text().count("\n") < 6):
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "profile.toml").exists()
    with partial.open("a") as stream:
        # What a kill in the middle of a line leaves behind.
        stream.write('{"key": {"pl')
    assert "visits came from an interrupted run" in called(
        "--plan", str(path), "--out", str(out), "--threads", "1"
    )
    document = json.loads((out / "validation.json").read_text())
    assert len(document["precisions"]["float32"]["points"]) == len(PHASES) * len(SHAPES)
    assert not partial.exists()


def test_another_plan_does_not_take_over_measurements(tmp_path: Path) -> None:
    """Visits of a different plan, or of another number of threads, are not mixed in."""
    plan = read_plan(plan_file(tmp_path), "cpu")
    visit = campaign.measured_visit(plan, SHAPES[0], 1, 0, CPU)
    path = tmp_path / "p.jsonl"
    Partial(path, {"plan": "one"}).note(visit)
    assert Partial(path, {"plan": "one"}).load(SHAPES) == [visit]
    assert Partial(path, {"plan": "other"}).load(SHAPES) == []


def test_disturbed_visits_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A visit that took forty times as long is measured again, with the next attempt's number."""
    quiet = {
        v.key: v for v in made_up_visits(SHAPES, noise=0.01, seed=0, num_passes=2, num_repeats=2)
    }

    def disturbed(
        plan: MeasurementPlan, shape: Shape, pass_index: int, attempt: int, device: torch.device
    ):
        visit = quiet[shape.name, pass_index, 0]
        factor = 40.0 if (shape, pass_index, attempt) == (SHAPES[2], 1, 0) else 1.0
        seconds = {p: tuple(factor * s for s in v) for p, v in visit.seconds.items()}
        return replace(visit, attempt=attempt, seconds=seconds)

    monkeypatch.setattr(campaign, "measured_visit", disturbed)
    plan = read_plan(plan_file(tmp_path), "cpu")
    visits, _, _ = campaign.run_campaign(plan, tmp_path / "out", CPU)
    assert [v.key for v in visits if v.attempt > 0] == [(SHAPES[2].name, 1, 1)]
