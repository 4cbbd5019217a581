"""How near a fitted link comes to the real one: a TCP stack over a link of known rate and delay.

Asserts no figure: on a busy machine the carrier of the packets is late, and the link is slower than
it says. Run it with ``make bench``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fedsim.calibration.link.profile import load_link_profile
from shaped_link import measured_link, missing_for_namespaces, shaped_link

UP_BYTES_PER_S, DOWN_BYTES_PER_S, ROUND_TRIP_S = 4e6, 8e6, 0.03
#: Of a full packet, from IP on.
PAYLOAD = 1448 / 1500


def test_how_well_a_shaped_link_is_found_again(tmp_path: Path) -> None:
    """Rates by direction, round trip, handshake and slow start beside what the link was made of."""
    missing = missing_for_namespaces()
    if missing:
        pytest.skip(missing)
    with shaped_link(UP_BYTES_PER_S, DOWN_BYTES_PER_S, ROUND_TRIP_S) as link:
        measured_link(link, tmp_path)
    profile = load_link_profile(tmp_path / "link.toml")
    found, fit = profile.link, profile.file.fit
    rows = (
        ("uplink [MB/s]", UP_BYTES_PER_S * PAYLOAD / 1e6, found.uplink_bytes_per_s / 1e6),
        ("downlink [MB/s]", DOWN_BYTES_PER_S * PAYLOAD / 1e6, found.downlink_bytes_per_s / 1e6),
        ("round trip [ms]", ROUND_TRIP_S * 1e3, found.round_trip_s * 1e3),
        ("handshake [round trips]", 1.0, found.handshake_round_trips),
        ("initial window [kB]", 14.48, found.initial_window_bytes / 1e3),
    )
    print()
    for name, real, fitted in rows:
        print(f"{name:<26}{real:>10.3f}{fitted:>10.3f}{fitted / real - 1:>+9.1%}")
    print(f"slow start seen: {fit.slow_start_visible}", end="; ")
    print(f"held-out error: {profile.file.quality.held_out_median:.1%}")
