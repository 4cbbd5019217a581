"""The event loop where there are no common rounds: every client at its own pace.

What the server does with contributions is decided outside; the loop comes back where something is
to be decided, drawn or made room for.
"""

from __future__ import annotations

import numpy as np

from fedsim.fleet.endless import LAST_S
from fedsim.fleet.rules import MAX_LOSSES
from fedsim.scale.compiled import borrowed, compiled, inlined
from fedsim.scale.events.agenda_kernel import Agenda, pop, push, ticks, with_room
from fedsim.scale.events.attempt_kernel import add_spent, enter_sums, notice_s, try_again
from fedsim.scale.events.handle_kernel import handle
from fedsim.scale.events.queue_kernel import is_crowded
from fedsim.scale.events.state import (
    BEGIN,
    HAS_FAILED,
    IS_LOST,
    IS_NOTICED,
    IS_THROUGH,
    NOTICE,
    OVER,
    PAUSING,
    WORKING,
    State,
)
from fedsim.scale.events.visit_kernel import stop
from fedsim.scale.free.candidate_kernel import add, discard, next_arrival, pick
from fedsim.scale.free.state import AGGREGATE, ARRIVAL, FreeState
from fedsim.scale.records import Integers
from fedsim.scale.segment import LATE, LOST, USED

__all__ = [
    "DRAWS",
    "EMPTY",
    "ENDLESS",
    "HORIZON_PASSED",
    "ROOM",
    "SERVER_EVENT",
    "STUCK",
    "decide",
    "follow_up",
    "run_free",
    "start",
    "stop_all",
]

#: Why the loop came back.
SERVER_EVENT, DRAWS, ROOM, EMPTY, HORIZON_PASSED, STUCK, ENDLESS = range(7)


@compiled
def run_free(agenda: Agenda, state: State, free: FreeState) -> tuple[int, int, Agenda]:
    """Run until something is asked of the server: why, the event's kind, and the agenda."""
    state, free = borrowed((state, free))
    server, setting, totals = free.server[0], state.setting, state.sums.totals[0]
    num = len(setting.order)
    while True:
        if server.needs_fill:
            if not _fill(agenda, totals.closed_s, state, free):
                return DRAWS, 0, agenda
            server.needs_fill = 0
        agenda = with_room(agenda, 2 * num + 64)
        is_full = setting.keeps_visits and totals.num_visits + num >= len(state.sums.visits)
        if is_full or server.tail == len(free.buffer) or is_crowded(state.queue):
            return ROOM, 0, agenda
        if agenda.counts[0].length == 0:
            return EMPTY, 0, agenda
        event = agenda.events[0]
        what, c, stamp, now = event.what, event.who, event.stamp, event.time_s
        if now > LAST_S:
            return ENDLESS, 0, agenda
        if now > setting.horizon_s:
            return HORIZON_PASSED, 0, agenda
        pop(agenda)
        totals.num_events += 1
        totals.closed_s = now
        if what == ARRIVAL:
            _let_in(now, free)
            continue
        if what >= AGGREGATE:
            return SERVER_EVENT, what, agenda
        happened = handle(agenda, what, c, stamp, now, state)
        if happened == IS_THROUGH:
            _go_on(agenda, c, now, state, free)
        elif happened in (IS_LOST, HAS_FAILED):
            _lose(agenda, c, now, happened == HAS_FAILED, state, free)
            if server.losses_in_row > MAX_LOSSES and server.is_buffered:
                return STUCK, 0, agenda
        elif happened == IS_NOTICED:
            _free_slot(c, free)


@compiled
def start(agenda: Agenda, who: Integers, now: float, state: State, free: FreeState) -> None:
    """Let idle clients begin their next iterations."""
    state, free = borrowed((state, free))
    for place in range(len(who)):
        _start(agenda, who[place], now, state, free)


