"""A client's attempt at a segment: how it begins, contributes, or is lost."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedsim.scale.compiled import compiled, inlined
from fedsim.scale.events.agenda_kernel import Agenda, push, ticks
from fedsim.scale.events.state import BEGIN, GO_ON, LEAVE, PAUSING, STOP, WORKING, Setting, State
from fedsim.scale.events.walk_kernel import FAILS, executions, walk
from fedsim.scale.segment import USED

__all__ = [
    "add_spent",
    "begin",
    "enter_sums",
    "notice_s",
    "present_row",
    "set_out",
    "try_again",
]


@inlined
def set_out(agenda: Agenda, c: int, state: State) -> None:
    """Announce when a client will be at its next visit; rates are those of this moment."""
    me, capacity = state.clients[c], state.setting.capacity
    factor = state.rates[me.client_class].factor
    fraction = state.programs.links[me.client_class].payload_fraction
    me.goodput_up = min(me.uplink * factor, capacity[0]) * fraction
    me.goodput_down = min(me.downlink * factor, capacity[1]) * fraction
    end, bound = walk(c, np.inf, False, state.clients, state.spent, state.programs)
    if bound == FAILS:
        push(agenda, end, 2 * c + 3, STOP, c, me.serial)
    else:
        push(agenda, end, 2 * c + 2, GO_ON, c, me.stamp)


@inlined
def begin(agenda: Agenda, c: int, now: float, state: State) -> bool:
    """Start an attempt; False where the client is not even there."""
    me, setting = state.clients[c], state.setting
    me.status = WORKING
    me.serial += 1
    me.since_s, me.joined_s = now, -1.0
    me.block = me.lap = me.phase = me.num_visits = 0
    me.stage = state.programs.blocks[me.group, 0].first
    me.finished = me.sent_bytes = 0
    me.left_s, me.share = np.inf, 1.0
    me.due_s = now + setting.alone_s[c]
    for label in range(state.spent.shape[1]):
        own = state.spent[c, label]
        own.compute_s = own.server_s = own.transfer_s = own.wait_s = 0.0
        own.first_s = np.inf
    if setting.horizon_s < np.inf:
        row = present_row(c, now, setting)
        if row < 0:
            return False
        leaves = setting.leave_s[row]
        if leaves < np.inf and leaves != me.leaves_s:
            # One event for a stay, however many attempts it sees.
            me.leaves_s = leaves
            push(agenda, leaves, 2 * c + 3, LEAVE, c, 0)
    if me.leg == 0 and me.attempt < len(setting.failure_s):
        me.left_s = setting.failure_s[me.attempt, c]
    set_out(agenda, c, state)
    return True


@compiled
def present_row(c: int, now: float, setting: Setting) -> int:
    """Row of the stay in which a moment lies; -1 where the client is away."""
    row = _next_row(c, now, setting) - 1
    if row >= setting.first[c] and ticks(now) < ticks(setting.leave_s[row]):
        return row
    return -1


@compiled
def _next_row(c: int, now: float, setting: Setting) -> int:
    """Row of the first stay that begins behind a moment's nanosecond."""
    tick = ticks(now)
    low, high = setting.first[c], setting.first[c + 1]
    while low < high:
        middle = (low + high) >> 1
        if ticks(setting.come_s[middle]) <= tick:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def notice_s(me: Any, now: float, has_failed: bool, setting: Setting) -> float:
    """When the server knows that an attempt came to nothing: at once of those who leave [s]."""
    if not has_failed:
        return now
    if setting.timeout_s >= 0.0:
        return now + setting.timeout_s
    return max(now, me.due_s)


@inlined
def try_again(agenda: Agenda, c: int, noticed: float, state: State) -> bool:
    """Enter the next attempt of a client that is known to be lost; False where there is none."""
    me, setting = state.clients[c], state.setting
    if me.attempt >= setting.retries:
        return False
    again = _return_s(c, noticed + setting.retry_after_s, setting)
    if again == np.inf:
        return False
    me.attempt += 1
    me.status = PAUSING
    push(agenda, again, 2 * c + 2, BEGIN, c, me.stamp)
    return True


@compiled
def _return_s(c: int, after: float, setting: Setting) -> float:
    """From when on a client is there again; infinite if it never is [s].

    Just beyond the horizon if that lies beyond what is known.
    """
    if setting.horizon_s == np.inf or present_row(c, after, setting) >= 0:
        return after
    row = _next_row(c, after, setting)
    if row < setting.first[c + 1]:
        come = setting.come_s[row]
        return come if come - after <= setting.patience_s else np.inf
    if setting.horizon_s < after + setting.patience_s:
        return np.nextafter(setting.horizon_s, np.inf)
    return np.inf


@inlined
def add_spent(total: Any, one: Any) -> None:
    """Add what was spent on a label; the earlier start counts."""
    total.compute_s += one.compute_s
    total.server_s += one.server_s
    total.transfer_s += one.transfer_s
    total.wait_s += one.wait_s
    total.first_s = min(total.first_s, one.first_s)


@inlined
def enter_sums(c: int, outcome: int, state: State) -> None:
    """Add what an attempt did to the sums of its outcome."""
    me, programs, sums = state.clients[c], state.programs, state.sums
    v = me.group
    for label in range(state.spent.shape[1]):
        add_spent(sums.spent[v, label, outcome], state.spent[c, label])
    if outcome == USED:
        # All of it; how often is in the program.
        sums.counts[v, 0, USED].executions += 1
        return
    num_blocks = programs.num_blocks[v]
    if num_blocks == 0:
        return
    for s in range(programs.blocks[v, num_blocks - 1].stop):
        sums.counts[v, s, outcome].executions += executions(me, s, programs)
    if me.sent_bytes > 0:
        cut = sums.counts[v, me.stage, outcome]
        cut.cut_bytes += me.sent_bytes
        cut.cut_payload += min(me.sent_bytes, programs.stages[v, me.stage].payload_bytes)
