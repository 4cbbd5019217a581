"""The event loop of one segment: clients, both sides of the link, accelerators, in order of time.

The rules are those of ``docs/simulation.md``. What a client does between two shared resources is
one event; the server's own events come first within a nanosecond, and what stops a client comes
behind what it does.
"""

from __future__ import annotations

import numpy as np

from fedsim.fleet.endless import LAST_S
from fedsim.scale.compiled import borrowed, compiled, inlined
from fedsim.scale.events.agenda_kernel import Agenda, pop, push, with_room
from fedsim.scale.events.attempt_kernel import enter_sums, notice_s, try_again
from fedsim.scale.events.handle_kernel import handle
from fedsim.scale.events.state import (
    BEGIN,
    DEADLINE,
    ENDLESS,
    HAS_FAILED,
    HORIZON_PASSED,
    IS_LOST,
    IS_NOTICED,
    IS_THROUGH,
    NOTICE,
    OVER,
    WORKING,
    State,
)
from fedsim.scale.events.visit_kernel import stop
from fedsim.scale.segment import LATE, LOST, USED

__all__ = ["run_events"]


@compiled
def run_events(agenda: Agenda, state: State) -> None:
    """Run until the gathering closes; whoever is still at work then is late."""
    state = borrowed(state)
    setting, totals = state.setting, state.sums.totals[0]
    num = len(setting.order)
    if setting.deadline_s < np.inf:
        push(agenda, setting.deadline_s, 2 * num + 4, DEADLINE, 0, 0)
    totals.num_pending = num
    totals.last = -1
    num_first = min(1, num) if setting.in_turns else num
    totals.next_turn = num_first
    for place in range(num_first):
        push(agenda, setting.start_s, 2 * setting.order[place] + 2, BEGIN, setting.order[place], 0)
    totals.closed_s = setting.start_s
    while (
        totals.num_pending > 0
        and totals.num_contributions < setting.awaited
        and agenda.counts[0].length > 0
    ):
        agenda = with_room(agenda, 2 * num + 64)
        event = agenda.events[0]
        what, c, stamp, now = event.what, event.who, event.stamp, event.time_s
        if now > setting.horizon_s or now > LAST_S:
            totals.why_ended = ENDLESS if now > LAST_S else HORIZON_PASSED
            totals.closed_s = now
            return
        if what == DEADLINE:
            break
        pop(agenda)
        totals.num_events += 1
        happened = handle(agenda, what, c, stamp, now, state)
        if happened == IS_THROUGH:
            _contribute(agenda, c, now, state)
        elif happened in (IS_LOST, HAS_FAILED):
            _lose(agenda, c, now, happened == HAS_FAILED, state)
        elif happened == IS_NOTICED:
            _settle_one(agenda, now, state)
    _close(agenda, state)


@inlined
def _contribute(agenda: Agenda, c: int, now: float, state: State) -> None:
    """A client is through."""
    me, totals = state.clients[c], state.sums.totals[0]
    state.sums.outcome[c] = USED
    state.sums.end_s[c] = now
    me.status = OVER
    me.stamp += 1
    enter_sums(c, USED, state)
    totals.num_contributions += 1
    totals.last = c
    _settle_one(agenda, now, state)


@inlined
def _settle_one(agenda: Agenda, now: float, state: State) -> None:
    """One client less is waited for; whose turn is next begins."""
    setting, totals = state.setting, state.sums.totals[0]
    totals.num_pending -= 1
    totals.closed_s = now
    if (
        setting.in_turns
        and totals.next_turn < len(setting.order)
        and totals.num_contributions < setting.awaited
    ):
        following = setting.order[totals.next_turn]
        totals.next_turn += 1
        push(agenda, now, 2 * following + 2, BEGIN, following, 0)


@inlined
def _lose(agenda: Agenda, c: int, now: float, has_failed: bool, state: State) -> None:
    """An attempt came to nothing: try again, or be lost for good, once that is noticed."""
    me = state.clients[c]
    enter_sums(c, LOST, state)
    noticed = notice_s(me, now, has_failed, state.setting)
    if try_again(agenda, c, noticed, state):
        return
    me.status = OVER
    state.sums.outcome[c] = LOST
    state.sums.end_s[c] = now
    if noticed > now:
        push(agenda, noticed, 2 * c + 2, NOTICE, c, 0)
    else:
        _settle_one(agenda, now, state)


@inlined
def _close(agenda: Agenda, state: State) -> None:
    """The gathering is closed: stop everybody who is not done."""
    setting, sums = state.setting, state.sums
    totals = sums.totals[0]
    if totals.num_pending > 0 and totals.num_contributions < setting.awaited:
        totals.closed_s = setting.deadline_s
    now = totals.closed_s
    for c in range(len(setting.order)):
        me = state.clients[c]
        if me.status == OVER:
            continue
        if me.status == WORKING:
            stop(agenda, c, now, state)
            enter_sums(c, LATE, state)
        sums.outcome[c] = LATE
        sums.end_s[c] = now
        me.status = OVER
