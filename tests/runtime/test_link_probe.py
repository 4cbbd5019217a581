"""Two ends on one host measure, refuse strangers, and continue where they were interrupted."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedsim.calibration.link.address import Address, parse_address
from fedsim.calibration.link.connector import Connector
from fedsim.calibration.link.frame import (
    MAX_MESSAGE_BYTES,
    VERSION,
    Frame,
    Kind,
    Status,
    receive_frame,
)
from fedsim.calibration.link.listener import Listener
from fedsim.calibration.link.partial import PARTIAL_FILE
from fedsim.calibration.link.profile import load_link_profile
from fedsim.calibration.link.run import LinkCalibration, calibrate_link
from fedsim.calibration.link.sweep import (
    Pilot,
    SweepPlan,
    affordable_sizes,
    plan_visits,
    sweep_plan,
)
from fedsim.cli.calibrate_link import command
from fedsim.errors import CalibrationError, ScenarioError
from fedsim.protocol.step import Direction

PLAN = SweepPlan(
    sizes=(1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000),
    num_passes=2,
    time_budget_s=60.0,
    idle_sizes=(),
    num_repeats=1,
)
NUM_VISITS = 2 * 2 * 8


@contextlib.contextmanager
def listening(*, once: bool = False) -> Iterator[tuple[Address, list[str]]]:
    """A listener of this host and what it says."""
    events: list[str] = []
    listener = Listener(Address("127.0.0.1", 0), once=once, on_event=events.append)
    thread = threading.Thread(target=listener.serve)
    thread.start()
    try:
        yield listener.address, events
    finally:
        listener.stop()
        thread.join()


@contextlib.contextmanager
def stranger(answer: bytes) -> Iterator[Address]:
    """A port that says something else to the first that comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(28)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Address("127.0.0.1", server.getsockname()[1])
        thread.join()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def calibrate(address: Address, out: Path, **options) -> LinkCalibration:
    """A small calibration."""
    return calibrate_link(
        address, PLAN, out, name="loop", command="fedsim calibrate link", **options
    )


def test_a_link_is_measured_from_end_to_end(tmp_path: Path) -> None:
    """Every visit is made, the profile loads, and nothing temporary is left."""
    with listening() as (address, events):
        result = calibrate(address, tmp_path)

    assert len(result.samples) == 2 * NUM_VISITS
    assert all(s.seconds > 0 for s in result.samples)
    assert all((s.connect_s > 0) == (s.mode == "new") for s in result.samples)
    assert load_link_profile(result.path).link.uplink_bytes_per_s > 0
    assert {p.name for p in tmp_path.iterdir()} == {"link.toml", "link_measurements.csv"}
    assert events == ["a measurement begins", "the measurement is complete"]


def test_an_interrupted_measurement_continues(tmp_path: Path) -> None:
    """What was measured is not measured again, torn lines and other sweeps' are passed over."""

    def interrupt(done: int, total: int, what: str) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with listening() as (address, events):
        with pytest.raises(KeyboardInterrupt):
            calibrate(address, tmp_path, on_progress=interrupt)
        partial = tmp_path / PARTIAL_FILE
        text = partial.read_text()
        partial.write_text(text + '{"key": {"plan": "another"}}\n' + text[: len(text) // 20])
        result = calibrate(address, tmp_path)

    assert result.num_resumed == 10
    assert len(result.samples) == 2 * NUM_VISITS
    assert not partial.exists()
    assert events[1] == "the measurement pauses"


def test_another_plan_does_not_take_over_what_was_measured(tmp_path: Path) -> None:
    """Its sizes are others."""

    def interrupt(done: int, total: int, what: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with listening() as (address, _):
        with pytest.raises(KeyboardInterrupt):
            calibrate(address, tmp_path, on_progress=interrupt)
        other = SweepPlan(PLAN.sizes, 2, 61.0, idle_sizes=(), num_repeats=1)
        result = calibrate_link(address, other, tmp_path, name="loop", command="x")

    assert result.num_resumed == 0


@pytest.mark.parametrize(
    ("said", "event"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "does not speak fedsim's link protocol"),
        (b"short", "does not speak fedsim's link protocol"),
        (b"fedsimLP" + b"\xff" * 20, f"refused protocol version {0xFFFF}"),
        (Frame(Kind.UP, 7, MAX_MESSAGE_BYTES + 1).packed(), "refused a message of"),
        (b"fedsimLP\x00\x01\x63\x00" + bytes(8) + b"\x00" * 7 + b"\x1c", "header is broken"),
        (Frame(Kind.DOWN, 7, 1).packed(), "header is broken"),
    ],
)
def test_garbage_is_closed_and_the_measurement_goes_on(
    tmp_path: Path, said: bytes, event: str
) -> None:
    """The listener says what came, and serves the next."""
    with listening() as (address, events):
        with socket.create_connection((address.host, address.port)) as connection:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        connector = Connector(address)
        with connector.open() as opened:
            assert opened.message_seconds(50_000, Direction.UP) > 0
            assert opened.message_seconds(2_000_000, Direction.DOWN) > 0
        connector.leave(is_complete=False)

    assert event in events[0]


def test_a_stranger_without_a_measurement_gets_no_bytes() -> None:
    """A message is sent only to whom a measurement belongs."""
    with listening() as (address, _):
        connector = Connector(address)
        with socket.create_connection((address.host, address.port)) as connection:
            connection.sendall(Frame(Kind.DOWN, 7, 1_000_000).packed())
            assert receive_frame(connection).status is Status.BUSY
        connector.leave(is_complete=False)


def test_a_second_measurement_is_refused_until_the_first_is_over() -> None:
    """Both would be falsified."""
    with listening() as (address, _):
        first = Connector(address)
        with pytest.raises(ScenarioError, match="busy with another measurement"):
            Connector(address)
        first.leave(is_complete=False)
        Connector(address).leave(is_complete=False)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 2, b"", b"\0" * 28])
