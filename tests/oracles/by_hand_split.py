"""Scenarios of a cut model and of slow start whose answer was worked out by hand.

The first four of GPT-2's blocks are the client's; see ``by_hand`` for everything else. A mini-batch
takes ``Z`` without the server (forward, send, receive, backward) and ``S`` at it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from oracles.by_hand import BATCH_SAMPLES, HEAD_FLOP, MESSAGE, TOKENS, WIDTH, F, Scenario, equal

__all__ = ["split", "tcp"]

_FORWARD = 24 * TOKENS * WIDTH**2 + 4 * TOKENS**2 * WIDTH
_BACKWARD = 24 * TOKENS * WIDTH**2 + 8 * TOKENS**2 * WIDTH
_BELOW, _ABOVE = 4, 8

#: Four blocks forward; and backward but for the lowest c_attn, below which nothing is trained [s].
C1 = BATCH_SAMPLES * _BELOW * _FORWARD / 1e12
C5 = BATCH_SAMPLES * (_BELOW * _BACKWARD - 6 * TOKENS * WIDTH**2) / 1e12
#: Eight blocks both ways and the head at the server [s].
C3 = BATCH_SAMPLES * (_ABOVE * (_FORWARD + _BACKWARD) + HEAD_FLOP) / 1e12
assert abs(10 * (C1 + C3 + C5) - F) < 1e-12

#: 16 x 80 x 768 values of 4 B each way; up, 16 labels and last positions of a byte each; headers of
#: 232 and 96 B [B]. Adapters of four blocks with a header of 1,000 B [B].
UP = BATCH_SAMPLES * (TOKENS * WIDTH * 4 + 2) + 232
DOWN = BATCH_SAMPLES * TOKENS * WIDTH * 4 + 96
ADAPTERS = 4 * _BELOW * 8 * 4 * WIDTH + 1_000
assert (UP, DOWN, ADAPTERS) == (3_932_424, 3_932_256, 394_216)
Z = C1 + UP / 1e6 + DOWN / 1e7 + C5
#: cc1 and cc3: adapters to the server and back.
EXCHANGE = ADAPTERS / 1e6 + ADAPTERS / 1e7


def _on_one_accelerator(slowdown: float, seconds: float, **other: Any) -> Scenario:
    """Three clients and a server that takes so many times as long."""
    return Scenario(
        f"three on one accelerator, S = {slowdown * C3:.3f} s",
        seconds + EXCHANGE,
        equal(3),
        (f"server.device.slowdown={slowdown}",),
        framework="split_fedllm",
        **other,
    )


def staggered(slowdown: float) -> Scenario:
    """S < Z / 2: the third waits for two others once, and from then on they come one by one."""
    s = slowdown * C3
    assert s < Z / 2
    return _on_one_accelerator(slowdown, 10 * (Z + s) + 2 * s, closed="bound")


def saturated() -> Scenario:
    """S > Z: from the first request on the accelerator never rests, and 30 come one by one."""
    s = 20 * C3
    assert s > Z
    return _on_one_accelerator(20.0, C1 + UP / 1e6 + 30 * s + DOWN / 1e7 + C5, closed="bound")


def shared() -> Scenario:
    """All come at once and each gets a third of the accelerator, so they stay in phase."""
    found = _on_one_accelerator(5.0, 10 * (Z + 3 * 5 * C3))
    return replace(
        found, name="three share an accelerator", sets=(*found.sets, "server.discipline=sharing")
    )


def turns() -> Scenario:
    """V2: one after the other with adapters sent within the turn; then all get them at once."""
    seconds = 3 * (10 * (Z + C3) + ADAPTERS / 1e6) + ADAPTERS / 1e7
    sets = ("split.server_variant=v2",)
    return Scenario("V2, turns", seconds, equal(3), sets, closed="exact", framework="split_fedllm")


def interleaved() -> Scenario:
    """V2 with mini-batches served as they come is V1 on one accelerator."""
    sets = ("split.server_variant=v2", "split.server_order=interleaved")
    return replace(staggered(1.0), name="V2, interleaved", sets=sets, closed="refuses")


def overlapped() -> Scenario:
    """One client that sends activations while it computes them: the longer of the two counts."""
    return Scenario(
        "one client, overlap",
        10 * (max(C1, UP / 1e6) + C3 + DOWN / 1e7 + C5) + EXCHANGE,
        equal(1) + "[policy]\noverlap = true\n",
        framework="split_fedllm",
        engines=("des",),
    )


def message_by_windows(num_bytes: int, bytes_per_s: float, round_trip_s: float) -> float:
    """A message over a new TCP connection: window by window, from SYN to the last byte [s].

    One round trip of handshake; then 10 segments of 1448 B, twice as many in every next round trip,
    until sending a window takes longer than the round trip after which its first acknowledgement
    lets more be sent.
    """
    now_s, window, rest = round_trip_s, 10 * 1448, num_bytes
    while rest > window:
        rest -= window
        now_s += max(window / bytes_per_s, round_trip_s)
        window *= 2
    return now_s + rest / bytes_per_s + round_trip_s / 2


def _slow_start(uplink: float, downlink: float, round_trip_s: float) -> Scenario:
    """A client alone whose messages open connections of their own."""
    seconds = F + sum(message_by_windows(MESSAGE, r, round_trip_s) for r in (uplink, downlink))
    sets = (
        f"link.uplink={uplink!r} B/s",
        f"link.downlink={downlink!r} B/s",
        f"link.round_trip={round_trip_s!r} s",
        "link.connection=new",
        "link.initial_window=14480 B",
    )
    name = f"TCP, {uplink / 1e6:g} and {downlink / 1e6:g} MB/s, {1e3 * round_trip_s:g} ms"
    return Scenario(name, seconds, equal(1), sets, closed="exact")


def split() -> tuple[Scenario, ...]:
    """All with a cut model."""
    staggering = staggered(1.0), staggered(5.0)
    return *staggering, saturated(), shared(), turns(), interleaved(), overlapped()


def tcp() -> tuple[Scenario, ...]:
    """Three links."""
    links = (0.5e6, 4e6, 0.04), (2e6, 1e7, 0.1), (1e6, 5e6, 0.2)
    return tuple(_slow_start(*link) for link in links)
