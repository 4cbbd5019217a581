"""The side that asks and holds the clock.

What is measured: *up*, from the first byte's way into the socket (from ``connect`` with a new
connection) until the listener's acknowledgement is here; *down*, from the request's (from
``connect``) until the message's last byte is here. Either way a packet of 28 bytes crosses in the
other direction, which takes half a round trip that is not the message's.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from fedsim.calibration.link.address import Address
from fedsim.calibration.link.endpoint import describe_endpoint
from fedsim.calibration.link.frame import (
    HEADER_BYTES,
    PATIENCE_S,
    VERSION,
    Frame,
    FrameError,
    Kind,
    MessageBuffer,
    Status,
    receive_frame,
    receive_info,
    receive_rest,
    send_all,
)
from fedsim.errors import CalibrationError, ScenarioError
from fedsim.protocol.step import Direction

__all__ = ["Connection", "Connector"]

_CONNECT_PATIENCE_S: Final = 10.0
#: An acknowledgement comes when what the socket still holds has crossed a link of 128 kbit/s.
_SLOWEST_BYTES_PER_S: Final = 16e3
_LARGEST_BACKLOG_BYTES: Final = 4e6
_MAX_SHOWN: Final = 60
_BUFFER_BYTES: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class _Target:
    family: int
    address: Any


class Connector:
    """Sends and asks for messages of given sizes, and says how long each took.

    Parameters
    ----------
    address : Address
        Of the listener; an empty host is this one.

    Raises
    ------
    ScenarioError
        If the name is unknown, nobody listens, or somebody who does not speak the protocol.
    """

    def __init__(self, address: Address) -> None:
        self._where = f"--connect {address}"
        self._token = secrets.randbits(64)
        self._messages = MessageBuffer()
        self._buffer = bytearray(_BUFFER_BYTES)
        self._target, *others = _resolved(address)
        self.here: dict[str, str] = {}
        self.there = self._hello(others)

    def open(self) -> Connection:
        """A new connection, timed.

        Raises
        ------
        ScenarioError
            If nobody answers.
        """
        connection = socket.socket(self._target.family, socket.SOCK_STREAM)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(_CONNECT_PATIENCE_S)
            started_s = time.perf_counter()
            connection.connect(self._target.address)
            connect_s = time.perf_counter() - started_s
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from error
        return Connection(
            connection, self._token, self._messages, self._buffer, started_s, connect_s
        )

    def leave(self, *, is_complete: bool) -> None:
        """Tell the listener that the measurement is complete, or that it pauses.

        Raises
        ------
        CalibrationError
            If the listener is gone.
        """
        with self.open() as connection:
            connection.ask(Kind.FINISH if is_complete else Kind.RELEASE)

    def _hello(self, others: list[_Target]) -> dict[str, str]:
        with self._first_connection(others) as connection:
            self.here = describe_endpoint(connection.socket)
            try:
                answer = connection.ask(Kind.HELLO, self._where)
                return _endpoint(receive_info(connection.socket, answer.size_bytes - HEADER_BYTES))
            except FrameError as error:
                raise ScenarioError(
                    f"{self._where}: {error}; start 'fedsim calibrate link --listen :PORT' over "
                    "there and name its port here."
                ) from error

    def _first_connection(self, others: list[_Target]) -> Connection:
        """By the first of a name's addresses that answers; the measurement stays with it."""
        for other in others:
            try:
                return self.open()
            except ScenarioError:
                self._target = other
        return self.open()

    def _unreachable(self, error: OSError) -> ScenarioError:
        if isinstance(error, ConnectionRefusedError):
            reason = "nobody listens there"
        elif isinstance(error, TimeoutError):
            reason = f"no answer within {_CONNECT_PATIENCE_S:g} s; is a firewall in between?"
        else:
            reason = error.strerror or type(error).__name__
        return ScenarioError(
            f"{self._where}: {reason}; start 'fedsim calibrate link --listen :PORT' over there "
            "first and name its port here."
        )


