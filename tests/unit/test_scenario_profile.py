"""A measured profile is a device like any other, and is named in the answer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from fedsim.calibration.profile import ProfileFile, write_profile
from fedsim.errors import ScenarioError
from fedsim.scenario import run_scenario
from fedsim.spec.device import FEATURES
from scenarios import changed, written

MEASUREMENTS = "phase,median_s\ntrain,0.1\n"


def profile(folder: Path, seconds: float) -> None:
    """Write a profile whose every unit of work takes as long."""
    content: dict[str, Any] = {
        "schema": 1,
        "fedsim": "0.1.0",
        "name": "bench",
        "machine": {
            "device": "cpu",
            "processor": "p",
            "num_threads": 2,
            "memory_bytes": 10**12,
            "operating_system": "o",
        },
        "provenance": dict.fromkeys(
            ("command", "date", "commit", "python", "torch", "transformers", "peft", "plan"), "x"
        )
        | {"duration_s": 1.0},
        "fit": {"seconds_per_unit": dict.fromkeys(FEATURES, seconds), "relative_sigma": 0.1},
        "quality": {
            "num_points": 10,
            "noise_median": 0.01,
            "noise_p95": 0.02,
            "held_out_by": "shape",
            "held_out_median": 0.01,
            "held_out_p95": 0.02,
            "held_out_max": 0.03,
            "held_out_bias": 0.0,
            "coverage_95": 0.95,
        },
        "raw": {"file": "m.csv", "sha256": hashlib.sha256(MEASUREMENTS.encode()).hexdigest()},
    }
    write_profile(folder, ProfileFile.model_validate(content), MEASUREMENTS)


def measured(folder: Path, seconds: float, **device: Any) -> dict[str, Any]:
    """The answer with the profile's device."""
    profile(folder / "mine", seconds)
    table = changed(profile="mine", device={"like": "profile", **device})
    return run_scenario(written(folder, table)).table


def test_a_profile_is_named_with_its_hash(tmp_path: Path) -> None:
    """So that an answer says what it was computed with."""
    answer = measured(tmp_path, 1e-9)
    sha256 = hashlib.sha256((tmp_path / "mine" / "profile.toml").read_bytes()).hexdigest()

    assert answer["profile"] == {"name": "bench", "sha256": sha256}


def test_a_profile_moves_time_and_no_count(tmp_path: Path) -> None:
    """A device ten times as slow computes ten times as long, for the same bytes and FLOP."""
    slow, fast = measured(tmp_path, 1e-8)["results"], measured(tmp_path, 1e-9)["results"]

    for one, other in zip(slow, fast, strict=True):
        compute = [r["classes"][0]["own_round_s"]["client_compute"] for r in (one, other)]
        assert compute[0] == pytest.approx(10 * compute[1])
        assert one["totals"] == other["totals"]


def test_a_measured_device_is_calibrated_until_it_is_changed(tmp_path: Path) -> None:
    """A slowdown is an assumption; a name is not."""

    def is_calibrated(**device: Any) -> bool:
        result = measured(tmp_path, 1e-9, **device)["results"][0]
        return bool(result["classes"][0]["plan"]["device"]["is_calibrated"])

    assert is_calibrated()
    assert is_calibrated(name="mine")
    assert not is_calibrated(slowdown=2.0)


def test_a_damaged_profile_is_refused(tmp_path: Path) -> None:
    """With the file's name and the profile's."""
    profile(tmp_path / "mine", 1e-9)
    (tmp_path / "mine" / "m.csv").write_text("changed")
    path = written(tmp_path, changed(profile="mine"))

    with pytest.raises(ScenarioError, match=r"profile = 'mine': .*sha256"):
        run_scenario(path)
