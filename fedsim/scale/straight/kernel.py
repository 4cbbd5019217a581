"""Loops over all attempts of a straight segment: time between visits, and sums for the ledger."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.compiled import compiled
from fedsim.scale.program import Kind, Program
from fedsim.scale.segment import Tally

__all__ = ["StageTable", "leg_ends", "stage_table", "tally_attempts"]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

_CLIENT, _UP = int(Kind.CLIENT), int(Kind.UP)
_SEGMENT_BYTES = 1448.0
_USED, _LOST = 0, 2


class StageTable(NamedTuple):
    """Programs as arrays.

    Attributes
    ----------
    legs : ndarray, shape (V, visits + 1, 2)
        Seconds ahead of each visit and after the last: the client's, the server's [s].
    kind, times, in_row, message_bytes, payload_bytes : ndarray of int64, shape (V, S)
        ``kind`` is -1 beyond a program's end; ``times`` are executions in all, ``in_row`` those
        within one lap of the stage's block.
    block_stop, laps : ndarray of int64, shape (V, S)
        Of the block that begins with this stage: stage behind its last, and laps; 0 elsewhere.
    client_s, server_s : ndarray, shape (V, S)
        [s].
    """

    legs: Reals
    kind: Integers
    times: Integers
    in_row: Integers
    block_stop: Integers
    laps: Integers
    message_bytes: Integers
    payload_bytes: Integers
    client_s: Reals
    server_s: Reals


def stage_table(programs: tuple[Program, ...]) -> StageTable:
    """Programs of all variants, in which every block runs in one go."""
    num_stages = max((len(p.stages) for p in programs), default=0)
    num_visits = max(
        (sum(s.kind is not Kind.CLIENT for s in p.stages) for p in programs), default=0
    )
    shape = (len(programs), num_stages)
    table = StageTable(
        legs=np.zeros((len(programs), num_visits + 1, 2)),
        kind=np.full(shape, -1, dtype=np.int64),
        times=np.ones(shape, dtype=np.int64),
        in_row=np.ones(shape, dtype=np.int64),
        block_stop=np.zeros(shape, dtype=np.int64),
        laps=np.zeros(shape, dtype=np.int64),
        message_bytes=np.zeros(shape, dtype=np.int64),
        payload_bytes=np.zeros(shape, dtype=np.int64),
        client_s=np.zeros(shape),
        server_s=np.zeros(shape),
    )
    for variant, program in enumerate(programs):
        repeats = {
            i: block.times for block in program.blocks for i in range(block.first, block.stop)
        }
        for block in program.blocks:
            table.block_stop[variant, block.first] = block.stop
            table.laps[variant, block.first] = block.times
        leg = 0
        for index, stage in enumerate(program.stages):
            place = variant, index
            table.kind[place] = int(stage.kind)
            table.times[place] = stage.times * repeats[index]
            table.in_row[place] = stage.times
            table.message_bytes[place] = stage.message_bytes
            table.payload_bytes[place] = stage.payload_bytes
            table.client_s[place] = stage.client_s
            table.server_s[place] = stage.server_s
            if stage.kind is Kind.CLIENT:
                table.legs[variant, leg, 0] += stage.client_s * table.times[place]
                continue
            writer = 0 if stage.kind is Kind.UP else 1
            seconds = (stage.client_s, stage.server_s)
            table.legs[variant, leg, writer] += seconds[writer]
            leg += 1
            table.legs[variant, leg, 1 - writer] += seconds[1 - writer]
    return table


@compiled
def leg_ends(
    start_s: Reals, variant: NDArray[np.int32], pace: Reals, waits_s: Reals, legs: Reals, leg: int
) -> Reals:
    """Ends of one leg for everybody: its start, its computing and its waits [s]."""
    ends = np.empty(len(start_s))
    for i in range(len(start_s)):
        own = legs[variant[i], leg, 0] * pace[i] + legs[variant[i], leg, 1]
        ends[i] = start_s[i] + (own + waits_s[i])
    return ends


@compiled
def tally_attempts(
    client: Integers,
    start_s: Reals,
    stop_s: Reals,
    join_s: Reals,
    leave_s: Reals,
    unsent: Reals,
    result: Integers,
    variant_index: NDArray[np.int32],
    slowdown: Reals,
    factors: Reals,
    round_trip: Reals,
    sizes: Reals,
    table: StageTable,
    tally: Tally,
    goes_on: bool,
) -> None:
    """Walk every attempt through its stages up to its end, and add up what was done.

    ``goes_on`` where whoever is late was cut off behind all that happens in that nanosecond.
    """
    for e in range(len(client)):
        i = client[e]
        v = variant_index[i]
        pace = slowdown[i] * factors[e]
        if result[e] != _USED:
            _walk(
                e, i, v, result[e], pace, start_s[e], stop_s[e], join_s, leave_s, unsent,
                round_trip[i], sizes, table, tally, goes_on or result[e] == _LOST,
            )  # fmt: skip
            continue
        # The same for one that is through, without a look at the clock. It stands here and not in
        # a function: a call would count references to a dozen arrays, for longer than it works.
        now = start_s[e]
        visit = 0
        for s in range(table.kind.shape[1]):
            kind = table.kind[v, s]
            if kind < 0:
                break
            tally.start_s[v, s, _USED] = min(tally.start_s[v, s, _USED], now)
            tally.executions[v, s, _USED] += table.times[v, s]
            own = table.client_s[v, s] * pace
            if kind == _CLIENT:
                whole = own * table.times[v, s]
                tally.compute_s[v, s, _USED] += whole
                now += whole
                continue
            other = table.server_s[v, s]
            arrival = leave_s[visit, e] + round_trip[i] / 2
            visit += 1
            now += own if kind == _UP else other
            tally.transfer_s[v, s, _USED] += arrival - now
            tally.compute_s[v, s, _USED] += own + other
            tally.server_s[v, s, _USED] += other
            now = arrival + (other if kind == _UP else own)


@compiled
def _walk(
    e: int,
    i: int,
    v: int,
    outcome: int,
    pace: float,
    now: float,
    stop: float,
    join_s: Reals,
    leave_s: Reals,
    unsent: Reals,
    round_trip: float,
    sizes: Reals,
    table: StageTable,
    tally: Tally,
    goes_on: bool,
) -> None:
    visit = 0
    for s in range(table.kind.shape[1]):
        kind = table.kind[v, s]
        if kind < 0:
            return
        if now >= stop - 5e-10:
            # What takes no time is done at the nanosecond of a cut that comes behind it.
            takes_none = kind == _CLIENT and table.client_s[v, s] == 0.0
            if not (goes_on and takes_none) or now > stop + 5e-10 or _is_in_lap(s, v, table):
                return
            tally.start_s[v, s, outcome] = min(tally.start_s[v, s, outcome], now)
            tally.executions[v, s, outcome] += table.times[v, s]
            continue
        if table.laps[v, s] > 1 and table.block_stop[v, s] > s + 1:
            # Several computations in turn, again and again: whole laps first.
            now = _lap(s, v, outcome, pace, now, stop, table, tally)
            if now >= stop - 5e-10:
                return
        if kind == _CLIENT and _is_in_lap(s, v, table):
            continue
        tally.start_s[v, s, outcome] = min(tally.start_s[v, s, outcome], now)
        if kind == _CLIENT:
            one = table.client_s[v, s] * pace
            whole = one * table.times[v, s]
            if now + whole > stop + 5e-10:
                done = min(np.floor((stop - now) / one + 1e-9), float(table.times[v, s] - 1))
                tally.executions[v, s, outcome] += np.int64(done)
                tally.compute_s[v, s, outcome] += stop - now
                return
            tally.executions[v, s, outcome] += table.times[v, s]
            tally.compute_s[v, s, outcome] += whole
            now += whole
            continue
        is_up = kind == _UP
        writes = table.client_s[v, s] * pace if is_up else table.server_s[v, s]
        reads = table.server_s[v, s] if is_up else table.client_s[v, s] * pace
        writing = min(writes, stop - now)
        tally.compute_s[v, s, outcome] += writing
        if not is_up:
            tally.server_s[v, s, outcome] += writing
        if now + writes > stop + 5e-10:
            return
        now += writes
        join, leave = join_s[visit, e], leave_s[visit, e]
        if not leave < np.inf or join >= stop:
            tally.transfer_s[v, s, outcome] += max(0.0, stop - now)
            return
        if unsent[visit, e] > 0.0:
            size = sizes[visit, i]
            sent = (size - unsent[visit, e]) / size * table.message_bytes[v, s]
            cut = np.int64(np.floor(sent / _SEGMENT_BYTES + 1e-9) * _SEGMENT_BYTES)
            cut = min(cut, table.message_bytes[v, s])
            tally.cut_bytes[v, s, outcome] += cut
            tally.cut_payload[v, s, outcome] += min(cut, table.payload_bytes[v, s])
            tally.transfer_s[v, s, outcome] += leave - now
            return
        tally.executions[v, s, outcome] += 1
        arrival = leave + round_trip / 2
        visit += 1
        if arrival > stop + 5e-10:
            tally.transfer_s[v, s, outcome] += stop - now
            return
        tally.transfer_s[v, s, outcome] += arrival - now
        reading = min(reads, stop - arrival)
        tally.compute_s[v, s, outcome] += reading
        if is_up:
            tally.server_s[v, s, outcome] += reading
        if arrival + reads > stop + 5e-10:
            return
        now = arrival + reads


@compiled
def _is_in_lap(s: int, v: int, table: StageTable) -> bool:
    """Whether a stage belongs to a block of several that is gone through more than once."""
    first = s
    while table.laps[v, first] == 0:
        first -= 1
    return table.laps[v, first] > 1 and table.block_stop[v, first] > first + 1


@compiled
def _lap(
    first: int,
    v: int,
    outcome: int,
    pace: float,
    now: float,
    stop: float,
    table: StageTable,
    tally: Tally,
) -> float:
    """Go through a block of computations up to ``stop``; when it ended [s]."""
    behind = table.block_stop[v, first]
    one_lap = 0.0
    for s in range(first, behind):
        if now + one_lap < stop:
            tally.start_s[v, s, outcome] = min(tally.start_s[v, s, outcome], now + one_lap)
        one_lap += table.client_s[v, s] * pace * table.in_row[v, s]
    laps = table.laps[v, first]
    if now + laps * one_lap > stop + 5e-10:
        laps = min(np.int64(np.floor((stop - now) / one_lap + 1e-9)), laps)
    for s in range(first, behind):
        tally.executions[v, s, outcome] += laps * table.in_row[v, s]
        tally.compute_s[v, s, outcome] += laps * table.in_row[v, s] * table.client_s[v, s] * pace
    now += laps * one_lap
    if laps == table.laps[v, first]:
        return now
    for s in range(first, behind):
        one = table.client_s[v, s] * pace
        whole = one * table.in_row[v, s]
        if now + whole > stop + 5e-10:
            if stop > now:
                done = min(np.floor((stop - now) / one + 1e-9), float(table.in_row[v, s]))
                tally.executions[v, s, outcome] += np.int64(done)
                tally.compute_s[v, s, outcome] += stop - now
            break
        tally.executions[v, s, outcome] += table.in_row[v, s]
        tally.compute_s[v, s, outcome] += whole
        now += whole
    return stop
