"""A measured profile is a device like any other, and is named in the answer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario import run_scenario
from profiles import written_profile
from scenarios import changed, written


def measured(folder: Path, seconds: float, **device: Any) -> dict[str, Any]:
    """The answer with the profile's device."""
    written_profile(folder / "mine", seconds)
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
    written_profile(tmp_path / "mine")
    (tmp_path / "mine" / "measurements.csv").write_text("changed\nwords\n")
    path = written(tmp_path, changed(profile="mine"))

    with pytest.raises(ScenarioError, match=r"profile = 'mine': .*sha256"):
        run_scenario(path)


def test_a_profile_of_a_noisy_machine_is_not_believed_without_a_word(tmp_path: Path) -> None:
    """Its seconds say nothing; every answer that rests on them says so first, and what to type."""
    written_profile(tmp_path / "noisy", noise=0.42)
    table = changed(profile="noisy", device={"like": "profile"})
    for result in run_scenario(written(tmp_path, table)).table["results"]:
        assert "unusable" in result["notes"][0]
        assert "42%" in result["notes"][0]
        assert "fedsim calibrate --out FOLDER --force" in result["notes"][0]
    written_profile(tmp_path / "noisy", noise=0.149)
    for result in run_scenario(written(tmp_path, table)).table["results"]:
        assert not any("unusable" in note for note in result["notes"])
