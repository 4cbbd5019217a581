"""Addresses as people write them: ``host:port``, ``[v6]:port`` and ``:port``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fedsim.errors import ScenarioError

__all__ = ["Address", "parse_address"]

_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\[\]:\s]*)):(?P<port>[0-9]{1,5})")
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody listens.

    Attributes
    ----------
    host : str
        Name or number, without brackets; empty for every interface of this host.
    port : int
        0 lets the system choose one to listen on.
    """

    host: str
    port: int

    def __str__(self) -> str:
        """As it is typed."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, option: str) -> Address:
    """Read an address.

    Parameters
    ----------
    text : str
    option : str
        ``--listen`` or ``--connect``, for the message.

    Raises
    ------
    ScenarioError
        If it has no port, or one out of range.

    Examples
    --------
    >>> parse_address("[::1]:9000", "--listen")
    Address(host='::1', port=9000)
    """
    match = _ADDRESS.fullmatch(text.strip())
    allowed = f"write {option} HOST:PORT, {option} [IPV6]:PORT or {option} :PORT."
    if match is None:
        raise ScenarioError(f"{option} {text!r}: not an address with a port; {allowed}")
    port = int(match["port"])
    if port > _MAX_PORT or (port == 0 and option == "--connect"):
        lowest = 1 if option == "--connect" else 0
        raise ScenarioError(f"{option} {text!r}: port {port}; allowed: {lowest} to {_MAX_PORT}.")
    return Address(match["v6"] or match["host"] or "", port)