class Connection:
    """One connection; messages on it follow each other.

    Attributes
    ----------
    connect_s : float
        From ``connect`` to its return: one round trip [s].
    """

    def __init__(
        self,
        connection: socket.socket,
        token: int,
        messages: MessageBuffer,
        buffer: bytearray,
        started_s: float,
        connect_s: float,
    ) -> None:
        self.socket = connection
        self.connect_s = connect_s
        self._token = token
        self._messages = messages
        self._buffer = buffer
        self._started_s = started_s

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def first_message_seconds(self, size_bytes: int, direction: Direction) -> float:
        """Seconds of the first message, those of ``connect`` included [s]."""
        return self._exchange(size_bytes, direction) - self._started_s

    def message_seconds(self, size_bytes: int, direction: Direction) -> float:
        """Seconds of a message on the open connection [s].

        Raises
        ------
        FrameError
            If the connection fails.
        """
        started_s = time.perf_counter()
        return self._exchange(size_bytes, direction) - started_s

    def ask(self, kind: Kind, where: str = "the listener") -> Frame:
        """Send a header and wait for its answer.

        Raises
        ------
        ScenarioError
            If the listener is busy, or of another version.
        FrameError
            If it does not answer.
        """
        send_all(self.socket, Frame(kind, self._token).packed())
        try:
            answer = receive_frame(self.socket)
        except EOFError as error:
            raise FrameError("the connection was closed without an answer") from error
        _check(answer, where)
        return answer

    def _exchange(self, size_bytes: int, direction: Direction) -> float:
        """Send or fetch a message; the clock's reading when it is over [s]."""
        backlog_bytes = 0.0
        if direction is Direction.UP:
            self._messages.send(self.socket, Frame(Kind.UP, self._token, size_bytes))
            backlog_bytes = min(size_bytes, _LARGEST_BACKLOG_BYTES)
        else:
            send_all(self.socket, Frame(Kind.DOWN, self._token, size_bytes).packed())
        try:
            answer = receive_frame(
                self.socket, patience_s=PATIENCE_S + backlog_bytes / _SLOWEST_BYTES_PER_S
            )
        except EOFError as error:
            raise FrameError("the listener closed the connection") from error
        _check(answer, "the listener")
        if direction is Direction.DOWN:
            if answer.size_bytes != size_bytes:
                raise FrameError(
                    f"the listener sent {answer.size_bytes} B where {size_bytes} B were asked for"
                )
            receive_rest(self.socket, size_bytes - HEADER_BYTES, self._buffer)
        return time.perf_counter()


def _check(answer: Frame, where: str) -> None:
    if answer.status is Status.WRONG_VERSION:
        raise ScenarioError(
            f"{where}: speaks version {answer.version} of the link protocol, this fedsim version "
            f"{VERSION}; install the same fedsim on both hosts."
        )
    if answer.status is Status.BUSY:
        raise ScenarioError(
            f"{where}: is busy with another measurement; give the command again when it is done."
        )
    if answer.status is not Status.OK:
        raise CalibrationError(f"{where}: refused a message ({answer.status.name}).")


def _resolved(address: Address) -> list[_Target]:
    try:
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ScenarioError(
            f"--connect {address}: the name cannot be resolved ({error.strerror}); write a name "
            "that this host knows, or a number such as 192.0.2.1:9000 or [2001:db8::1]:9000."
        ) from error
    return [_Target(family, target) for family, _, _, _, target in found]


def _endpoint(info: bytes) -> dict[str, str]:
    """The other end's description; what it says is cut, not believed."""
    try:
        table = json.loads(info)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"its description is broken ({error})") from error
    if not isinstance(table, dict):
        raise FrameError("its description is broken")
    names = ("fedsim", "operating_system", "congestion_control", "slow_start_after_idle")
    return {name: _printable(table.get(name, "unknown")) for name in names}


def _printable(value: object) -> str:
    return "".join(c for c in str(value)[:_MAX_SHOWN] if c.isprintable())
