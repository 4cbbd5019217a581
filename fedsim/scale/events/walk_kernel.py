"""One client's way through its program: what it does by itself between two shared resources.

A client's place is a block, how often that was gone through, a stage, and a phase of it. Time
between two visits is walked through twice: once to know when it ends, and again to book it, up to
the moment at which it ended or was cut off.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import compiled, inlined
from fedsim.scale.events.agenda_kernel import ticks
from fedsim.scale.program import Kind

__all__ = [
    "BOUND_FOR_DOWN",
    "BOUND_FOR_REQUEST",
    "BOUND_FOR_STARTUP",
    "BOUND_FOR_UP",
    "CUT",
    "FAILS",
    "THROUGH",
    "Clients",
    "Programs",
    "enter_next_stage",
    "executions",
    "walk",
]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

_CLIENT, _UP, _DOWN = int(Kind.CLIENT), int(Kind.UP), int(Kind.DOWN)
#: Where a walk ends.
BOUND_FOR_UP, BOUND_FOR_DOWN, BOUND_FOR_REQUEST, BOUND_FOR_STARTUP, THROUGH, CUT, FAILS = range(7)
_PACKING, _STARTUP, _FLOW, _TRAVELING, _UNPACKING = range(5)
#: Half a nanosecond: what ends at the moment of a cut has ended.
_TIE = 5e-10

# Columns of ``Clients.at``, ``Clients.real`` and ``Clients.sums``.
VARIANT, CLASS, BLOCK, LAP, STAGE, PHASE, STATUS, STAMP, ATTEMPT, VISITS, TRACED = range(11)
SERIAL, REQUEST, NUMBER, LEG, NUM_WHOLE = range(11, 16)
PACE, TRIP, UP_RATE, DOWN_RATE, SINCE, JOINED, GOOD_UP, GOOD_DOWN, LEAVES = range(9)
# Goodput alone at factor 1; work ahead of the failure; when the attempt would end alone; and which
# share of the visit in hand is done before the client fails.
ALONE_UP, ALONE_DOWN, LEFT, DUE, SHARE, NUM_REAL = range(9, 15)
COMPUTE, SERVER, TRANSFER, WAIT, FIRST = range(5)
# Columns of ``Programs.whole`` and ``Programs.real``.
KIND, TIMES, MESSAGE, PAYLOAD, LABEL = range(5)
OWN, SERVING, SHARED = range(3)


class Programs(NamedTuple):
    """Programs of all variants as tables.

    Attributes
    ----------
    whole : ndarray of int64, shape (V, S, 5)
        Kind, executions in a row, message and payload bytes, number of the label.
    real : ndarray, shape (V, S, 3)
        Client's seconds, server's own, what a batch pays once [s].
    blocks : ndarray of int64, shape (V, B, 3)
        First stage, stage behind the last, times.
    num_blocks : ndarray of int64, shape (V,)
    links : ndarray, shape (classes, 4)
        Constant cost [s], handshake's round trips, initial window [B], payload fraction.
    """

    whole: Integers
    real: Reals
    blocks: Integers
    num_blocks: Integers
    links: Reals


class Clients(NamedTuple):
    """Where every client is, and what it did in its attempt.

    Attributes
    ----------
    at : ndarray of int64, shape (m, NUM_WHOLE)
    real : ndarray, shape (m, NUM_REAL)
    sums : ndarray, shape (m, labels, 5)
        Seconds by label, and first start [s].
    cut : ndarray of int64, shape (m, 2)
        Executions in a row that were finished of a computation that was cut off; bytes that had
        left of a message that was.
    """

    at: Integers
    real: Reals
    sums: Reals
    cut: Integers


@compiled
def walk(
    c: int, limit: float, books: bool, clients: Clients, programs: Programs
) -> tuple[float, int]:
    """Go on from a client's place to its next visit, or to ``limit``.

    Parameters
    ----------
    c : int
    limit : float
        [s].
    books : bool
        Whether the place and the sums move along.
    clients : Clients
    programs : Programs

    Returns
    -------
    time_s : float
        When that is [s].
    bound : int
        For what, or ``CUT``, or ``FAILS`` where the client fails ahead of that.
    """
    at, real, sums, cut = clients
    whole, seconds, blocks, num_blocks, links = programs
    v = at[c, VARIANT]
    now, pace = real[c, SINCE], real[c, PACE]
    block, lap, stage, phase = at[c, BLOCK], at[c, LAP], at[c, STAGE], at[c, PHASE]
    bound, length, left = CUT, 0.0, real[c, LEFT]
    # Who comes to the cut by what it does is cut off before it goes on to what takes no time; who
    # stood there already has gone on.
    last_tick = ticks(limit) if ticks(now) < ticks(limit) else ticks(np.inf)
    while True:
        if block == num_blocks[v]:
            bound = THROUGH
            break
        if ticks(now) >= last_tick:
            break
        kind = whole[v, stage, KIND]
        label = whole[v, stage, LABEL]
        if books and phase == _PACKING:
            sums[c, label, FIRST] = min(sums[c, label, FIRST], now)
        is_client = kind == _CLIENT
        if is_client:
            length = seconds[v, stage, OWN] * pace * whole[v, stage, TIMES]
        elif kind not in (_UP, _DOWN):
            bound = BOUND_FOR_REQUEST
            break
        elif phase in (_PACKING, _UNPACKING):
            is_client = (phase == _PACKING) == (kind == _UP)
            length = seconds[v, stage, OWN] * pace if is_client else seconds[v, stage, SERVING]
        elif phase == _STARTUP:
            goodput = real[c, GOOD_UP] if kind == _UP else real[c, GOOD_DOWN]
            length = _startup(whole[v, stage, MESSAGE], goodput, real[c, TRIP], links, at[c, CLASS])
        elif phase == _FLOW:
            bound = BOUND_FOR_UP if kind == _UP else BOUND_FOR_DOWN
            break
        else:
            length = real[c, TRIP] / 2
        alone = length
        if left < np.inf and phase == _STARTUP and at[c, TRACED] == 1:
            goodput = real[c, ALONE_UP] if kind == _UP else real[c, ALONE_DOWN]
            alone = _startup(whole[v, stage, MESSAGE], goodput, real[c, TRIP], links, at[c, CLASS])
        if left < alone and not books:
            now += left / alone * length
            bound = FAILS
            break
        is_over = now + length <= limit + _TIE and left >= alone
        if books:
            part = length if is_over else limit - now
            if phase in (_STARTUP, _TRAVELING):
                sums[c, label, TRANSFER] += part
            else:
                sums[c, label, COMPUTE] += part
                if not is_client:
                    sums[c, label, SERVER] += part
            if kind == _CLIENT and not is_over:
                done = np.floor(part / (seconds[v, stage, OWN] * pace) + 1e-9)
                cut[c, 0] = min(np.int64(done), whole[v, stage, TIMES])
        if not is_over:
            bound = CUT
            now = limit
            break
        now += length
        left -= alone
        if kind != _CLIENT and phase < _UNPACKING:
            phase += 1
            # The rate of the moment decides on the startup, so a moment is made of it.
            if phase == _STARTUP and at[c, TRACED] == 1:
                bound = BOUND_FOR_STARTUP
                break
            continue
        phase = _PACKING
        stage += 1
        if stage == blocks[v, block, 1]:
            lap += 1
            if lap == blocks[v, block, 2]:
                lap = 0
                block += 1
            if block < num_blocks[v]:
                stage = blocks[v, block, 0]
    if books:
        at[c, BLOCK], at[c, LAP], at[c, STAGE], at[c, PHASE] = block, lap, stage, phase
        real[c, SINCE], real[c, LEFT] = now, left
    return now, bound


@compiled
def _startup(message_bytes: int, goodput: float, trip: float, links: Reals, which: int) -> float:
    """As :func:`fedsim.cost.duration.startup_seconds` [s]."""
    seconds = links[which, 0] + links[which, 1] * trip
    window = links[which, 2]
    sent = window
    # In an outage the window is not what it waits for.
    while 0 < sent < message_bytes and goodput > 0:
        stall = trip - window / goodput
        if stall <= 0:
            break
        seconds += stall
        window *= 2
        sent += window
    return seconds


@inlined
def enter_next_stage(c: int, now: float, clients: Clients, programs: Programs) -> None:
    """A visit is over: half a round trip follows a flow, the next stage a request."""
    at, real, _, _ = clients
    whole, _, blocks, num_blocks, _ = programs
    real[c, SINCE] = now
    at[c, VISITS] += 1
    v, block, stage = at[c, VARIANT], at[c, BLOCK], at[c, STAGE]
    if whole[v, stage, KIND] in (_UP, _DOWN):
        at[c, PHASE] = _TRAVELING
        return
    at[c, PHASE] = _PACKING
    at[c, STAGE] += 1
    if at[c, STAGE] == blocks[v, block, 1]:
        at[c, LAP] += 1
        if at[c, LAP] == blocks[v, block, 2]:
            at[c, LAP] = 0
            at[c, BLOCK] += 1
        if at[c, BLOCK] < num_blocks[v]:
            at[c, STAGE] = blocks[v, at[c, BLOCK], 0]


@compiled
def executions(c: int, s: int, clients: Clients, programs: Programs) -> int:
    """How often a client had finished a stage when it stopped."""
    at, _, _, cut = clients
    whole, _, blocks, num_blocks, _ = programs
    v = at[c, VARIANT]
    for block in range(num_blocks[v]):
        if blocks[v, block, 0] <= s < blocks[v, block, 1]:
            in_row = whole[v, s, TIMES]
            if block < at[c, BLOCK]:
                return blocks[v, block, 2] * in_row
            if block > at[c, BLOCK]:
                return 0
            laps = at[c, LAP] + (1 if s < at[c, STAGE] else 0)
            if s == at[c, STAGE]:
                if whole[v, s, KIND] == _CLIENT:
                    return laps * in_row + cut[c, 0]
                if at[c, PHASE] > _FLOW:
                    return laps + 1
            return laps * in_row
    return 0
