"""Visits of links and accelerators as they end, are announced, and are cut short."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedsim.scale.compiled import borrowed, compiled, inlined
from fedsim.scale.events.agenda_kernel import Agenda, push, ticks
from fedsim.scale.events.attempt_kernel import set_out
from fedsim.scale.events.queue_kernel import IS_DONE, WAITED, ask, free_request, withdraw
from fedsim.scale.events.state import ALARM, GO_ON, HAS_FAILED, IS_THROUGH, NOTHING, State
from fedsim.scale.events.walk_kernel import (
    BOUND_FOR_REQUEST,
    BOUND_FOR_STARTUP,
    BOUND_FOR_UP,
    CUT,
    FLOW,
    REQUEST,
    STARTUP,
    THROUGH,
    TRAVELING,
    UP,
    enter_next_stage,
    walk,
)
from fedsim.scale.link.flow_link_kernel import (
    change_rates,
    complete,
    is_on,
    join,
    leave,
    next_due,
)
from fedsim.spec.link import SEGMENT_BYTES

__all__ = ["arrive", "change_class", "fire", "stop"]

#: Resources, as visits are noted.
_UPLINK, _DOWNLINK, _ACCELERATORS = range(3)


@inlined
def schedule_next(agenda: Agenda, which: int, state: State) -> None:
    """Announce a link's next end, if it is ahead of what was announced."""
    alarm = state.alarms[which]
    _, end = next_due(state.links[which])
    if end < alarm.due_s:
        alarm.due_s = end
        alarm.stamp += 1
        push(agenda, end, 0, ALARM, which, alarm.stamp)


@inlined
def fire(agenda: Agenda, which: int, now: float, state: State) -> None:
    """End every flow that is due in this nanosecond; an early alarm finds none."""
    link = state.links[which]
    state.alarms[which].due_s = np.inf
    tick = ticks(now)
    while True:
        c, end = next_due(link)
        if c < 0 or ticks(end) > tick:
            break
        through = complete(link, c, end)
        push(agenda, through, 2 * c + 2, GO_ON, c, state.clients[c].stamp)
    schedule_next(agenda, which, state)


@compiled
def change_class(agenda: Agenda, which: int, now: float, state: State) -> None:
    """Give a class's clients their rates from now on."""
    clients, factor = state.clients, state.rates[which].factor
    members = np.flatnonzero(clients["client_class"] == which)
    # What ends in this nanosecond has ended, whichever of the two is handled first.
    fire(agenda, _UPLINK, now, state)
    fire(agenda, _DOWNLINK, now, state)
    change_rates(state.links[_UPLINK], members, clients["uplink"][members] * factor, now)
    schedule_next(agenda, _UPLINK, state)
    change_rates(state.links[_DOWNLINK], members, clients["downlink"][members] * factor, now)
    schedule_next(agenda, _DOWNLINK, state)


@inlined
def _book_service(me: Any, own: Any, now: float, served: float) -> None:
    own.compute_s += served
    own.server_s += served
    own.wait_s += max(0.0, now - me.joined_s - served)


@inlined
def _note_visit(c: int, resource: int, now: float, state: State) -> None:
    if not state.setting.keeps_visits:
        return
    me, totals = state.clients[c], state.sums.totals[0]
    visit = state.sums.visits[totals.num_visits]
    totals.num_visits += 1
    visit.client, visit.attempt, visit.visit, visit.resource = (
        c,
        me.attempt,
        me.num_visits,
        resource,
    )
    visit.iteration, visit.leg = me.iteration, me.leg
    visit.join_s, visit.leave_s = me.joined_s, now


@compiled
def stop(agenda: Agenda, c: int, now: float, state: State) -> None:
    """Stop a client where it is, and book what it did of the stage in hand."""
    state = borrowed(state)
    me, programs = state.clients[c], state.programs
    me.stamp += 1
    v = me.group
    if me.block == programs.num_blocks[v]:
        return
    stage = programs.stages[v, me.stage]
    own = state.spent[c, stage.label]
    if me.phase == FLOW:
        which = _UPLINK if stage.kind == UP else _DOWNLINK
        own.transfer_s += max(0.0, now - me.joined_s)
        _note_visit(c, which, now, state)
        through = state.links[which].flows.size[c]
        if is_on(state.links[which], c):
            through -= leave(state.links[which], c, now)
            schedule_next(agenda, which, state)
        elif me.share == 1.0:
            # The link is through with it, and the client was stopped before it was told.
            me.phase = TRAVELING
            return
        size = stage.message_bytes
        share = through * programs.links[me.client_class].payload_fraction / size
        sent = np.floor(share * size / SEGMENT_BYTES + 1e-9) * SEGMENT_BYTES
        me.sent_bytes = min(np.int64(sent), size)
        return
    if stage.kind == REQUEST and me.joined_s >= 0.0:
        _stop_service(agenda, c, now, state)
        _note_visit(c, _ACCELERATORS, now, state)
        me.joined_s = -1.0
        return
    _, bound = walk(c, now, True, state.clients, state.spent, programs)
    if bound != CUT and me.phase == FLOW:
        me.phase = STARTUP


