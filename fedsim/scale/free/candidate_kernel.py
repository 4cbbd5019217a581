"""Who fills a free slot where clients start one by one: at random, or the fastest."""

from __future__ import annotations

import numpy as np

from fedsim.draws import GOLDEN, MIX_1, MIX_2
from fedsim.scale.compiled import compiled
from fedsim.scale.events.agenda_kernel import ticks
from fedsim.scale.events.attempt_kernel import present_row
from fedsim.scale.events.state import Integers, Setting
from fedsim.scale.free.state import (
    IS_FASTEST_FIRST,
    IS_STARVING,
    NUM_FRESH,
    NUM_IDLE,
    NUM_PICKS,
    Crowd,
    Free,
)

__all__ = ["add", "discard", "next_arrival", "pick", "uniform"]

_NUM_TRIES = 64
_GOLDEN, _MIX_1, _MIX_2 = np.uint64(GOLDEN), np.uint64(MIX_1), np.uint64(MIX_2)


@compiled
def add(crowd: Crowd, run: Integers, size: int, c: int) -> None:
    """Put client ``c`` into a set whose size is register ``size``."""
    if crowd.place[c] < 0:
        crowd.member[run[size]] = c
        crowd.place[c] = run[size]
        run[size] += 1


@compiled
def discard(crowd: Crowd, run: Integers, size: int, c: int) -> None:
    """Take client ``c`` out."""
    hole = crowd.place[c]
    if hole < 0:
        return
    run[size] -= 1
    last = crowd.member[run[size]]
    crowd.member[hole] = last
    crowd.place[last] = hole
    crowd.place[c] = -1


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
def pick(free: Free, setting: Setting, now: float) -> int:
    """The client for the next pick; -1 if nobody is eligible."""
    run = free.run
    pool, size = (free.fresh, run[NUM_FRESH]) if run[IS_STARVING] else (free.idle, run[NUM_IDLE])
    if size <= _NUM_TRIES:
        only, num = np.int64(-1), 0
        for row in range(size):
            if _is_there(pool.member[row], setting, now):
                only = pool.member[row]
                num += 1
        if num <= 1:
            return only
    if run[IS_FASTEST_FIRST]:
        return _fastest(pool, size, free, setting, now)
    return _drawn(pool, size, free, setting, now)


@compiled
def _is_there(c: int, setting: Setting, now: float) -> bool:
    return setting.horizon_s == np.inf or present_row(c, now, setting) >= 0


@compiled
def _fastest(pool: Crowd, size: int, free: Free, setting: Setting, now: float) -> int:
    if size <= _NUM_TRIES:
        best = np.int64(-1)
        for row in range(size):
            c = pool.member[row]
            if _is_there(c, setting, now) and (
                best < 0 or free.speed_place[c] < free.speed_place[best]
            ):
                best = c
        return best
    for place in range(len(free.by_speed)):
        c = free.by_speed[place]
        if pool.place[c] >= 0 and _is_there(c, setting, now):
            return c
    return np.int64(-1)


@compiled
def _drawn(pool: Crowd, size: int, free: Free, setting: Setting, now: float) -> int:
    num = len(setting.order)
    last = np.int64(0)
    for attempt in range(_NUM_TRIES):
        draw = uniform(free.candidate_key[0], free.run[NUM_PICKS], attempt)
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
def next_arrival(now: float, free: Free) -> int:
    """Place of the first arrival behind this nanosecond."""
    tick = ticks(now)
    low, high = 0, len(free.arrival_s)
    while low < high:
        middle = (low + high) >> 1
        if ticks(free.arrival_s[middle]) <= tick:
            low = middle + 1
        else:
            high = middle
    return low
