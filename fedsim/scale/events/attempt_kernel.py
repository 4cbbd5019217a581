"""A client's attempt at a segment: how it begins, contributes, or is lost."""

from __future__ import annotations

import numpy as np

from fedsim.scale.compiled import compiled, inlined
from fedsim.scale.events.agenda_kernel import Agenda, push, ticks
from fedsim.scale.events.state import (
    BEGIN,
    GO_ON,
    LEAVE,
    PAUSING,
    STOP,
    USED,
    WORKING,
    Reals,
    Setting,
    Sums,
)
from fedsim.scale.events.walk_kernel import (
    ATTEMPT,
    BLOCK,
    CLASS,
    DOWN_RATE,
    DUE,
    FAILS,
    FIRST,
    GOOD_DOWN,
    GOOD_UP,
    JOINED,
    LAP,
    LEAVES,
    LEFT,
    LEG,
    PAYLOAD,
    PHASE,
    SERIAL,
    SHARE,
    SINCE,
    STAGE,
    STAMP,
    STATUS,
    UP_RATE,
    VARIANT,
    VISITS,
    Clients,
    Programs,
    executions,
    walk,
)

__all__ = ["begin", "enter_sums", "notice_s", "present_row", "set_out", "try_again"]


@inlined
def set_out(
    agenda: Agenda, c: int, factors: Reals, clients: Clients, programs: Programs, setting: Setting
) -> None:
    """Announce when a client will be at its next visit; rates are those of this moment."""
    at, real = clients.at, clients.real
    which = at[c, CLASS]
    fraction = programs.links[which, 3]
    real[c, GOOD_UP] = min(real[c, UP_RATE] * factors[which], setting.capacity[0]) * fraction
    real[c, GOOD_DOWN] = min(real[c, DOWN_RATE] * factors[which], setting.capacity[1]) * fraction
    end, bound = walk(c, np.inf, False, clients, programs)
    if bound == FAILS:
        push(agenda, end, 2 * c + 3, STOP, c, at[c, SERIAL])
    else:
        push(agenda, end, 2 * c + 2, GO_ON, c, at[c, STAMP])


@inlined
def begin(
    agenda: Agenda,
    c: int,
    now: float,
    factors: Reals,
    clients: Clients,
    programs: Programs,
    setting: Setting,
) -> bool:
    """Start an attempt; False where the client is not even there."""
    at, real, seconds, cut = clients
    attempt = at[c, ATTEMPT]
    at[c, STATUS] = WORKING
    at[c, SERIAL] += 1
    real[c, SINCE], real[c, JOINED] = now, -1.0
    at[c, BLOCK] = at[c, LAP] = at[c, PHASE] = at[c, VISITS] = 0
    at[c, STAGE] = programs.blocks[at[c, VARIANT], 0, 0]
    cut[c, 0] = cut[c, 1] = 0
    real[c, LEFT], real[c, SHARE] = np.inf, 1.0
    real[c, DUE] = now + setting.alone_s[c]
    for label in range(seconds.shape[1]):
        for column in range(FIRST):
            seconds[c, label, column] = 0.0
        seconds[c, label, FIRST] = np.inf
    if setting.horizon_s < np.inf:
        row = present_row(c, now, setting)
        if row < 0:
            return False
        leaves = setting.leave_s[row]
        if leaves < np.inf and leaves != real[c, LEAVES]:
            # One event for a stay, however many attempts it sees.
            real[c, LEAVES] = leaves
            push(agenda, leaves, 2 * c + 3, LEAVE, c, 0)
    if at[c, LEG] == 0 and attempt < len(setting.failure_s):
        real[c, LEFT] = setting.failure_s[attempt, c]
    set_out(agenda, c, factors, clients, programs, setting)
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
def notice_s(c: int, now: float, has_failed: bool, clients: Clients, setting: Setting) -> float:
    """When the server knows that an attempt came to nothing: at once of those who leave [s]."""
    if not has_failed:
        return now
    if setting.timeout_s >= 0.0:
        return now + setting.timeout_s
    return max(now, clients.real[c, DUE])


@compiled
def try_again(agenda: Agenda, c: int, noticed: float, clients: Clients, setting: Setting) -> bool:
    """Enter the next attempt of a client that is known to be lost; False where there is none."""
    at = clients.at
    if at[c, ATTEMPT] >= setting.retries:
        return False
    again = _return_s(c, noticed + setting.retry_after_s, setting)
    if again == np.inf:
        return False
    at[c, ATTEMPT] += 1
    at[c, STATUS] = PAUSING
    push(agenda, again, 2 * c + 2, BEGIN, c, at[c, STAMP])
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


@compiled
def enter_sums(c: int, outcome: int, clients: Clients, programs: Programs, sums: Sums) -> None:
    """Add what an attempt did to the sums of its outcome."""
    at, _, seconds, cut = clients
    whole, _, blocks, num_blocks, _ = programs
    v = at[c, VARIANT]
    for label in range(seconds.shape[1]):
        for column in range(FIRST):
            sums.seconds[v, label, outcome, column] += seconds[c, label, column]
        first = sums.seconds[v, label, outcome, FIRST]
        sums.seconds[v, label, outcome, FIRST] = min(first, seconds[c, label, FIRST])
    if outcome == USED:
        # All of it; how often is in the program.
        sums.executions[v, 0, USED] += 1
        return
    if num_blocks[v] == 0:
        return
    for s in range(blocks[v, num_blocks[v] - 1, 1]):
        sums.executions[v, s, outcome] += executions(c, s, clients, programs)
    if cut[c, 1] > 0:
        stage = at[c, STAGE]
        sums.cut_bytes[v, stage, outcome] += cut[c, 1]
        sums.cut_payload[v, stage, outcome] += min(cut[c, 1], whole[v, stage, PAYLOAD])