@inlined
def _stop_service(agenda: Agenda, c: int, now: float, state: State) -> None:
    me, totals = state.clients[c], state.sums.totals[0]
    stage = state.programs.stages[me.group, me.stage]
    is_whole = me.share == 1.0
    if state.setting.is_sharing:
        served = me.share * (stage.server_s + stage.shared_s)
        if is_on(state.links[_ACCELERATORS], c):
            served = max(0.0, served - leave(state.links[_ACCELERATORS], c, now))
            schedule_next(agenda, _ACCELERATORS, state)
        elif is_whole:
            # Behind the service, as one whose message is on its way.
            me.phase = TRAVELING
        totals.served_s += served
    else:
        request = state.queue.requests[me.request]
        found = withdraw(agenda, state.queue, me.request, now, totals)
        served = max(0.0, now - request.start_s) if found != WAITED else 0.0
        if found == IS_DONE and is_whole:
            me.phase = TRAVELING
    _book_service(me, state.spent[c, stage.label], now, served)


@inlined
def _share(me: Any, alone: float) -> float:
    """How much of a visit is done: all of it, or less where the client fails in it."""
    left = me.left_s
    share = 1.0
    if left < alone:
        share = left / alone
    else:
        me.left_s = left - alone
    me.share = share
    return share


@inlined
def arrive(agenda: Agenda, c: int, now: float, state: State) -> int:
    """A client is through with a visit, or with its way to the next one.

    ``IS_THROUGH`` where it is through with everything, ``HAS_FAILED`` where it comes no further.
    """
    me, programs = state.clients[c], state.programs
    v = me.group
    if me.block < programs.num_blocks[v]:
        stage = programs.stages[v, me.stage]
        is_asking = stage.kind == REQUEST and me.joined_s >= 0.0
        is_visiting = me.phase == FLOW or is_asking
        if me.share < 1.0 and is_visiting:
            stop(agenda, c, now, state)
            return HAS_FAILED
        if is_visiting:
            _end_visit(c, now, state)
            enter_next_stage(me, now, programs)
            set_out(agenda, c, state)
            return NOTHING
    _, bound = walk(c, np.inf, True, state.clients, state.spent, programs)
    if bound == THROUGH:
        return IS_THROUGH
    if bound == BOUND_FOR_STARTUP:
        set_out(agenda, c, state)
        return NOTHING
    me.joined_s = now
    if bound == BOUND_FOR_REQUEST:
        _ask_server(agenda, c, now, state)
        return NOTHING
    # Said for each side, so that which link it is stands in the code and not in a register.
    if bound == BOUND_FOR_UP:
        _send(agenda, c, _UPLINK, me.alone_up, now, state)
    else:
        _send(agenda, c, _DOWNLINK, me.alone_down, now, state)
    return NOTHING


@inlined
def _send(agenda: Agenda, c: int, which: int, alone: float, now: float, state: State) -> None:
    """Begin to send a message, whose goodput alone is ``alone`` [B/s]."""
    me, programs = state.clients[c], state.programs
    message_bytes = programs.stages[me.group, me.stage].message_bytes
    share = _share(me, message_bytes / alone)
    size = message_bytes / programs.links[me.client_class].payload_fraction
    join(state.links[which], c, share * size, now)
    schedule_next(agenda, which, state)


@inlined
def _end_visit(c: int, now: float, state: State) -> None:
    """Book a visit that is over."""
    me = state.clients[c]
    stage = state.programs.stages[me.group, me.stage]
    own = state.spent[c, stage.label]
    if me.phase == FLOW:
        own.transfer_s += now - me.joined_s
        _note_visit(c, _UPLINK if stage.kind == UP else _DOWNLINK, now, state)
    else:
        served = stage.server_s + stage.shared_s
        if state.setting.is_sharing:
            state.sums.totals[0].served_s += served
        else:
            served = now - state.queue.requests[me.request].start_s
        _book_service(me, own, now, served)
        _note_visit(c, _ACCELERATORS, now, state)
    me.joined_s = -1.0


@inlined
def _ask_server(agenda: Agenda, c: int, now: float, state: State) -> None:
    """Enter a client's request."""
    me, queue = state.clients[c], state.queue
    stage = state.programs.stages[me.group, me.stage]
    own = state.spent[c, stage.label]
    own.first_s = min(own.first_s, now)
    alone = stage.server_s + stage.shared_s
    share = _share(me, alone)
    if state.setting.is_sharing:
        join(state.links[_ACCELERATORS], c, share * alone, now)
        schedule_next(agenda, _ACCELERATORS, state)
    else:
        me.request = free_request(queue, c)
        request = queue.requests[me.request]
        request.share, request.serial = share, me.serial
        ask(agenda, queue, me.request, now, stage.server_s, stage.shared_s)
