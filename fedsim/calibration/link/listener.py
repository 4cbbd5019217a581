"""The side that answers: takes messages, acknowledges them, and sends what it is asked for.

It measures nothing and keeps nothing. Whoever reaches its port can make it send random bytes while
no measurement runs, so it is meant to run for the minutes of one.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from fedsim.calibration.link.address import Address
from fedsim.calibration.link.endpoint import describe_endpoint
from fedsim.calibration.link.frame import (
    HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    Frame,
    FrameError,
    Kind,
    MessageBuffer,
    Status,
    receive_frame,
    receive_rest,
    send_all,
)
from fedsim.errors import ScenarioError

__all__ = ["Listener"]

#: Workers that wait for connections: a stranger may hold one, and the measurement goes on.
_NUM_WORKERS: Final = 4
_BACKLOG: Final = 16
#: A measurement that has no connection for so long is over, whatever became of it [s].
_EXPIRY_S: Final = 10.0
_ACCEPT_POLL_S: Final = 0.2
_BUFFER_BYTES: Final = 1 << 18


class Listener:
    """Answers one measurement at a time.

    Parameters
    ----------
    address : Address
    once : bool
        Stop when a measurement is complete.
    on_event : callable, optional
        Called with a line of text when something happens, from any thread.

    Raises
    ------
    ScenarioError
        If the address cannot be listened on.
    """

    def __init__(
        self,
        address: Address,
        *,
        once: bool = False,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        self._socket = _listening_socket(address)
        self._once = once
        self._on_event = on_event or _ignore
        self._stopping = threading.Event()
        self._sessions = _Sessions()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        host, port = self._socket.getsockname()[:2]
        self.address = Address(host, port)

    def serve(self) -> None:
        """Answer until :meth:`stop`, or until a measurement is complete with ``once``."""
        workers = [
            threading.Thread(target=self._work, name=f"link-listener-{index}")
            for index in range(_NUM_WORKERS)
        ]
        try:
            for worker in workers:
                worker.start()
            self._stopping.wait()
        finally:
            self.stop()
            for worker in workers:
                worker.join()
            self._socket.close()

    def stop(self) -> None:
        """Stop answering; connections are cut."""
        self._stopping.set()
        with self._lock:
            for connection in self._connections:
                # One that the other side has closed is as good as shut down.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _work(self) -> None:
        messages = MessageBuffer()
        buffer = bytearray(_BUFFER_BYTES)
        while not self._stopping.is_set():
            try:
                connection, peer = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:
                # A connection that was reset while it waited is one of many reasons, all of them
                # temporary but a closed socket, which the loop's condition sees.
                self._on_event(f"a connection failed: {error.strerror}")
                continue
            with connection:
                self._track(connection)
                try:
                    self._answer_all(connection, messages, buffer)
                except FrameError as error:
                    if not self._stopping.is_set():
                        self._on_event(f"closed a connection from {peer[0]}: {error}")
                except OSError as error:
                    self._on_event(f"lost a connection from {peer[0]}: {error.strerror}")
                finally:
                    self._untrack(connection)

    def _track(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)

    def _untrack(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def _answer_all(
        self, connection: socket.socket, messages: MessageBuffer, buffer: bytearray
    ) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(EOFError):
            while not self._stopping.is_set():
                frame = receive_frame(connection)
                status = self._status(frame)
                if status is not Status.OK:
                    send_all(connection, Frame(frame.kind, frame.token, status=status).packed())
                    return
                with self._sessions.active():
                    self._answer(connection, frame, messages, buffer)

    def _status(self, frame: Frame) -> Status:
        if frame.status is Status.WRONG_VERSION:
            self._on_event(f"refused protocol version {frame.version}")
            return Status.WRONG_VERSION
        if frame.size_bytes > MAX_MESSAGE_BYTES:
            self._on_event(f"refused a message of {frame.size_bytes} B")
            return Status.TOO_LARGE
        is_new = frame.kind is Kind.HELLO
        return Status.OK if self._sessions.admits(frame.token, is_new=is_new) else Status.BUSY

    def _answer(
        self, connection: socket.socket, frame: Frame, messages: MessageBuffer, buffer: bytearray
    ) -> None:
        answer = Frame(frame.kind, frame.token, status=Status.OK)
        if frame.kind is Kind.UP:
            receive_rest(connection, frame.size_bytes - HEADER_BYTES, buffer)
            send_all(connection, answer.packed())
        elif frame.kind is Kind.DOWN:
            messages.send(connection, Frame(frame.kind, frame.token, frame.size_bytes, Status.OK))
        elif frame.kind is Kind.HELLO:
            self._on_event("a measurement begins")
            info = json.dumps(describe_endpoint(connection)).encode()
            size_bytes = HEADER_BYTES + len(info)
            send_all(
                connection, Frame(frame.kind, frame.token, size_bytes, Status.OK).packed() + info
            )
        else:
            is_complete = frame.kind is Kind.FINISH
            self._on_event(f"the measurement {'is complete' if is_complete else 'pauses'}")
            self._sessions.end()
            send_all(connection, answer.packed())
            if is_complete and self._once:
                self._stopping.set()


class _Sessions:
    """Which measurement is served: a second one at the same time would falsify both."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token: int | None = None
        self._num_active = 0
        self._last_s = 0.0

    def admits(self, token: int, *, is_new: bool) -> bool:
        with self._lock:
            now = time.monotonic()
            expired = self._num_active == 0 and now - self._last_s > _EXPIRY_S
            if is_new and (self._token is None or expired):
                self._token = token
            self._last_s = now if token == self._token else self._last_s
            return token == self._token

    def end(self) -> None:
        with self._lock:
            self._token = None

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        with self._lock:
            self._num_active += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_active -= 1
                self._last_s = time.monotonic()


def _ignore(_: str) -> None:
    """Say nothing."""


def _listening_socket(address: Address) -> socket.socket:
    try:
        listening = _bound_socket(address)
    except OSError as error:
        raise ScenarioError(
            f"--listen {address}: cannot be listened on ({error.strerror}); write --listen :PORT "
            "for every interface of this host, with a free port above 1023."
        ) from error
    listening.settimeout(_ACCEPT_POLL_S)
    return listening


def _bound_socket(address: Address) -> socket.socket:
    if not address.host:
        if socket.has_dualstack_ipv6():
            try:
                return socket.create_server(
                    ("", address.port),
                    family=socket.AF_INET6,
                    backlog=_BACKLOG,
                    dualstack_ipv6=True,
                )
            except OSError:
                # Built with IPv6 and running without it: then IPv4 is every interface.
                return socket.create_server(("", address.port), backlog=_BACKLOG)
        return socket.create_server(("", address.port), backlog=_BACKLOG)
    family, _, _, _, target = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(target[:2], family=family, backlog=_BACKLOG)
