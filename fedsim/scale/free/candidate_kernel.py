"""Who fills a free slot where clients start one by one: at random, or the fastest."""

from __future__ import annotations

import numpy as np

from fedsim.draws import GOLDEN, MIX_1, MIX_2
from fedsim.scale.compiled import compiled
from fedsim.scale.events.agenda_kernel import ticks
from fedsim.scale.events.attempt_kernel import present_row
from fedsim.scale.events.state import Setting
from fedsim.scale.free.state import ClientSet, FreeState
from fedsim.scale.records import Records

__all__ = ["add", "discard", "next_arrival", "pick", "uniform"]

_NUM_TRIES = 64
_GOLDEN, _MIX_1, _MIX_2 = np.uint64(GOLDEN), np.uint64(MIX_1), np.uint64(MIX_2)


@compiled
def add(some: ClientSet, c: int) -> None:
    """Put client ``c`` into a set."""
    member, place, length = some
    if place[c] < 0:
        member[length[0]] = c
        place[c] = length[0]
        length[0] += 1


@compiled
def discard(some: ClientSet, c: int) -> None:
    """Take client ``c`` out of a set."""
    member, place, length = some
    hole = place[c]
    if hole < 0:
        return
    length[0] -= 1
    last = member[length[0]]
    member[hole] = last
    place[last] = hole
    place[c] = -1


@compiled
def uniform(key: np.uint64, round_index: int, attempt: int) -> float:
    """As :func:`fedsim.draws.uniforms` for the client of key 0."""
    word = np.uint64(round_index) * _GOLDEN + key
    word = _mixed(_mixed(word) + np.uint64(attempt) * _GOLDEN)
    word = _mixed(word)
    return (np.float64(word >> np.uint64(12)) + 0.5) * 2.0**-52


@compiled
def _mixed(word: np.uint64) -> np.uint64:
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    return word ^ (word >> np.uint64(31))


@compiled
def pick(free: FreeState, setting: Setting, now: float) -> int:
    """The client for the next pick; -1 if nobody is eligible."""
    server = free.server[0]
    pool = free.fresh if server.is_starving else free.idle
    size = pool.length[0]
    if size <= _NUM_TRIES:
        only, num = np.int64(-1), 0
        for row in range(size):
            if _is_there(pool.member[row], setting, now):
                only = pool.member[row]
                num += 1
        if num <= 1:
            return only
    if server.is_fastest_first:
        return _fastest(pool, free, setting, now)
    return _drawn(pool, free, setting, now)


@compiled
def _is_there(c: int, setting: Setting, now: float) -> bool:
    return setting.horizon_s == np.inf or present_row(c, now, setting) >= 0


@compiled
def _fastest(pool: ClientSet, free: FreeState, setting: Setting, now: float) -> int:
    size, iterations = pool.length[0], free.iterations
    if size <= _NUM_TRIES:
        best = np.int64(-1)
        for row in range(size):
            c = pool.member[row]
            if _is_there(c, setting, now) and (
                best < 0 or iterations[c].speed_place < iterations[best].speed_place
            ):
                best = c
        return best
    for place in range(len(free.by_speed)):
        c = free.by_speed[place]
        if pool.place[c] >= 0 and _is_there(c, setting, now):
            return c
    return np.int64(-1)


@compiled
def _drawn(pool: ClientSet, free: FreeState, setting: Setting, now: float) -> int:
    size = pool.length[0]
    num = len(setting.order)
    last = np.int64(0)
    for attempt in range(_NUM_TRIES):
        draw = uniform(free.candidate_key[0], free.server[0].num_picks, attempt)
        last = min(np.int64(draw * num), num - 1)
        if pool.place[last] >= 0 and _is_there(last, setting, now):
            return last
    if size > _NUM_TRIES:
        for step in range(1, num + 1):
            following = (last + step) % num
            if pool.place[following] >= 0 and _is_there(following, setting, now):
                return following
        return np.int64(-1)
    nearest, distance = np.int64(-1), num + 1
    for row in range(size):
        c = pool.member[row]
        steps = (c - last - 1) % num
        if steps < distance and _is_there(c, setting, now):
            nearest, distance = c, steps
    return nearest


@compiled
def next_arrival(now: float, coming: Records) -> int:
    """Place of the first who comes behind this nanosecond."""
    tick = ticks(now)
    low, high = 0, len(coming)
    while low < high:
        middle = (low + high) >> 1
        if ticks(coming[middle].time_s) <= tick:
            low = middle + 1
        else:
            high = middle
    return low
