"""The event loop of one segment: clients, both sides of the link, accelerators, in order of time.

The rules are those of ``docs/simulation.md``. What a client does between two shared resources is
one event; the server's own events come first within a nanosecond, and what stops a client comes
behind what it does.
"""

from __future__ import annotations

import numpy as np

from fedsim.fleet.endless import LAST_S
from fedsim.scale.compiled import borrowed, compiled
from fedsim.scale.events.agenda_kernel import Agenda, pop, push, with_room
from fedsim.scale.events.attempt_kernel import enter_sums, notice_s, try_again
from fedsim.scale.events.handle_kernel import begin_traces, handle
from fedsim.scale.events.queue_kernel import Queue
from fedsim.scale.events.state import (
    BEGIN,
    CLOSED,
    CONTRIBUTIONS,
    DEADLINE,
    EVENTS,
    HAS_FAILED,
    HORIZON,
    IS_LOST,
    IS_NOTICED,
    IS_THROUGH,
    LAST,
    LATE,
    LOST,
    NEXT_TURN,
    NOTICE,
    OVER,
    PENDING,
    USED,
    WORKING,
    Bells,
    Links,
    Setting,
    Sums,
)
from fedsim.scale.events.visit_kernel import stop
from fedsim.scale.events.walk_kernel import STAMP, STATUS, Clients, Programs

__all__ = ["run_events"]


@compiled
def run_events(
    agenda: Agenda,
    links: Links,
    queue: Queue,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> None:
    """Run until the gathering closes; whoever is still at work then is late."""
    links, queue, clients, programs, setting, sums = borrowed(
        (links, queue, clients, programs, setting, sums)
    )
    own_bells = Bells(np.full(3, np.inf), np.zeros(3, dtype=np.int64))
    bells = borrowed(own_bells)
    num = len(setting.order)
    own_traces = begin_traces(agenda, setting)
    pieces, factors = borrowed(own_traces)
    if setting.deadline_s < np.inf:
        push(agenda, setting.deadline_s, 2 * num + 4, DEADLINE, 0, 0)
    numbers = sums.numbers
    numbers[PENDING] = num
    numbers[LAST] = -1
    num_first = min(1, num) if setting.in_turns else num
    numbers[NEXT_TURN] = num_first
    for place in range(num_first):
        push(agenda, setting.start_s, 2 * setting.order[place] + 2, BEGIN, setting.order[place], 0)
    sums.totals[CLOSED] = setting.start_s
    entries, times, size = agenda
    while numbers[PENDING] > 0 and numbers[CONTRIBUTIONS] < setting.awaited and size[0] > 0:
        agenda = with_room(agenda, 2 * num + 64)
        entries, times, size = agenda
        what, c, stamp = entries[0, 2], entries[0, 3], entries[0, 4]
        now = times[0]
        if now > setting.horizon_s or now > LAST_S:
            sums.totals[HORIZON] = 2.0 if now > LAST_S else 1.0
            sums.totals[CLOSED] = now
            return
        if what == DEADLINE:
            break
        pop(agenda)
        numbers[EVENTS] += 1
        happened = handle(agenda, links, queue, bells, pieces, factors, what, c, stamp, now,
                          clients, programs, setting, sums)  # fmt: skip
        if happened == IS_THROUGH:
            contribute(agenda, c, now, clients, programs, setting, sums)
        elif happened in (IS_LOST, HAS_FAILED):
            has_failed = happened == HAS_FAILED
            lose(agenda, c, now, has_failed, clients, programs, setting, sums)
        elif happened == IS_NOTICED:
            one_less(agenda, now, setting, sums)
    close(agenda, links, queue, bells, clients, programs, setting, sums)
    # What was borrowed lives as long as its owner is spoken of.
    own_bells.due_s[0] = own_traces[1][0] = 0.0


@compiled
def contribute(
    agenda: Agenda,
    c: int,
    now: float,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> None:
    """A client is through."""
    sums.outcome[c] = USED
    sums.end_s[c] = now
    clients.at[c, STATUS] = OVER
    clients.at[c, STAMP] += 1
    enter_sums(c, USED, clients, programs, sums)
    sums.numbers[CONTRIBUTIONS] += 1
    sums.numbers[LAST] = c
    one_less(agenda, now, setting, sums)


@compiled
def one_less(agenda: Agenda, now: float, setting: Setting, sums: Sums) -> None:
    """One client less is waited for; whose turn is next begins."""
    numbers = sums.numbers
    numbers[PENDING] -= 1
    sums.totals[CLOSED] = now
    if (
        setting.in_turns
        and numbers[NEXT_TURN] < len(setting.order)
        and numbers[CONTRIBUTIONS] < setting.awaited
    ):
        following = setting.order[numbers[NEXT_TURN]]
        numbers[NEXT_TURN] += 1
        push(agenda, now, 2 * following + 2, BEGIN, following, 0)


@compiled
def lose(
    agenda: Agenda,
    c: int,
    now: float,
    has_failed: bool,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> None:
    """An attempt came to nothing: try again, or be lost for good, once that is noticed."""
    enter_sums(c, LOST, clients, programs, sums)
    noticed = notice_s(c, now, has_failed, clients, setting)
    if try_again(agenda, c, noticed, clients, setting):
        return
    clients.at[c, STATUS] = OVER
    sums.outcome[c] = LOST
    sums.end_s[c] = now
    if noticed > now:
        push(agenda, noticed, 2 * c + 2, NOTICE, c, 0)
    else:
        one_less(agenda, now, setting, sums)


@compiled
def close(
    agenda: Agenda,
    links: Links,
    queue: Queue,
    bells: Bells,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> None:
    """The gathering is closed: stop everybody who is not done."""
    if sums.numbers[PENDING] > 0 and sums.numbers[CONTRIBUTIONS] < setting.awaited:
        sums.totals[CLOSED] = setting.deadline_s
    now = sums.totals[CLOSED]
    for c in range(len(setting.order)):
        status = clients.at[c, STATUS]
        if status == OVER:
            continue
        if status == WORKING:
            stop(agenda, links, queue, bells, c, now, clients, programs, setting, sums)
            enter_sums(c, LATE, clients, programs, sums)
        sums.outcome[c] = LATE
        sums.end_s[c] = now
        clients.at[c, STATUS] = OVER
