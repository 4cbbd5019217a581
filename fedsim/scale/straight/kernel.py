"""Loops over all attempts of a straight segment: time between visits, and sums for the ledger."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import compiled
from fedsim.scale.program import Kind, Program
from fedsim.scale.records import Integers, Reals, Records, layout
from fedsim.scale.segment import LOST, USED
from fedsim.spec.link import SEGMENT_BYTES

__all__ = ["Attempts", "Fleet", "StageTable", "add_attempts", "leg_ends", "stage_table"]

_CLIENT, _UP = int(Kind.CLIENT), int(Kind.UP)

#: A stage: ``kind`` is -1 beyond a program's end; ``times`` are executions in all, ``in_row`` those
#: within one lap of its block. Where a block begins: the stage behind its last, and its laps; 0
#: elsewhere. Seconds of the client and of the server [s].
_STAGE: Final = layout(
    ["kind", "times", "in_row", "block_stop", "laps", "message_bytes", "payload_bytes"],
    ["client_s", "server_s"],
)


class StageTable(NamedTuple):
    """Programs as tables.

    Attributes
    ----------
    legs : ndarray, shape (V, visits + 1, 2)
        Seconds ahead of each visit and after the last: the client's, the server's [s].
    stages : ndarray, shape (V, S)
    """

    legs: Reals
    stages: Records


class Fleet(NamedTuple):
    """What clients are like.

    Attributes
    ----------
    group : ndarray of int32, shape (n,)
    slowdown, round_trip_s : ndarray, shape (n,)
    size : ndarray, shape (visits, n)
        Of the wire [B].
    """

    group: NDArray[np.int32]
    slowdown: Reals
    round_trip_s: Reals
    size: Reals


class Attempts(NamedTuple):
    """Attempts of one round.

    Attributes
    ----------
    client : ndarray of int64, shape (m,)
    factor : ndarray, shape (m,)
        On computing.
    start_s : float
        [s].
    stop_s : ndarray, shape (m,)
        When it fails, or was cut off [s].
    join_s, leave_s, unsent : ndarray, shape (visits, m)
        [s], [B].
    outcome : ndarray of int64, shape (m,)
    """

    client: Integers
    factor: Reals
    start_s: float
    stop_s: Reals
    join_s: Reals
    leave_s: Reals
    unsent: Reals
    outcome: Integers


def stage_table(programs: tuple[Program, ...]) -> StageTable:
    """Programs of all groups, in which every block runs in one go."""
    num_stages = max((len(p.stages) for p in programs), default=0)
    num_visits = max(
        (sum(s.kind is not Kind.CLIENT for s in p.stages) for p in programs), default=0
    )
    legs = np.zeros((len(programs), num_visits + 1, 2))
    stages = np.zeros((len(programs), num_stages), _STAGE)
    stages["kind"], stages["times"], stages["in_row"] = -1, 1, 1
    for group, program in enumerate(programs):
        repeats = {
            i: block.times for block in program.blocks for i in range(block.first, block.stop)
        }
        for block in program.blocks:
            stages["block_stop"][group, block.first] = block.stop
            stages["laps"][group, block.first] = block.times
        leg = 0
        for index, stage in enumerate(program.stages):
            row, times = stages[group, index], stage.times * repeats[index]
            row["kind"], row["times"], row["in_row"] = int(stage.kind), times, stage.times
            for name in ("message_bytes", "payload_bytes", "client_s", "server_s"):
                row[name] = getattr(stage, name)
            if stage.kind is Kind.CLIENT:
                legs[group, leg, 0] += stage.client_s * times
                continue
            writer = 0 if stage.kind is Kind.UP else 1
            seconds = (stage.client_s, stage.server_s)
            legs[group, leg, writer] += seconds[writer]
            leg += 1
            legs[group, leg, 1 - writer] += seconds[1 - writer]
    return StageTable(legs, stages)


@compiled
def leg_ends(
    start_s: Reals, group: NDArray[np.int32], pace: Reals, waits_s: Reals, legs: Reals, leg: int
) -> Reals:
    """Ends of one leg for everybody: its start, its computing and its waits [s]."""
    ends = np.empty(len(start_s))
    for i in range(len(start_s)):
        own = legs[group[i], leg, 0] * pace[i] + legs[group[i], leg, 1]
        ends[i] = start_s[i] + (own + waits_s[i])
    return ends


@compiled
def add_attempts(
    attempts: Attempts, fleet: Fleet, table: StageTable, sums: Records, goes_on: bool
) -> None:
    """Walk every attempt through its stages up to its end, and add up what was done.

    ``goes_on`` where whoever is late was cut off behind all that happens in that nanosecond.
    """
    stages, leave_s, outcome = table.stages, attempts.leave_s, attempts.outcome
    for e in range(len(attempts.client)):
        i = attempts.client[e]
        v = fleet.group[i]
        pace = fleet.slowdown[i] * attempts.factor[e]
        if outcome[e] != USED:
            _walk(e, pace, attempts, fleet, stages[v], sums[v], goes_on or outcome[e] == LOST)
            continue
        # The same for one that is through, without a look at the clock. It stands here and not in
        # a function: a call would count references to a dozen arrays, for longer than it works.
        now = attempts.start_s
        half_trip = fleet.round_trip_s[i] / 2
        visit = 0
        for s in range(stages.shape[1]):
            stage = stages[v, s]
            kind = stage.kind
            if kind < 0:
                break
            total = sums[v, s, USED]
            total.start_s = min(total.start_s, now)
            total.executions += stage.times
            own = stage.client_s * pace
            if kind == _CLIENT:
                whole = own * stage.times
                total.compute_s += whole
                now += whole
                continue
            other = stage.server_s
            arrival = leave_s[visit, e] + half_trip
            visit += 1
            now += own if kind == _UP else other
            total.transfer_s += arrival - now
            total.compute_s += own + other
            total.server_s += other
            now = arrival + (other if kind == _UP else own)


@compiled
def _walk(
    e: int,
    pace: float,
    attempts: Attempts,
    fleet: Fleet,
    stages: Records,
    sums: Records,
    goes_on: bool,
) -> None:
    """Go through the stages of a group up to where an attempt stopped."""
    i, outcome = attempts.client[e], attempts.outcome[e]
    now, stop = attempts.start_s, attempts.stop_s[e]
    visit = 0
    for s in range(len(stages)):
        stage = stages[s]
        kind, total = stage.kind, sums[s, outcome]
        if kind < 0:
            return
        if now >= stop - 5e-10:
            # What takes no time is done at the nanosecond of a cut that comes behind it.
            takes_none = kind == _CLIENT and stage.client_s == 0.0
            if not (goes_on and takes_none) or now > stop + 5e-10 or _is_in_lap(s, stages):
                return
            total.start_s = min(total.start_s, now)
            total.executions += stage.times
            continue
        if stage.laps > 1 and stage.block_stop > s + 1:
            # Several computations in turn, again and again: whole laps first.
            now = _lap(s, outcome, pace, now, stop, stages, sums)
            if now >= stop - 5e-10:
                return
        if kind == _CLIENT and _is_in_lap(s, stages):
            continue
        total.start_s = min(total.start_s, now)
        if kind == _CLIENT:
            one = stage.client_s * pace
            whole = one * stage.times
            if now + whole > stop + 5e-10:
                done = min(np.floor((stop - now) / one + 1e-9), float(stage.times - 1))
                total.executions += np.int64(done)
                total.compute_s += stop - now
                return
            total.executions += stage.times
            total.compute_s += whole
            now += whole
            continue
        is_up = kind == _UP
        writes = stage.client_s * pace if is_up else stage.server_s
        reads = stage.server_s if is_up else stage.client_s * pace
        writing = min(writes, stop - now)
        total.compute_s += writing
        if not is_up:
            total.server_s += writing
        if now + writes > stop + 5e-10:
            return
        now += writes
        join, leave = attempts.join_s[visit, e], attempts.leave_s[visit, e]
        if not leave < np.inf or join >= stop:
            total.transfer_s += max(0.0, stop - now)
            return
        unsent = attempts.unsent[visit, e]
        if unsent > 0.0:
            _cut(stage, total, fleet.size[visit, i], unsent)
            total.transfer_s += leave - now
            return
        total.executions += 1
        arrival = leave + fleet.round_trip_s[i] / 2
        visit += 1
        if arrival > stop + 5e-10:
            total.transfer_s += stop - now
            return
        total.transfer_s += arrival - now
        reading = min(reads, stop - arrival)
        total.compute_s += reading
        if is_up:
            total.server_s += reading
        if arrival + reads > stop + 5e-10:
            return
        now = arrival + reads


@compiled
def _cut(stage: Any, total: Any, size: float, unsent: float) -> None:
    """Whole segments of a message that had left when it was cut off."""
    sent = (size - unsent) / size * stage.message_bytes
    cut = np.int64(np.floor(sent / SEGMENT_BYTES + 1e-9) * SEGMENT_BYTES)
    cut = min(cut, stage.message_bytes)
    total.cut_bytes += cut
    total.cut_payload += min(cut, stage.payload_bytes)


@compiled
def _is_in_lap(s: int, stages: Records) -> bool:
    """Whether a stage belongs to a block of several that is gone through more than once."""
    first = s
    while stages[first].laps == 0:
        first -= 1
    return stages[first].laps > 1 and stages[first].block_stop > first + 1


@compiled
def _lap(
    first: int, outcome: int, pace: float, now: float, stop: float, stages: Records, sums: Records
) -> float:
    """Go through a block of computations up to ``stop``; when it ended [s]."""
    behind, laps = stages[first].block_stop, stages[first].laps
    one_lap = 0.0
    for s in range(first, behind):
        if now + one_lap < stop:
            total = sums[s, outcome]
            total.start_s = min(total.start_s, now + one_lap)
        one_lap += stages[s].client_s * pace * stages[s].in_row
    if now + laps * one_lap > stop + 5e-10:
        laps = min(np.int64(np.floor((stop - now) / one_lap + 1e-9)), laps)
    for s in range(first, behind):
        total = sums[s, outcome]
        total.executions += laps * stages[s].in_row
        total.compute_s += laps * stages[s].in_row * stages[s].client_s * pace
    now += laps * one_lap
    if laps == stages[first].laps:
        return now
    for s in range(first, behind):
        stage, total = stages[s], sums[s, outcome]
        one = stage.client_s * pace
        whole = one * stage.in_row
        if now + whole > stop + 5e-10:
            if stop > now:
                done = min(np.floor((stop - now) / one + 1e-9), float(stage.in_row))
                total.executions += np.int64(done)
                total.compute_s += stop - now
            break
        total.executions += stage.in_row
        total.compute_s += whole
        now += whole
    return stop
