"""Visits of links and accelerators as they end, are announced, and are cut short."""

from __future__ import annotations

import numpy as np

from fedsim.scale.compiled import compiled, inlined
from fedsim.scale.events.agenda_kernel import Agenda, push, ticks
from fedsim.scale.events.attempt_kernel import set_out
from fedsim.scale.events.queue_kernel import Queue, ask, free_request, withdraw
from fedsim.scale.events.state import (
    GO_ON,
    HAS_FAILED,
    IS_THROUGH,
    NOTHING,
    NUM_VISITS,
    RING,
    SERVED_S,
    Bells,
    Links,
    Reals,
    Setting,
    Sums,
)
from fedsim.scale.events.walk_kernel import (
    ALONE_DOWN,
    ALONE_UP,
    ATTEMPT,
    BLOCK,
    BOUND_FOR_DOWN,
    BOUND_FOR_REQUEST,
    BOUND_FOR_STARTUP,
    BOUND_FOR_UP,
    CLASS,
    COMPUTE,
    CUT,
    DOWN_RATE,
    FIRST,
    JOINED,
    KIND,
    LABEL,
    LEFT,
    LEG,
    MESSAGE,
    NUMBER,
    PHASE,
    REQUEST,
    SERIAL,
    SERVER,
    SERVING,
    SHARE,
    SHARED,
    STAGE,
    STAMP,
    THROUGH,
    TRANSFER,
    UP_RATE,
    VARIANT,
    VISITS,
    WAIT,
    Clients,
    Programs,
    enter_next_stage,
    walk,
)
from fedsim.scale.link.flow_link_kernel import (
    FlowLink,
    change_rates,
    complete,
    is_on,
    join,
    leave,
    next_due,
)

__all__ = ["arrive", "change_class", "listen", "ring", "stop"]

_SEGMENT_BYTES = 1448.0


@inlined
def book_service(c: int, label: int, now: float, served: float, clients: Clients) -> None:
    seconds = clients.sums
    seconds[c, label, COMPUTE] += served
    seconds[c, label, SERVER] += served
    seconds[c, label, WAIT] += max(0.0, now - clients.real[c, JOINED] - served)


@inlined
def note_visit(
    c: int, resource: int, now: float, clients: Clients, setting: Setting, sums: Sums
) -> None:
    if not setting.keeps_visits:
        return
    row = sums.numbers[NUM_VISITS]
    sums.numbers[NUM_VISITS] += 1
    sums.visit_numbers[row, 0], sums.visit_numbers[row, 1] = c, clients.at[c, ATTEMPT]
    sums.visit_numbers[row, 2], sums.visit_numbers[row, 3] = clients.at[c, VISITS], resource
    sums.visit_numbers[row, 4], sums.visit_numbers[row, 5] = (
        clients.at[c, NUMBER],
        clients.at[c, LEG],
    )
    sums.visit_s[row, 0], sums.visit_s[row, 1] = clients.real[c, JOINED], now


@inlined
def listen(agenda: Agenda, link: FlowLink, bells: Bells, which: int) -> None:
    """Announce a link's next end, if it is ahead of what was announced."""
    _, end = next_due(link)
    if end < bells.due_s[which]:
        bells.due_s[which] = end
        bells.stamp[which] += 1
        push(agenda, end, 0, RING, which, bells.stamp[which])


@inlined
def ring(
    agenda: Agenda, link: FlowLink, bells: Bells, which: int, now: float, clients: Clients
) -> None:
    """End every flow that is due in this nanosecond; an early bell finds none."""
    bells.due_s[which] = np.inf
    tick = ticks(now)
    while True:
        c, end = next_due(link)
        if c < 0 or ticks(end) > tick:
            break
        through = complete(link, c, end)
        push(agenda, through, 2 * c + 2, GO_ON, c, clients.at[c, STAMP])
    listen(agenda, link, bells, which)


@compiled
def change_class(
    agenda: Agenda,
    links: Links,
    bells: Bells,
    which: int,
    now: float,
    factor: float,
    clients: Clients,
) -> None:
    """Give a class's clients their rates from now on."""
    members = np.flatnonzero(clients.at[:, CLASS] == which)
    change_rates(links[0], members, clients.real[members, UP_RATE] * factor, now)
    listen(agenda, links[0], bells, 0)
    change_rates(links[1], members, clients.real[members, DOWN_RATE] * factor, now)
    listen(agenda, links[1], bells, 1)


