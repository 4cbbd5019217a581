"""The event loop where there are no common rounds: every client at its own pace.

What the server does with contributions is decided outside; the loop comes back where something is
to be decided, drawn or made room for.
"""

from __future__ import annotations

import numpy as np

from fedsim.fleet.endless import LAST_S
from fedsim.scale.compiled import borrowed, compiled, inlined
from fedsim.scale.events.agenda_kernel import Agenda, pop, push, ticks, with_room
from fedsim.scale.events.attempt_kernel import enter_sums, notice_s, try_again
from fedsim.scale.events.handle_kernel import handle
from fedsim.scale.events.queue_kernel import Queue, is_crowded
from fedsim.scale.events.state import (
    BEGIN,
    CLOSED,
    EVENTS,
    HAS_FAILED,
    IS_LOST,
    IS_NOTICED,
    IS_THROUGH,
    LATE,
    LOST,
    NOTICE,
    NUM_VISITS,
    OVER,
    PAUSING,
    USED,
    WORKING,
    Bells,
    Integers,
    Links,
    Reals,
    Setting,
    Sums,
)
from fedsim.scale.events.visit_kernel import stop
from fedsim.scale.events.walk_kernel import (
    ATTEMPT,
    FIRST,
    LEG,
    NUMBER,
    PACE,
    STAMP,
    STATUS,
    TIMES,
    VARIANT,
    Clients,
    Programs,
)
from fedsim.scale.free.candidate_kernel import add, discard, next_arrival, pick
from fedsim.scale.free.state import (
    AGGREGATE,
    ARRIVAL,
    ASKED,
    AWAITS_ARRIVAL,
    BUFFER_SIZE,
    HEAD,
    IS_AGGREGATING,
    IS_BUFFERED,
    IS_STARVING,
    LOSSES,
    MAX_STALENESS,
    NEEDS_FILL,
    NUM_FREE,
    NUM_FRESH,
    NUM_IDLE,
    NUM_LATE,
    NUM_LEGS,
    NUM_LOST,
    NUM_PICKS,
    NUM_RUNNING,
    TAIL,
    VERSION,
    Free,
)

