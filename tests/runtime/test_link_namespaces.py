"""A real TCP stack on a link of known rate and delay: the fit finds both, and slow start."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedsim.calibration.link.profile import load_link_profile
from shaped_link import ShapedLink, missing_for_namespaces, shaped_link

UP_BYTES_PER_S, DOWN_BYTES_PER_S, ROUND_TRIP_S = 4e6, 8e6, 0.03
#: Of a full packet, from IP on.
PAYLOAD = 1448 / 1500
SERVER = """
import sys
from fedsim.calibration.link.address import Address
from fedsim.calibration.link.listener import Listener

Listener(Address(sys.argv[1], 9000), once=True).serve()
"""
CLIENT = """
import sys
from pathlib import Path
from fedsim.calibration.link.address import Address
from fedsim.calibration.link.run import calibrate_link
from fedsim.calibration.link.sweep import SweepPlan, sweep_plan

plan = SweepPlan(
    sweep_plan(1_000_000).sizes, 2, 60.0, idle_sizes=(100_000,), pause_s=1.0, num_repeats=1
)
calibrate_link(Address(sys.argv[1], 9000), plan, Path(sys.argv[2]), name="shaped", command="test")
"""

pytestmark = pytest.mark.slow


def in_namespace(name: str, program: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python program that sees one end of the link."""
    return subprocess.Popen(
        ["ip", "netns", "exec", name, sys.executable, "-c", program, *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_listener(link: ShapedLink, server: subprocess.Popen[str]) -> None:
    """Until the port is open."""
    for _ in range(200):
        assert server.poll() is None
        shown = subprocess.run(
            ["ip", "netns", "exec", link.server_namespace, "cat", "/proc/net/tcp"],
            check=True,
            capture_output=True,
            text=True,
        )
        if f":{9000:04X} 00000000:0000 0A" in shown.stdout:
            return
        time.sleep(0.05)
    raise AssertionError("nobody listens")


def measure(link: ShapedLink, out: Path) -> None:
    """Listener in one namespace, connector in the other."""
    with in_namespace(link.server_namespace, SERVER, link.server_address) as server:
        try:
            wait_for_listener(link, server)
            arguments = (link.server_address, str(out))
            with in_namespace(link.client_namespace, CLIENT, *arguments) as client:
                _, said = client.communicate(timeout=60)
                assert client.returncode == 0, said
        finally:
            server.terminate()


def test_a_shaped_link_is_found_again(tmp_path: Path) -> None:
    """Rates by direction, round trip, handshake and slow start, within generous bounds."""
    missing = missing_for_namespaces()
    if missing:
        pytest.skip(missing)
    with shaped_link(UP_BYTES_PER_S, DOWN_BYTES_PER_S, ROUND_TRIP_S) as link:
        measure(link, tmp_path)
    profile = load_link_profile(tmp_path / "link.toml")

    found = profile.link
    assert found.uplink_bytes_per_s == pytest.approx(UP_BYTES_PER_S * PAYLOAD, rel=0.15)
    assert found.downlink_bytes_per_s == pytest.approx(DOWN_BYTES_PER_S * PAYLOAD, rel=0.15)
    assert found.round_trip_s == pytest.approx(ROUND_TRIP_S, rel=0.25)
    assert 0.7 < found.handshake_round_trips < 1.4
    assert profile.file.fit.slow_start_visible
    assert 5_000 < found.initial_window_bytes < 45_000
    assert profile.file.quality.held_out_median < 0.15
