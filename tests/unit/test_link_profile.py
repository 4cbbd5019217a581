"""A link's profile is read whole or refused with the cure, and a scenario uses it by its folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedsim.calibration.link.profile import (
    LinkProfileFile,
    find_link_profile,
    load_link_profile,
    write_link_profile,
)
from fedsim.errors import CalibrationError, ScenarioError
from fedsim.scenario import run_scenario
from fedsim.scenario.build.hardware import link_spec, overlaid
from fedsim.scenario.file.context import Context
from fedsim.scenario.file.hardware_tables import LinkTable
from fedsim.spec.link import LinkSpec
from fedsim.spec.quantity import FROM_FILE
from scenarios import SMALL, written

MEASUREMENTS = "mode,seconds\nnew,0.1\n"
ENDPOINT = dict.fromkeys(
    ("fedsim", "operating_system", "congestion_control", "slow_start_after_idle"), "x"
)


def content(**fit: Any) -> dict[str, Any]:
    """A complete profile."""
    return {
        "schema": 1,
        "fedsim": "0.1.0",
        "name": "home",
        "here": ENDPOINT,
        "there": ENDPOINT,
        "provenance": {
            "command": "fedsim calibrate link",
            "date": "2026-01-01",
            "plan": "x",
            "num_passes": 3,
            "largest_bytes": 1000,
            "num_messages": 100,
            "duration_s": 1.0,
        },
        "fit": {
            "uplink_bytes_per_s": 1e6,
            "downlink_bytes_per_s": 2.5e6,
            "round_trip_s": 0.04,
            "handshake_round_trips": 1.0,
            "initial_window_bytes": 14480,
            "message_s": 1e-5,
            "slow_start_visible": True,
            "restarts_after_idle": "yes",
            **fit,
        },
        "quality": {
            "num_points": 10,
            "noise_median": 0.01,
            "noise_p95": 0.02,
            "held_out_by": "size",
            "held_out_median": 0.01,
            "held_out_p95": 0.02,
            "held_out_max": 0.03,
            "held_out_bias": -0.001,
            "held_out_new_median": 0.01,
            "held_out_new_max": 0.03,
            "held_out_reused_median": 0.01,
            "held_out_reused_max": 0.02,
        },
        "raw": {
            "file": "link_measurements.csv",
            "sha256": hashlib.sha256(MEASUREMENTS.encode()).hexdigest(),
        },
    }


def profile(folder: Path, **fit: Any) -> Path:
    """A profile on disk."""
    return write_link_profile(folder, LinkProfileFile.model_validate(content(**fit)), MEASUREMENTS)


def link_table(**keys: Any) -> LinkTable:
    """A table as it is read from a file."""
    return LinkTable.model_validate(keys, context=FROM_FILE)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """The same figures, with rates of message bytes."""
    found = load_link_profile(profile(tmp_path))

    assert found.sha256 == hashlib.sha256((tmp_path / "link.toml").read_bytes()).hexdigest()
    assert found.link == LinkSpec(
        "home",
        1e6,
        2.5e6,
        0.04,
        payload_fraction=1.0,
        message_s=1e-5,
        source=f"fedsim calibrate link, 2026-01-01, link.toml {found.sha256[:12]}",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("schema = 1", "schema = 2"), "schema = 2; this fedsim reads schema 1"),
        (lambda t: t.replace("schema = 1\n", ""), "schema = None"),
        (lambda t: t.replace("round_trip_s = 0.04", "round_trip_s = 0.05"), "was edited"),
        (lambda t: t.replace("checksum", "checksun"), "checksun: Extra inputs"),
        (lambda t: t.replace("[fit]", "[fix]"), "fit: Field required"),
        (lambda t: t.replace("0.04", "-0.04"), "greater than or equal"),
        (lambda t: t.replace("0.04", "nan"), "finite number"),
        (lambda t: t.replace("link_measurements", "../other"), "raw.file"),
        (lambda t: t[: t.index("[raw]")], "raw: Field required"),
        (lambda t: t[: t.index("sha256") + 15], "not valid TOML"),
        (lambda _: "", "schema = None"),
    ],
)
def test_a_changed_profile_is_refused(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    """Another version, edited or truncated: each says what is wrong and what to do."""
    path = profile(tmp_path)
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))

    with pytest.raises(ScenarioError, match=message) as caught:
        load_link_profile(path)
    assert "measure again with 'fedsim calibrate link" in str(caught.value)


def test_no_cut_of_a_profile_is_believed(tmp_path: Path) -> None:
    """Wherever the file ends too early, it is refused."""
    path = profile(tmp_path)
    data = path.read_bytes()
    for end in range(0, len(data) - 1, 7):
        path.write_bytes(data[:end])
        with pytest.raises(ScenarioError):
            load_link_profile(path)


def test_measurements_are_checked(tmp_path: Path) -> None:
    """Edited ones differ from those of the fit, and missing ones are missed."""
    path = profile(tmp_path)
    (tmp_path / "link_measurements.csv").write_text(MEASUREMENTS + "new,0.2\n")
    with pytest.raises(ScenarioError, match="was fitted to"):
        load_link_profile(path)
    (tmp_path / "link_measurements.csv").unlink()
    with pytest.raises(ScenarioError, match="Keep both files in one folder"):
        load_link_profile(path)


def test_a_missing_profile_says_how_to_make_one(tmp_path: Path) -> None:
    """Whether the folder is missing or empty."""
    for name in ("nowhere", "."):
        with pytest.raises(ScenarioError, match=r"no link\.toml there; name a folder that 'fedsim"):
            find_link_profile(name, tmp_path)
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_link_profile(tmp_path / "link.toml")


def test_a_folder_that_cannot_be_written_keeps_what_is_there(tmp_path: Path) -> None:
    """Where it is a file, nothing is written and the message names it."""
    occupied = tmp_path / "occupied"
    occupied.write_text("mine")
    with pytest.raises(CalibrationError, match="cannot be written"):
        profile(occupied)
    assert occupied.read_text() == "mine"


def test_nothing_temporary_is_left(tmp_path: Path) -> None:
    """Two files, and no other."""
    profile(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"link.toml", "link_measurements.csv"}


def test_a_scenario_names_a_link_by_its_folder(tmp_path: Path) -> None:
    """Relative to the scenario's folder, by the folder or its file; other keys override it."""
    profile(tmp_path / "home")

    found = link_spec(link_table(profile="home"), Context(tmp_path))
    assert (found.uplink_bytes_per_s, found.name) == (1e6, "home")
    assert link_spec(link_table(profile="home/link.toml"), Context(tmp_path)) == found
    kept = link_spec(link_table(profile="home", handshake_round_trips=0.0), Context(tmp_path))
    assert (kept.handshake_round_trips, kept.name) == (0.0, "home (changed)")