@compiled
def stop(
    agenda: Agenda,
    links: Links,
    queue: Queue,
    bells: Bells,
    c: int,
    now: float,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> None:
    """Stop a client where it is, and book what it did of the stage in hand."""
    at, real, seconds, cut = clients
    whole = programs.whole
    at[c, STAMP] += 1
    v = at[c, VARIANT]
    if at[c, BLOCK] == programs.num_blocks[v]:
        return
    stage = at[c, STAGE]
    label = whole[v, stage, LABEL]
    if at[c, PHASE] == 2:
        which = 0 if whole[v, stage, KIND] == 1 else 1
        link = links[which]
        size = whole[v, stage, MESSAGE]
        seconds[c, label, TRANSFER] += max(0.0, now - real[c, JOINED])
        note_visit(c, which, now, clients, setting, sums)
        through = link.flows[2][c]
        if is_on(link, c):
            through -= leave(link, c, now)
            listen(agenda, link, bells, which)
        elif real[c, SHARE] == 1.0:
            # The link is through with it, and the client was stopped before it was told.
            at[c, PHASE] = 3
            return
        share = through * programs.links[at[c, CLASS], 3] / size
        sent = np.floor(share * size / _SEGMENT_BYTES + 1e-9) * _SEGMENT_BYTES
        cut[c, 1] = min(np.int64(sent), size)
        return
    if whole[v, stage, KIND] == 3 and real[c, JOINED] >= 0.0:
        stop_service(agenda, links, queue, bells, c, now, label, clients, programs, setting, sums)
        note_visit(c, 2, now, clients, setting, sums)
        real[c, JOINED] = -1.0
        return
    _, bound = walk(c, now, True, clients, programs)
    if bound != CUT and at[c, PHASE] == 2:
        at[c, PHASE] = 1


@compiled
def stop_service(
    agenda: Agenda,
    links: Links,
    queue: Queue,
    bells: Bells,
    c: int,
    now: float,
    label: int,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> None:
    v, stage = clients.at[c, VARIANT], clients.at[c, STAGE]
    is_whole = clients.real[c, SHARE] == 1.0
    alone = programs.real[v, stage, SERVING] + programs.real[v, stage, SHARED]
    if setting.is_sharing:
        served = clients.real[c, SHARE] * alone
        if is_on(links[2], c):
            served = max(0.0, served - leave(links[2], c, now))
            listen(agenda, links[2], bells, 2)
        elif is_whole:
            clients.at[c, PHASE] = 3
        sums.totals[SERVED_S] += served
    else:
        request = clients.at[c, REQUEST]
        state = withdraw(agenda, queue, request, now, sums.totals)
        served = max(0.0, now - queue.start_s[request]) if state > 0 else 0.0
        if state == 2 and is_whole:
            clients.at[c, PHASE] = 3
    book_service(c, label, now, served, clients)


@inlined
def _share(c: int, alone: float, clients: Clients) -> float:
    """How much of a visit is done: all of it, or less where the client fails in it."""
    left = clients.real[c, LEFT]
    share = 1.0
    if left < alone:
        share = left / alone
    else:
        clients.real[c, LEFT] = left - alone
    clients.real[c, SHARE] = share
    return share


@inlined
def arrive(
    agenda: Agenda,
    links: Links,
    queue: Queue,
    bells: Bells,
    c: int,
    now: float,
    factors: Reals,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> int:
    """A client is through with a visit, or with its way to the next one.

    ``IS_THROUGH`` where it is through with everything, ``HAS_FAILED`` where it comes no further.
    """
    at, real, seconds, _ = clients
    whole = programs.whole
    v, stage = at[c, VARIANT], at[c, STAGE]
    if at[c, BLOCK] < programs.num_blocks[v]:
        label = whole[v, stage, LABEL]
        is_asking = whole[v, stage, KIND] == 3 and real[c, JOINED] >= 0.0
        if real[c, SHARE] < 1.0 and (at[c, PHASE] == 2 or is_asking):
            stop(agenda, links, queue, bells, c, now, clients, programs, setting, sums)
            return HAS_FAILED
        if at[c, PHASE] == 2:
            seconds[c, label, TRANSFER] += now - real[c, JOINED]
            note_visit(c, whole[v, stage, KIND] - 1, now, clients, setting, sums)
            real[c, JOINED] = -1.0
            enter_next_stage(c, now, clients, programs)
            set_out(agenda, c, factors, clients, programs, setting)
            return NOTHING
        if is_asking:
            alone = programs.real[v, stage, SERVING] + programs.real[v, stage, SHARED]
            served = alone if setting.is_sharing else now - queue.start_s[at[c, REQUEST]]
            book_service(c, label, now, served, clients)
            if setting.is_sharing:
                sums.totals[SERVED_S] += served
            note_visit(c, 2, now, clients, setting, sums)
            real[c, JOINED] = -1.0
            enter_next_stage(c, now, clients, programs)
            set_out(agenda, c, factors, clients, programs, setting)
            return NOTHING
    _, bound = walk(c, np.inf, True, clients, programs)
    if bound == THROUGH:
        return IS_THROUGH
    if bound == BOUND_FOR_STARTUP:
        set_out(agenda, c, factors, clients, programs, setting)
        return NOTHING
    stage = at[c, STAGE]
    real[c, JOINED] = now
    if bound == BOUND_FOR_REQUEST:
        own, shared = programs.real[v, stage, SERVING], programs.real[v, stage, SHARED]
        first = seconds[c, whole[v, stage, LABEL], FIRST]
        seconds[c, whole[v, stage, LABEL], FIRST] = min(first, now)
        share = _share(c, own + shared, clients)
        if setting.is_sharing:
            join(links[2], c, share * (own + shared), now)
            listen(agenda, links[2], bells, 2)
        else:
            at[c, REQUEST] = free_request(queue, c)
            queue.share[at[c, REQUEST]], queue.serial[at[c, REQUEST]] = share, at[c, SERIAL]
            ask(agenda, queue, at[c, REQUEST], now, own, shared)
        return NOTHING
    size = whole[v, stage, MESSAGE] / programs.links[at[c, CLASS], 3]
    if bound == BOUND_FOR_UP:
        share = _share(c, whole[v, stage, MESSAGE] / real[c, ALONE_UP], clients)
        join(links[0], c, share * size, now)
        listen(agenda, links[0], bells, 0)
    elif bound == BOUND_FOR_DOWN:
        share = _share(c, whole[v, stage, MESSAGE] / real[c, ALONE_DOWN], clients)
        join(links[1], c, share * size, now)
        listen(agenda, links[1], bells, 1)
    return NOTHING