def test_a_port_that_speaks_something_else_is_named(answer: bytes) -> None:
    """With what to start there instead."""
    with stranger(answer) as address, pytest.raises(ScenarioError) as caught:
        Connector(address)
    assert str(address) in str(caught.value)
    assert "fedsim calibrate link --listen" in str(caught.value)


def test_another_version_is_named() -> None:
    """Both versions, and the cure."""
    answer = Frame(Kind.HELLO, 0, status=Status.OK, version=VERSION + 1).packed()
    with stranger(answer) as address, pytest.raises(ScenarioError, match="install the same fedsim"):
        Connector(address)


def test_nobody_listens() -> None:
    """The message says what to start first."""
    with pytest.raises(ScenarioError, match="nobody listens there; start 'fedsim calibrate link"):
        Connector(Address("127.0.0.1", free_port()))


def test_a_listener_that_goes_away_leaves_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is the user's to mend, and the next run continues."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with listening() as (address, _):
        stop = []

        def leave(done: int, total: int, what: str) -> None:
            if done == 5:
                stop.append(True)
                raise CalibrationError("gone")

        with pytest.raises(CalibrationError, match="gone"):
            calibrate(address, tmp_path, on_progress=leave)
    with pytest.raises(ScenarioError, match="nobody listens"):
        calibrate(address, tmp_path)
    assert (tmp_path / PARTIAL_FILE).exists()


def test_the_budget_leaves_the_largest_messages_out() -> None:
    """And is refused where too few sizes would be left."""
    plan = sweep_plan(time_budget_s=60.0)
    look = Pilot(0.05, {"up": 1e-6, "down": 4e-7})
    sizes = affordable_sizes(plan, look)

    assert sizes == plan.sizes[: len(sizes)]
    assert 8 <= len(sizes) < len(plan.sizes)
    assert sum(v.seconds(look) for v in plan_visits(plan, sizes, look)) <= 60
    with pytest.raises(ScenarioError, match=r"--time-budget 1\.000 s: .* allow that much"):
        affordable_sizes(sweep_plan(time_budget_s=1.0), look)


@pytest.mark.parametrize("text", ["host", "host:", ":70000", "a:b:c", "host:0"])
def test_an_address_without_a_port_is_refused(text: str) -> None:
    """The option and the text are named."""
    with pytest.raises(ScenarioError, match="--connect"):
        parse_address(text, "--connect")


def test_the_command_measures_and_reports(tmp_path: Path) -> None:
    """What is printed names the values, the errors and the key that uses them."""
    out = tmp_path / "loop"
    with listening(once=True) as (address, _):
        arguments = ["--connect", str(address), "--out", str(out), "--max-size", "60 kB"]
        result = CliRunner().invoke(command, [*arguments, "--passes", "2"])
    assert result.exception is None, result.output
    for text in ("rate up", "bit/s", "round trip", "Slow start", "sizes held out", "profile ="):
        assert text in result.output

    again = CliRunner().invoke(command, arguments)
    assert isinstance(again.exception, ScenarioError)
    assert "add --force" in str(again.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "exactly one of --listen and --connect"),
        (["--listen", ":0", "--connect", "a:1"], "exactly one of --listen and --connect"),
        (["--connect", "a:1"], "add --out FOLDER"),
        (["--listen", ":0", "--out", "x", "--time-budget", "1 min"], "--out, --time-budget: only"),
        (["--connect", "a:1", "--out", "x", "--once"], "--once: only together with --listen"),
        (["--connect", "a", "--out", "x"], "not an address with a port"),
        (["--connect", "a:1", "--out", "x", "--max-size", "1 mb"], "--max-size '1 mb'"),
        (["--connect", "a:1", "--out", "x", "--max-size", "1 GB"], "allowed: 56.23 kB to 100.0 MB"),
        (["--connect", "a:1", "--out", "x", "--time-budget", "5"], "--time-budget '5'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    """Before anything is measured."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, arguments)

    assert isinstance(result.exception, ScenarioError)
    assert message in str(result.exception)
    assert not list(tmp_path.iterdir())