def test_a_link_is_measured_or_of_the_catalogue(tmp_path: Path) -> None:
    """Not both in one table; a class's own choice stands alone."""
    with pytest.raises(ScenarioError, match="leave one of them out"):
        link_spec(link_table(profile="home", like="3g"), Context(tmp_path))
    base, other = link_table(like="3g"), link_table(profile="home")
    assert overlaid(base, other) == other
    assert overlaid(other, base) == base


def test_a_scenario_is_answered_with_a_measured_link(tmp_path: Path) -> None:
    """A tenth of the rate takes longer, and the bytes stay."""
    answers = []
    for name, rate in (("fast", 1e6), ("slow", 1e5)):
        profile(tmp_path / name, uplink_bytes_per_s=rate)
        table = {**SMALL, "link": {"profile": name}}
        answers.append(run_scenario(written(tmp_path, table)).results)

    for fast, slow in zip(*answers, strict=True):
        assert slow["round_time_s"]["mean"] > fast["round_time_s"]["mean"]
        assert slow["totals"] == fast["totals"]


@pytest.mark.parametrize("name", ["nowhere", "x" * 5000, "a\0b"])
def test_a_scenario_with_a_missing_link_says_where(tmp_path: Path, name: str) -> None:
    """The table is named, and nothing ends in a traceback."""
    with pytest.raises(ScenarioError, match=r"\[link\].*profile"):
        run_scenario(written(tmp_path, {**SMALL, "link": {"profile": name}}))