__all__ = [
    "DRAWS",
    "EMPTY",
    "ENDLESS",
    "HORIZON_PASSED",
    "MAX_LOSSES",
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
#: After this many clients in a row that were lost, no contribution is hoped for any more.
MAX_LOSSES = 10_000


@compiled
def run_free(
    agenda: Agenda,
    links: Links,
    queue: Queue,
    bells: Bells,
    pieces: Integers,
    factors: Reals,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
    free: Free,
) -> tuple[int, int, Agenda]:
    """Run until something is asked of the server: why, the event's kind, and the agenda."""
    links, queue, bells, pieces, factors, clients, programs, setting, sums, free = borrowed(
        (links, queue, bells, pieces, factors, clients, programs, setting, sums, free)
    )
    run = free.run
    num = len(setting.order)
    while True:
        if run[NEEDS_FILL]:
            if not _fill(agenda, sums.totals[CLOSED], clients, setting, free):
                return DRAWS, 0, agenda
            run[NEEDS_FILL] = 0
        agenda = with_room(agenda, 2 * num + 64)
        entries, times, size = agenda
        is_full = setting.keeps_visits and sums.numbers[NUM_VISITS] + num >= len(sums.visit_s)
        if is_full or run[TAIL] == len(free.entry) or is_crowded(queue):
            return ROOM, 0, agenda
        if size[0] == 0:
            return EMPTY, 0, agenda
        what, c, stamp = entries[0, 2], entries[0, 3], entries[0, 4]
        now = times[0]
        if now > LAST_S:
            return ENDLESS, 0, agenda
        if now > setting.horizon_s:
            return HORIZON_PASSED, 0, agenda
        pop(agenda)
        sums.numbers[EVENTS] += 1
        sums.totals[CLOSED] = now
        if what == ARRIVAL:
            _let_in(now, free)
            continue
        if what >= AGGREGATE:
            return SERVER_EVENT, what, agenda
        happened = handle(agenda, links, queue, bells, pieces, factors, what, c, stamp, now,
                          clients, programs, setting, sums)  # fmt: skip
        if happened == IS_THROUGH:
            _go_on(agenda, c, now, clients, programs, sums, free)
        elif happened in (IS_LOST, HAS_FAILED):
            has_failed = happened == HAS_FAILED
            _lose(agenda, c, now, has_failed, clients, programs, setting, sums, free)
            if run[LOSSES] > MAX_LOSSES and run[IS_BUFFERED]:
                return STUCK, 0, agenda
        elif happened == IS_NOTICED:
            _free_slot(c, free)


@inlined
def start(
    agenda: Agenda, c: int, now: float, clients: Clients, setting: Setting, free: Free
) -> None:
    """Let an idle client begin its next iteration."""
    at, run = clients.at, free.run
    at[c, NUMBER] += 1
    at[c, LEG] = at[c, ATTEMPT] = 0
    at[c, VARIANT] = free.variant[c]
    at[c, STATUS] = PAUSING
    free.version[c] = run[VERSION]
    free.start_s[c] = now
    free.has_contributed[c] = 0
    clients.real[c, PACE] = free.slowdown[c]
    if free.factor.shape[1] > 0:
        column = at[c, NUMBER] - free.first_number[c]
        clients.real[c, PACE] *= free.factor[c, column]
        for attempt in range(len(setting.failure_s)):
            setting.failure_s[attempt, c] = free.failure_s[attempt, c, column]
        setting.alone_s[c] = free.alone_s[c, column]
    run[ASKED] += 1
    run[NUM_RUNNING] += 1
    discard(free.idle, run, NUM_IDLE, c)
    discard(free.fresh, run, NUM_FRESH, c)
    push(agenda, now, 2 * c + 2, BEGIN, c, at[c, STAMP])


@compiled
def follow_up(agenda: Agenda, c: int, now: float, clients: Clients, num_variants: int) -> None:
    """Let a client begin its next leg."""
    at = clients.at
    at[c, LEG] += 1
    at[c, VARIANT] += num_variants
    at[c, ATTEMPT] = 0
    at[c, STATUS] = PAUSING
    push(agenda, now, 2 * c + 2, BEGIN, c, at[c, STAMP])


@compiled
def decide(
    first: int, stop_row: int, outcome: int, programs: Programs, sums: Sums, free: Free
) -> None:
    """Book what became of some of the buffer's contributions."""
    blocks = programs.blocks
    for row in range(first, stop_row):
        v = free.variant[free.entry[row, 0]]
        for label in range(free.entry_sums.shape[1]):
            for column in range(FIRST):
                sums.seconds[v, label, outcome, column] += free.entry_sums[row, label, column]
            began = free.entry_sums[row, label, FIRST]
            sums.seconds[v, label, outcome, FIRST] = min(
                sums.seconds[v, label, outcome, FIRST], began
            )
        if outcome == USED:
            # All of it; how often is in the program.
            sums.executions[v, 0, USED] += 1
            continue
        for block in range(programs.num_blocks[v]):
            for s in range(blocks[v, block, 0], blocks[v, block, 1]):
                times = blocks[v, block, 2] * programs.whole[v, s, TIMES]
                sums.executions[v, s, outcome] += times


@compiled
def stop_all(
    agenda: Agenda,
    links: Links,
    queue: Queue,
    bells: Bells,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
    free: Free,
) -> int:
    """End of the run: who is at work stops; how many had not contributed."""
    now, num = sums.totals[CLOSED], 0
    for c in range(len(setting.order)):
        if free.idle.place[c] >= 0:
            continue
        num += 1 - free.has_contributed[c]
        if clients.at[c, STATUS] == WORKING:
            stop(agenda, links, queue, bells, c, now, clients, programs, setting, sums)
            enter_sums(c, LATE, clients, programs, sums)
    return num


@inlined
def _fill(agenda: Agenda, now: float, clients: Clients, setting: Setting, free: Free) -> bool:
    """Fill the free slots; False where the next client's draws are not known yet."""
    run = free.run
    while run[NUM_FREE] > 0:
        c = pick(free, setting, now)
        if c < 0:
            run[IS_STARVING] = 1
            _forget_fresh(free)
            _await_arrival(agenda, now, setting, free)
            return True
        num_drawn = free.factor.shape[1]
        if num_drawn > 0 and clients.at[c, NUMBER] + 1 - free.first_number[c] >= num_drawn:
            return False
        run[NUM_PICKS] += 1
        run[NUM_FREE] -= 1
        start(agenda, c, now, clients, setting, free)
    run[IS_STARVING] = 0
    _forget_fresh(free)
    return True


@compiled
def _forget_fresh(free: Free) -> None:
    for row in range(free.run[NUM_FRESH]):
        free.fresh.place[free.fresh.member[row]] = -1
    free.run[NUM_FRESH] = 0


@compiled
def _await_arrival(agenda: Agenda, now: float, setting: Setting, free: Free) -> None:
    """Look again when the next client comes."""
    if free.run[AWAITS_ARRIVAL] or setting.horizon_s == np.inf:
        return
    place = next_arrival(now, free)
    latest = now + setting.patience_s
    if place < len(free.arrival_s) and free.arrival_s[place] <= latest:
        free.run[AWAITS_ARRIVAL] = 1
        push(agenda, free.arrival_s[place], 0, ARRIVAL, 0, 0)
    elif setting.horizon_s < latest:
        # Whoever comes then is not known: getting there starts the run over.
        free.run[AWAITS_ARRIVAL] = 1
        push(agenda, np.nextafter(setting.horizon_s, np.inf), 0, ARRIVAL, 0, 0)


@compiled
def _let_in(now: float, free: Free) -> None:
    run = free.run
    run[AWAITS_ARRIVAL] = 0
    if run[NUM_FREE] == 0:
        return
    tick = ticks(now)
    place = next_arrival(now, free) - 1
    while place >= 0 and ticks(free.arrival_s[place]) == tick:
        c = free.arrival[place]
        if run[IS_STARVING] and free.idle.place[c] >= 0:
            add(free.fresh, run, NUM_FRESH, c)
        place -= 1
    run[NEEDS_FILL] = 1


@inlined
def _go_on(
    agenda: Agenda,
    c: int,
    now: float,
    clients: Clients,
    programs: Programs,
    sums: Sums,
    free: Free,
) -> None:
    """A client is through with a leg."""
    at, run = clients.at, free.run
    at[c, STATUS] = OVER
    at[c, STAMP] += 1
    if free.has_contributed[c]:
        enter_sums(c, USED, clients, programs, sums)
        if at[c, LEG] + 1 < run[NUM_LEGS]:
            follow_up(agenda, c, now, clients, len(programs.whole) // run[NUM_LEGS])
        else:
            _free_slot(c, free)
        return
    if 0 <= run[MAX_STALENESS] < run[VERSION] - free.version[c]:
        run[NUM_LATE] += 1
        enter_sums(c, LATE, clients, programs, sums)
        _free_slot(c, free)
        return
    _enter_buffer(c, now, clients, free)
    free.has_contributed[c] = 1
    run[LOSSES] = 0
    is_enough = run[TAIL] - run[HEAD] >= run[BUFFER_SIZE]
    if run[IS_BUFFERED] and is_enough and not run[IS_AGGREGATING]:
        run[IS_AGGREGATING] = 1
        push(agenda, now, 0, AGGREGATE, 0, 0)
    if run[NUM_LEGS] == 1:
        _free_slot(c, free)


@inlined
def _enter_buffer(c: int, now: float, clients: Clients, free: Free) -> None:
    row = free.run[TAIL]
    free.run[TAIL] += 1
    free.entry[row, 0], free.entry[row, 1] = c, free.version[c]
    free.entry_s[row, 0] = 1.0
    if free.factor.shape[1] > 0:
        free.entry_s[row, 0] = free.factor[c, clients.at[c, NUMBER] - free.first_number[c]]
    free.entry_s[row, 1], free.entry_s[row, 2] = free.start_s[c], now
    for label in range(clients.sums.shape[1]):
        for column in range(FIRST + 1):
            free.entry_sums[row, label, column] = clients.sums[c, label, column]


@inlined
def _free_slot(c: int, free: Free) -> None:
    """The client is idle."""
    run = free.run
    run[NUM_RUNNING] -= 1
    add(free.idle, run, NUM_IDLE, c)
    if run[IS_BUFFERED]:
        if run[IS_STARVING]:
            add(free.fresh, run, NUM_FRESH, c)
        run[NUM_FREE] += 1
        run[NEEDS_FILL] = 1


@compiled
def _lose(
    agenda: Agenda,
    c: int,
    now: float,
    has_failed: bool,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
    free: Free,
) -> None:
    """An attempt came to nothing: try again, or be lost for good, once that is noticed."""
    enter_sums(c, LOST, clients, programs, sums)
    noticed = notice_s(c, now, has_failed, clients, setting)
    if try_again(agenda, c, noticed, clients, setting):
        return
    clients.at[c, STATUS] = OVER
    if not free.has_contributed[c]:
        free.run[NUM_LOST] += 1
        free.run[LOSSES] += 1
        # Nothing of it is in flight any more.
        free.has_contributed[c] = 1
    if noticed > now:
        push(agenda, noticed, 2 * c + 2, NOTICE, c, 0)
    else:
        _free_slot(c, free)