@inlined
def _start(agenda: Agenda, c: int, now: float, state: State, free: FreeState) -> None:
    me, server, iteration = state.clients[c], free.server[0], free.iterations[c]
    setting = state.setting
    me.iteration += 1
    me.leg = me.attempt = 0
    me.group = iteration.group
    me.status = PAUSING
    iteration.version = server.version
    iteration.start_s = now
    iteration.has_contributed = 0
    me.pace = iteration.slowdown
    if free.factor.shape[1] > 0:
        column = me.iteration - iteration.first_drawn
        me.pace *= free.factor[c, column]
        for attempt in range(len(setting.failure_s)):
            setting.failure_s[attempt, c] = free.failure_s[attempt, c, column]
        setting.alone_s[c] = free.alone_s[c, column]
    server.num_asked += 1
    server.num_running += 1
    discard(free.idle, c)
    discard(free.fresh, c)
    push(agenda, now, 2 * c + 2, BEGIN, c, me.stamp)


@compiled
def follow_up(agenda: Agenda, who: Integers, now: float, state: State, num_groups: int) -> None:
    """Let clients begin their next legs."""
    state = borrowed(state)
    for place in range(len(who)):
        _follow_up(agenda, who[place], now, state, num_groups)


@inlined
def _follow_up(agenda: Agenda, c: int, now: float, state: State, num_groups: int) -> None:
    me = state.clients[c]
    me.leg += 1
    me.group += num_groups
    me.attempt = 0
    me.status = PAUSING
    push(agenda, now, 2 * c + 2, BEGIN, c, me.stamp)


@compiled
def decide(first: int, stop_row: int, outcome: int, state: State, free: FreeState) -> None:
    """Book what became of some of the buffer's contributions."""
    state, free = borrowed((state, free))
    programs, sums = state.programs, state.sums
    for row in range(first, stop_row):
        v = free.iterations[free.buffer[row].client].group
        for label in range(free.buffer_spent.shape[1]):
            add_spent(sums.spent[v, label, outcome], free.buffer_spent[row, label])
        if outcome == USED:
            # All of it; how often is in the program.
            sums.counts[v, 0, USED].executions += 1
            continue
        for number in range(programs.num_blocks[v]):
            block = programs.blocks[v, number]
            for s in range(block.first, block.stop):
                sums.counts[v, s, outcome].executions += block.times * programs.stages[v, s].times


@compiled
def stop_all(agenda: Agenda, state: State, free: FreeState) -> int:
    """End of the run: who is at work stops; how many had not contributed."""
    state, free = borrowed((state, free))
    now, num = state.sums.totals[0].closed_s, 0
    for c in range(len(state.setting.order)):
        if free.idle.place[c] >= 0:
            continue
        num += 1 - free.iterations[c].has_contributed
        if state.clients[c].status == WORKING:
            stop(agenda, c, now, state)
            enter_sums(c, LATE, state)
    return num


@inlined
def _fill(agenda: Agenda, now: float, state: State, free: FreeState) -> bool:
    """Fill the free slots; False where the next client's draws are not known yet."""
    server, setting = free.server[0], state.setting
    while server.num_free > 0:
        c = pick(free, setting, now)
        if c < 0:
            server.is_starving = 1
            _forget_fresh(free)
            _await_arrival(agenda, now, state, free)
            return True
        num_drawn = free.factor.shape[1]
        following = state.clients[c].iteration + 1
        if num_drawn > 0 and following - free.iterations[c].first_drawn >= num_drawn:
            return False
        server.num_picks += 1
        server.num_free -= 1
        _start(agenda, c, now, state, free)
    server.is_starving = 0
    _forget_fresh(free)
    return True


@inlined
def _forget_fresh(free: FreeState) -> None:
    member, place, length = free.fresh
    for row in range(length[0]):
        place[member[row]] = -1
    length[0] = 0


