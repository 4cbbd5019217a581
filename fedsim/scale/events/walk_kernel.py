"""One client's way through its program: what it does by itself between two shared resources.

A client's place is a block, how often that was gone through, a stage, and a phase of it. Time
between two visits is walked through twice: once to know when it ends, and again to book it, up to
the moment at which it ended or was cut off.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from fedsim.scale.compiled import borrowed, compiled, inlined
from fedsim.scale.events.agenda_kernel import ticks
from fedsim.scale.program import Kind
from fedsim.scale.records import Integers, Records, layout

__all__ = [
    "BLOCK",
    "BOUND_FOR_DOWN",
    "BOUND_FOR_REQUEST",
    "BOUND_FOR_STARTUP",
    "BOUND_FOR_UP",
    "CLIENT",
    "CUT",
    "DOWN",
    "FAILS",
    "FLOW",
    "LINK",
    "REQUEST",
    "SPENT",
    "STAGE",
    "STARTUP",
    "THROUGH",
    "TRAVELING",
    "UP",
    "Programs",
    "enter_next_stage",
    "executions",
    "walk",
]

#: What a stage asks for.
_ALONE, UP, DOWN, REQUEST = int(Kind.CLIENT), int(Kind.UP), int(Kind.DOWN), int(Kind.REQUEST)
#: Where a walk ends.
BOUND_FOR_UP, BOUND_FOR_DOWN, BOUND_FOR_REQUEST, BOUND_FOR_STARTUP, THROUGH, CUT, FAILS = range(7)
#: Where a client is with a message.
_PACKING, STARTUP, FLOW, TRAVELING, _UNPACKING = range(5)
#: Half a nanosecond: what ends at the moment of a cut has ended.
_TIE = 5e-10

#: A client. Its place is ``block``, ``lap``, ``stage`` and ``phase``; ``stamp`` is the number under
#: which it is told to go on, ``serial`` that of its attempts; ``request`` the one in hand;
#: ``iteration`` and ``leg`` count where there are no common rounds; of what was cut off it had
#: ``finished`` so many executions in a row, and ``sent_bytes`` of a message had left. ``pace`` is
#: on its computing; goodputs are those of the moment, and those alone at factor 1 [B/s]; a visit
#: was ``joined_s``; its stay ends at ``leaves_s``; ``left_s`` is the work ahead of its failure,
#: ``due_s`` when the attempt would end alone, and ``share`` how much of the visit in hand is done
#: before it fails.
CLIENT: Final = layout(
    [
        "group",
        "client_class",
        "block",
        "lap",
        "stage",
        "phase",
        "status",
        "stamp",
        "attempt",
        "num_visits",
        "is_traced",
        "serial",
        "request",
        "iteration",
        "leg",
        "finished",
        "sent_bytes",
    ],
    [
        "pace",
        "round_trip_s",
        "uplink",
        "downlink",
        "since_s",
        "joined_s",
        "goodput_up",
        "goodput_down",
        "leaves_s",
        "alone_up",
        "alone_down",
        "left_s",
        "due_s",
        "share",
    ],
)
#: Seconds of a label, and when it first began; the server's are within those of computing [s].
SPENT: Final = layout([], ["compute_s", "server_s", "transfer_s", "wait_s", "first_s"])
#: A stage: executions in a row, bytes, number of its label; the client's seconds, the server's own,
#: and what a batch pays once [s].
STAGE: Final = layout(
    ["kind", "times", "message_bytes", "payload_bytes", "label"],
    ["client_s", "server_s", "shared_s"],
)
#: Stages ``first`` to ``stop`` (exclusive), ``times`` times.
BLOCK: Final = layout(["first", "stop", "times"])
#: As :class:`fedsim.spec.link.LinkSpec`.
LINK: Final = layout(
    [], ["message_s", "handshake_round_trips", "initial_window_bytes", "payload_fraction"]
)


class Programs(NamedTuple):
    """Programs of all groups as tables.

    Attributes
    ----------
    stages : ndarray of STAGE, shape (V, S)
    blocks : ndarray of BLOCK, shape (V, B)
    num_blocks : ndarray of int64, shape (V,)
    links : ndarray of LINK, shape (classes,)
    """

    stages: Records
    blocks: Records
    num_blocks: Integers
    links: Records


@compiled
def walk(
    c: int, limit: float, is_booked: bool, clients: Records, spent: Records, programs: Programs
) -> tuple[float, int]:
    """Go on from a client's place to its next visit, or to ``limit``.

    Parameters
    ----------
    c : int
    limit : float
        [s].
    is_booked : bool
        Whether the place and the sums move along.
    clients, spent : ndarray of CLIENT, of SPENT
    programs : Programs

    Returns
    -------
    time_s : float
        When that is [s].
    bound : int
        For what, or ``CUT``, or ``FAILS`` where the client fails ahead of that.
    """
    clients, spent, programs = borrowed((clients, spent, programs))
    me = clients[c]
    v = me.group
    num_blocks, link = programs.num_blocks[v], programs.links[me.client_class]
    now, pace = me.since_s, me.pace
    block, lap, s, phase = me.block, me.lap, me.stage, me.phase
    bound, length, left = CUT, 0.0, me.left_s
    # Who comes to the cut by what it does is cut off before it goes on to what takes no time; who
    # stood there already has gone on.
    last_tick = ticks(limit) if ticks(now) < ticks(limit) else ticks(np.inf)
    while True:
        if block == num_blocks:
            bound = THROUGH
            break
        if ticks(now) >= last_tick:
            break
        stage = programs.stages[v, s]
        kind = stage.kind
        if is_booked and phase == _PACKING:
            own = spent[c, stage.label]
            own.first_s = min(own.first_s, now)
        is_client = kind == _ALONE
        if is_client:
            length = stage.client_s * pace * stage.times
        elif kind not in (UP, DOWN):
            bound = BOUND_FOR_REQUEST
            break
        elif phase in (_PACKING, _UNPACKING):
            is_client = (phase == _PACKING) == (kind == UP)
            length = stage.client_s * pace if is_client else stage.server_s
        elif phase == STARTUP:
            goodput = me.goodput_up if kind == UP else me.goodput_down
            length = _startup(stage.message_bytes, goodput, me.round_trip_s, link)
        elif phase == FLOW:
            bound = BOUND_FOR_UP if kind == UP else BOUND_FOR_DOWN
            break
        else:
            length = me.round_trip_s / 2
        alone = length
        if left < np.inf and phase == STARTUP and me.is_traced == 1:
            goodput = me.alone_up if kind == UP else me.alone_down
            alone = _startup(stage.message_bytes, goodput, me.round_trip_s, link)
        if left < alone and not is_booked:
            now += left / alone * length
            bound = FAILS
            break
        is_over = now + length <= limit + _TIE and left >= alone
        if is_booked:
            part = length if is_over else limit - now
            own = spent[c, stage.label]
            if phase in (STARTUP, TRAVELING):
                own.transfer_s += part
            else:
                own.compute_s += part
                if not is_client:
                    own.server_s += part
            if kind == _ALONE and not is_over:
                done = np.floor(part / (stage.client_s * pace) + 1e-9)
                me.finished = min(np.int64(done), stage.times)
        if not is_over:
            bound = CUT
            now = limit
            break
        now += length
        left -= alone
        if kind != _ALONE and phase < _UNPACKING:
            phase += 1
            # The rate of the moment decides on the startup, so a moment is made of it.
            if phase == STARTUP and me.is_traced == 1:
                bound = BOUND_FOR_STARTUP
                break
            continue
        phase = _PACKING
        s += 1
        if s == programs.blocks[v, block].stop:
            lap += 1
            if lap == programs.blocks[v, block].times:
                lap = 0
                block += 1
            if block < num_blocks:
                s = programs.blocks[v, block].first
    if is_booked:
        me.block, me.lap, me.stage, me.phase = block, lap, s, phase
        me.since_s, me.left_s = now, left
    return now, bound


@compiled
def _startup(message_bytes: int, goodput: float, trip: float, link: Any) -> float:
    """As :func:`fedsim.cost.duration.startup_seconds` [s]."""
    seconds = link.message_s + link.handshake_round_trips * trip
    window = link.initial_window_bytes
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
def enter_next_stage(me: Any, now: float, programs: Programs) -> None:
    """A visit is over: half a round trip follows a flow, the next stage a request."""
    me.since_s = now
    me.num_visits += 1
    v, block = me.group, me.block
    if programs.stages[v, me.stage].kind in (UP, DOWN):
        me.phase = TRAVELING
        return
    me.phase = _PACKING
    me.stage += 1
    if me.stage == programs.blocks[v, block].stop:
        me.lap += 1
        if me.lap == programs.blocks[v, block].times:
            me.lap = 0
            me.block += 1
        if me.block < programs.num_blocks[v]:
            me.stage = programs.blocks[v, me.block].first


@compiled
def executions(me: Any, s: int, programs: Programs) -> int:
    """How often a client had finished a stage when it stopped."""
    v = me.group
    for number in range(programs.num_blocks[v]):
        block = programs.blocks[v, number]
        if block.first <= s < block.stop:
            stage = programs.stages[v, s]
            if number < me.block:
                return block.times * stage.times
            if number > me.block:
                return 0
            laps = me.lap + (1 if s < me.stage else 0)
            if s == me.stage:
                if stage.kind == _ALONE:
                    return laps * stage.times + me.finished
                if me.phase > FLOW:
                    return laps + 1
            return laps * stage.times
    return 0
