"""What the two ends are: the settings of theirs that a measured time depends on."""

from __future__ import annotations

import platform
import socket
from pathlib import Path
from typing import Final

from fedsim.version import __version__

__all__ = ["describe_endpoint"]

_AFTER_IDLE: Final = Path("/proc/sys/net/ipv4/tcp_slow_start_after_idle")


def describe_endpoint(connection: socket.socket) -> dict[str, str]:
    """What this end of a connection is.

    Returns
    -------
    dict of str to str
        ``fedsim``, ``operating_system``, ``congestion_control`` (who sends decides how slow start
        goes), ``slow_start_after_idle`` (``1`` is Linux's default), each ``unknown`` where the
        system does not tell.
    """
    return {
        "fedsim": __version__,
        "operating_system": platform.platform(terse=True),
        "congestion_control": _congestion_control(connection),
        "slow_start_after_idle": _after_idle(),
    }


def _congestion_control(connection: socket.socket) -> str:
    option = getattr(socket, "TCP_CONGESTION", None)
    if option is None:
        return "unknown"
    try:
        name = connection.getsockopt(socket.IPPROTO_TCP, option, 16)
    except OSError:
        return "unknown"
    return name.partition(b"\0")[0].decode("ascii", "replace")


def _after_idle() -> str:
    try:
        return _AFTER_IDLE.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
