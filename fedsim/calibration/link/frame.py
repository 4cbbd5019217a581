"""What listener and connector say to each other: one header of 28 bytes, and bytes to be counted.

Decides the format, the limits, and how bytes are moved with bounded memory and bounded patience. It
knows no clock and no measurement.

Both sides send the same header: magic, version, kind, status, token of the measurement, size. A
message of ``size`` bytes is the header and ``size - 28`` bytes that mean nothing: they are random,
because a link that compresses would otherwise be measured with what nobody sends.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from fedsim.errors import CalibrationError

__all__ = [
    "HEADER_BYTES",
    "MAX_INFO_BYTES",
    "MAX_MESSAGE_BYTES",
    "PATIENCE_S",
    "VERSION",
    "Frame",
    "FrameError",
    "Kind",
    "MessageBuffer",
    "Status",
    "receive_frame",
    "receive_info",
    "receive_rest",
    "send_all",
]

VERSION: Final = 1
_MAGIC: Final = b"fedsimLP"
_HEADER: Final = struct.Struct("!8sHBBQQ")
HEADER_BYTES: Final = _HEADER.size
#: Ten times the largest message of a sweep: what claims more is a mistake or no friend.
MAX_MESSAGE_BYTES: Final = 10**9
MAX_INFO_BYTES: Final = 1024
#: Without a byte of progress for so long, the other side is gone [s].
PATIENCE_S: Final = 30.0
#: A header is one packet: who needs longer says something else [s].
_HEADER_PATIENCE_S: Final = 10.0
_BLOCK_BYTES: Final = 1 << 20


class Kind(IntEnum):
    """What a header asks for."""

    HELLO = 1  # begin a measurement
    UP = 2  # this header and what follows are a message; acknowledge its last byte
    DOWN = 3  # send a message
    RELEASE = 4  # the measurement pauses or failed
    FINISH = 5  # the measurement is complete


class Status(IntEnum):
    """What a header answers."""

    REQUEST = 0
    OK = 1
    BUSY = 2
    TOO_LARGE = 3
    WRONG_VERSION = 4


class FrameError(CalibrationError):
    """The other side says something else, or stopped saying anything."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A header.

    Attributes
    ----------
    kind : Kind
    token : int
        Random number of the measurement, so that two at a time are noticed.
    size_bytes : int
        Of the whole message, header included.
    status : Status
    version : int
    """

    kind: Kind
    token: int
    size_bytes: int = HEADER_BYTES
    status: Status = Status.REQUEST
    version: int = VERSION

    def packed(self) -> bytes:
        """The 28 bytes."""
        return _HEADER.pack(
            _MAGIC, self.version, self.kind, self.status, self.token, self.size_bytes
        )


class MessageBuffer:
    """Messages of any size out of one block of random bytes."""

    def __init__(self) -> None:
        self._block = bytearray(HEADER_BYTES + _BLOCK_BYTES)
        self._block[HEADER_BYTES:] = os.urandom(_BLOCK_BYTES)
        self._view = memoryview(self._block)

    def send(self, connection: socket.socket, frame: Frame) -> None:
        """Send ``frame.size_bytes`` bytes, the header ahead and in the first packet.

        Raises
        ------
        FrameError
            If nothing can be sent for `PATIENCE_S`, or the connection is gone.
        """
        self._view[:HEADER_BYTES] = frame.packed()
        first = min(frame.size_bytes, len(self._block))
        send_all(connection, self._view[:first])
        rest = frame.size_bytes - first
        while rest > 0:
            part = min(rest, _BLOCK_BYTES)
            send_all(connection, self._view[HEADER_BYTES : HEADER_BYTES + part])
            rest -= part


def send_all(connection: socket.socket, data: bytes | memoryview) -> None:
    """Send bytes; patience counts from the last progress, unlike ``socket.sendall``'s.

    Raises
    ------
    FrameError
        If nothing can be sent for `PATIENCE_S`, or the connection is gone.
    """
    connection.settimeout(PATIENCE_S)
    view = memoryview(data)
    try:
        while view:
            view = view[connection.send(view) :]
    except OSError as error:
        raise FrameError(f"sending stopped ({_reason(error)})") from error


def receive_frame(connection: socket.socket, *, patience_s: float = _HEADER_PATIENCE_S) -> Frame:
    """The next header.

    Raises
    ------
    FrameError
        If it does not come in time, is cut off, or is none of ours.
    EOFError
        If the connection was closed ahead of it, which is how one ends.
    """
    data = _receive_header(connection, patience_s)
    magic, version, kind, status, token, size_bytes = _HEADER.unpack(data)
    if magic != _MAGIC:
        raise FrameError(f"it does not speak fedsim's link protocol (it said {data[:12]!r})")
    if version != VERSION:
        # Nothing after the version can be trusted to mean the same.
        return Frame(Kind.HELLO, 0, HEADER_BYTES, Status.WRONG_VERSION, version)
    try:
        frame = Frame(Kind(kind), token, size_bytes, Status(status), version)
    except ValueError as error:
        raise FrameError(f"its header is broken ({error})") from error
    if size_bytes < HEADER_BYTES:
        raise FrameError(f"its header is broken (a message of {size_bytes} B)")
    return frame


def receive_rest(connection: socket.socket, num_bytes: int, buffer: bytearray) -> None:
    """Read bytes and forget them; memory is the buffer's, whatever the size.

    Raises
    ------
    FrameError
        If nothing comes for `PATIENCE_S`, or the connection ends early.
    """
    connection.settimeout(PATIENCE_S)
    view = memoryview(buffer)
    try:
        while num_bytes > 0:
            count = connection.recv_into(view, min(num_bytes, len(buffer)))
            if count == 0:
                raise FrameError(f"the connection ended {num_bytes} B ahead of the message's end")
            num_bytes -= count
    except OSError as error:
        raise FrameError(f"receiving stopped ({_reason(error)})") from error


def receive_info(connection: socket.socket, num_bytes: int) -> bytes:
    """Read a short text, of at most `MAX_INFO_BYTES`.

    Raises
    ------
    FrameError
        If it is longer, or does not come.
    """
    if num_bytes > MAX_INFO_BYTES:
        raise FrameError(f"its description has {num_bytes} B; allowed: {MAX_INFO_BYTES}")
    parts = bytearray()
    part = bytearray(1)
    for _ in range(num_bytes):
        receive_rest(connection, 1, part)
        parts += part
    return bytes(parts)


def _receive_header(connection: socket.socket, patience_s: float) -> bytes:
    # For the whole header and not for each byte, or a trickle would hold the listener.
    deadline = time.monotonic() + patience_s
    data = b""
    try:
        while len(data) < HEADER_BYTES:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            part = connection.recv(HEADER_BYTES - len(data))
            if not part:
                break
            data += part
    except TimeoutError as error:
        said = f"it said {data[:12]!r} and stopped" if data else "it says nothing"
        raise FrameError(f"{said} for {patience_s:g} s") from error
    except OSError as error:
        raise FrameError(f"receiving stopped ({_reason(error)})") from error
    if not data:
        raise EOFError
    if len(data) < HEADER_BYTES:
        raise FrameError(f"it does not speak fedsim's link protocol (it said {data[:12]!r})")
    return data


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no progress for {PATIENCE_S:g} s"
    return error.strerror or type(error).__name__
