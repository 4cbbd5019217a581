"""The link's measurement runs over a real TCP stack between two hosts; no rate is asserted."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fedsim.calibration.link.profile import load_link_profile
from shaped_link import measured_link, missing_for_namespaces, shaped_link

pytestmark = pytest.mark.slow


def test_every_message_of_the_plan_crosses_a_real_stack_in_both_directions(tmp_path: Path) -> None:
    """All sizes, both ways and after idling; how fast they were is the machine's afternoon.

    That a fit finds the rates of a link is a law over made-up measurements, in test_link_fit.
    """
    missing = missing_for_namespaces()
    if missing:
        pytest.skip(missing)
    with shaped_link(4e6, 8e6, 0.03) as link:
        measured_link(link, tmp_path)
    profile = load_link_profile(tmp_path / "link.toml")
    with (tmp_path / "link_measurements.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert profile.link.uplink_bytes_per_s > 0
    sizes = {
        way: {int(row["size_bytes"]) for row in rows if row["direction"] == way}
        for way in ("up", "down")
    }
    assert sizes["up"] == sizes["down"]
    assert max(sizes["up"]) == 1_000_000
    assert all(float(row["seconds"]) > 0 for row in rows)
