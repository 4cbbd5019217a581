"""A profile is read whole or refused with the cure; it is never half believed."""

import hashlib
from pathlib import Path

import pytest
import tomli_w

from fedsim.calibration.profile import find_profile, load_profile, profile_names, write_profile
from fedsim.calibration.profile_file import ProfileFile
from fedsim.errors import CalibrationError, ScenarioError
from fedsim.spec.device import FEATURES
from fedsim.spec.memory_margin import UNMEASURED, MemoryMargin
from profiles import MEASUREMENTS, profile_content, written_profile


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """A written profile loads to the same coefficients, marked as calibrated."""
    profile = load_profile(written_profile(tmp_path))
    assert dict(profile.device.seconds_per_unit) == dict.fromkeys(FEATURES, 1e-9)
    assert profile.device.is_calibrated
    assert profile.device.ratios_95("model") == (1 / 1.2, 1.2)
    assert profile.sha256 == hashlib.sha256((tmp_path / "profile.toml").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(schema=1), "schema = 1; this fedsim reads schema 2"),
        (lambda c: c.update(extra=1), "extra: Extra inputs are not permitted"),
        (lambda c: c.pop("fit"), "fit: Field required"),
        (
            lambda c: c["fit"]["float32"]["seconds_per_unit"].pop("head_flop"),
            "head_flop on one side only",
        ),
        (
            lambda c: c["fit"]["float32"]["seconds_per_unit"].update(head_flop=-1.0),
            "greater than or equal",
        ),
        (lambda c: c["fit"].clear(), "fit is empty"),
        (
            lambda c: c["fit"]["float32"]["interval_95"].update(model=float("nan")),
            "finite number|greater than or equal to 1",
        ),
        (lambda c: c["raw"].update(num_rows=7), "has 1 rows, the profile was fitted to 7"),
        (lambda c: c["raw"].update(sha256="0" * 64), "was fitted to 000000000000"),
    ],
)
def test_a_changed_profile_is_refused(tmp_path: Path, change, message: str) -> None:
    """Another version, a missing table, a negative or absent coefficient: each says what to do."""
    table = profile_content()
    path = written_profile(tmp_path)
    change(table)
    path.write_text(tomli_w.dumps(table))
    with pytest.raises(ScenarioError, match=message) as caught:
        load_profile(path)
    assert "fedsim calibrate" in str(caught.value)


def test_a_truncated_profile_is_refused(tmp_path: Path) -> None:
    """Half a file is no profile."""
    path = written_profile(tmp_path)
    text = path.read_text()
    path.write_text(text[: len(text) // 2 - 3])
    with pytest.raises(ScenarioError, match="profile"):
        load_profile(path)


def test_edited_measurements_are_noticed(tmp_path: Path) -> None:
    """A profile whose measurements were changed is not believed."""
    path = written_profile(tmp_path)
    (tmp_path / "measurements.csv").write_text(MEASUREMENTS + "train,0.2\n")
    with pytest.raises(ScenarioError, match=r"was fitted to|has 2 rows"):
        load_profile(path)


def test_missing_measurements_are_noticed(tmp_path: Path) -> None:
    """A profile without its measurements is not believed."""
    path = written_profile(tmp_path)
    (tmp_path / "measurements.csv").unlink()
    with pytest.raises(ScenarioError, match="Keep both files in one folder"):
        load_profile(path)


def test_a_profile_is_found_by_folder_file_and_name(tmp_path: Path) -> None:
    """A folder, its file and a shipped name all lead to a profile."""
    path = written_profile(tmp_path)
    assert find_profile(str(tmp_path)) == path
    assert find_profile(str(path)) == path
    for name in profile_names():
        assert load_profile(find_profile(name)).file.name == name


def test_an_unknown_profile_says_what_there_is(tmp_path: Path) -> None:
    """The message lists the shipped profiles and the command that makes one."""
    with pytest.raises(ScenarioError, match="fedsim calibrate --plan quick --out FOLDER"):
        find_profile("no-such-profile", tmp_path)


def test_a_folder_that_cannot_be_written_leaves_the_old_profile(tmp_path: Path) -> None:
    """Where the folder is a file, nothing is written and the message names it."""
    occupied = tmp_path / "occupied"
    occupied.write_text("mine")
    with pytest.raises(CalibrationError, match="cannot be written"):
        write_profile(occupied, ProfileFile.model_validate(profile_content()), MEASUREMENTS)
    assert occupied.read_text() == "mine"


def test_another_number_format_is_never_taken_for_the_measured_one(tmp_path: Path) -> None:
    """What was measured in float32 says nothing of bfloat16."""
    profile = load_profile(written_profile(tmp_path))
    with pytest.raises(ScenarioError, match="was measured in float32, and this computes in bfloa"):
        profile.device_for("bfloat16")


def test_noise_decides_whether_a_profile_is_usable_whatever_its_errors(tmp_path: Path) -> None:
    """Above 15 % a machine does not give its own figures again; the shipped one's 12.4 % stays."""
    noisy = load_profile(written_profile(tmp_path, noise=0.151))
    assert "unusable in float32" in noisy.unusable("float32")
    assert noisy.device.warning == noisy.unusable("float32")
    quiet = load_profile(written_profile(tmp_path, noise=0.15))
    assert quiet.unusable("float32") == quiet.device.warning == ""
    shipped = load_profile(find_profile("cpu-2-threads"))
    assert [shipped.unusable(precision) for precision in shipped.file.fit] == ["", ""]


def test_a_profile_says_how_far_its_peaks_of_memory_were_missed(tmp_path: Path) -> None:
    """Its own quantiles, padded and unpadded apart; without them, those of the shipped one."""
    content = profile_content()
    errors = content["fit"]["float32"]["held_out"]["configuration"]
    content["memory"] = {
        "workspace_factor": 1.0,
        "peak": errors,
        "unfitted_peak": errors,
        "padded_ratio": {"low": 0.9, "high": 1.2},
    }
    path = write_profile(tmp_path, ProfileFile.model_validate(content), MEASUREMENTS)
    margins = load_profile(path).device.memory_margins
    assert margins.of(is_padded=True) == MemoryMargin(0.9, 1.2)
    assert margins.of(is_padded=False) == UNMEASURED.unpadded
    assert load_profile(written_profile(tmp_path)).device.memory_margins == UNMEASURED


def test_the_margin_of_an_unmeasured_device_is_the_shipped_profiles() -> None:
    """Rounded away from 1, so that it is no narrower."""
    shipped = load_profile(find_profile("cpu-2-threads")).memory_margins
    for known, default in (
        (shipped.padded, UNMEASURED.padded),
        (shipped.unpadded, UNMEASURED.unpadded),
    ):
        assert 0 <= known.low_ratio - default.low_ratio < 0.01
        assert 0 <= default.high_ratio - known.high_ratio < 0.01


@pytest.mark.parametrize(
    ("predicted", "verdict"),
    [(83, "fits"), (84, "tight"), (111, "tight"), (112, "does_not_fit")],
)
def test_a_peak_near_the_memory_is_neither_sure_to_fit_nor_not_to(
    predicted: int, verdict: str
) -> None:
    """100 bytes; peaks were measured at 0.9 to 1.2 times their prediction."""
    assert MemoryMargin(0.9, 1.2).verdict(predicted, 100) == verdict