@inlined
def _await_arrival(agenda: Agenda, now: float, state: State, free: FreeState) -> None:
    """Look again when the next client comes."""
    server, setting = free.server[0], state.setting
    if server.awaits_arrival or setting.horizon_s == np.inf:
        return
    place = next_arrival(now, free.coming)
    latest = now + setting.patience_s
    if place < len(free.coming) and free.coming[place].time_s <= latest:
        server.awaits_arrival = 1
        push(agenda, free.coming[place].time_s, 0, ARRIVAL, 0, 0)
    elif setting.horizon_s < latest:
        # Whoever comes then is not known: getting there starts the run over.
        server.awaits_arrival = 1
        push(agenda, np.nextafter(setting.horizon_s, np.inf), 0, ARRIVAL, 0, 0)


@inlined
def _let_in(now: float, free: FreeState) -> None:
    server, coming = free.server[0], free.coming
    server.awaits_arrival = 0
    if server.num_free == 0:
        return
    tick = ticks(now)
    place = next_arrival(now, coming) - 1
    while place >= 0 and ticks(coming[place].time_s) == tick:
        c = coming[place].client
        if server.is_starving and free.idle.place[c] >= 0:
            add(free.fresh, c)
        place -= 1
    server.needs_fill = 1


@inlined
def _go_on(agenda: Agenda, c: int, now: float, state: State, free: FreeState) -> None:
    """A client is through with a leg."""
    me, server, iteration = state.clients[c], free.server[0], free.iterations[c]
    me.status = OVER
    me.stamp += 1
    if iteration.has_contributed:
        enter_sums(c, USED, state)
        if me.leg + 1 < server.num_legs:
            _follow_up(agenda, c, now, state, len(state.programs.stages) // server.num_legs)
        else:
            _free_slot(c, free)
        return
    if 0 <= server.max_staleness < server.version - iteration.version:
        server.num_late += 1
        enter_sums(c, LATE, state)
        _free_slot(c, free)
        return
    _enter_buffer(c, now, state, free)
    iteration.has_contributed = 1
    server.losses_in_row = 0
    is_enough = server.tail - server.head >= server.buffer_size
    if server.is_buffered and is_enough and not server.is_aggregating:
        server.is_aggregating = 1
        push(agenda, now, 0, AGGREGATE, 0, 0)
    if server.num_legs == 1:
        _free_slot(c, free)


@inlined
def _enter_buffer(c: int, now: float, state: State, free: FreeState) -> None:
    iteration, row = free.iterations[c], free.server[0].tail
    free.server[0].tail += 1
    entry = free.buffer[row]
    entry.client, entry.version = c, iteration.version
    entry.factor = 1.0
    if free.factor.shape[1] > 0:
        entry.factor = free.factor[c, state.clients[c].iteration - iteration.first_drawn]
    entry.start_s, entry.end_s = iteration.start_s, now
    for label in range(state.spent.shape[1]):
        kept = free.buffer_spent[row, label]
        kept.compute_s = kept.server_s = kept.transfer_s = kept.wait_s = 0.0
        kept.first_s = np.inf
        add_spent(kept, state.spent[c, label])


@inlined
def _free_slot(c: int, free: FreeState) -> None:
    """The client is idle."""
    server = free.server[0]
    server.num_running -= 1
    add(free.idle, c)
    if server.is_buffered:
        if server.is_starving:
            add(free.fresh, c)
        server.num_free += 1
        server.needs_fill = 1


@inlined
def _lose(
    agenda: Agenda, c: int, now: float, has_failed: bool, state: State, free: FreeState
) -> None:
    """An attempt came to nothing: try again, or be lost for good, once that is noticed."""
    me, server = state.clients[c], free.server[0]
    enter_sums(c, LOST, state)
    noticed = notice_s(me, now, has_failed, state.setting)
    if try_again(agenda, c, noticed, state):
        return
    me.status = OVER
    if not free.iterations[c].has_contributed:
        server.num_lost += 1
        server.losses_in_row += 1
        # Nothing of it is in flight any more.
        free.iterations[c].has_contributed = 1
    if noticed > now:
        push(agenda, noticed, 2 * c + 2, NOTICE, c, 0)
    else:
        _free_slot(c, free)
