"""The event loop of one segment: clients, both sides of the link, accelerators, in order of time.

The rules are those of ``docs/simulation.md``. What a client does between two shared resources is
one event; the server's own events come first within a nanosecond, and what stops a client comes
behind what it does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedsim.scale.agenda_kernel import Agenda, pop, push, ticks, with_room
from fedsim.scale.compiled import compiled
from fedsim.scale.flow_link_kernel import (
    FlowLink,
    change_rates,
    complete,
    is_on,
    join,
    leave,
    next_due,
)
from fedsim.scale.queue_kernel import Queue, ask, end_service, withdraw
from fedsim.scale.walk_kernel import (
    ATTEMPT,
    BOUND_FOR_DOWN,
    BOUND_FOR_REQUEST,
    BOUND_FOR_STARTUP,
    BOUND_FOR_UP,
    CLASS,
    COMPUTE,
    CUT,
    DOWN_RATE,
    FIRST,
    GOOD_DOWN,
    GOOD_UP,
    JOINED,
    KIND,
    LABEL,
    MESSAGE,
    PAYLOAD,
    PHASE,
    SERVER,
    SERVING,
    SHARED,
    SINCE,
    STAGE,
    STAMP,
    STATUS,
    THROUGH,
    TRANSFER,
    UP_RATE,
    VARIANT,
    VISITS,
    WAIT,
    Clients,
    Programs,
    enter_next_stage,
    executions,
    walk,
)

__all__ = ["Setting", "Sums", "run_events"]

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

#: What an event is.
_GO_ON, _STOP, _BEGIN, _RING, _SERVED, _DEADLINE, _RATES = range(7)
#: Where a client is with the segment.
_ASLEEP, _WORKING, _PAUSING, _OVER = range(4)
_USED, _LATE, _LOST = 0, 1, 2
_SEGMENT_BYTES = 1448.0


class Setting(NamedTuple):
    """What does not change during a segment.

    Attributes
    ----------
    start_s, deadline_s, retry_after_s : float
        [s].
    awaited, retries : int
    in_turns, is_sharing, keeps_visits : bool
    order : ndarray of int64, shape (m,)
        In which clients begin.
    failure_s : ndarray, shape (retries + 1, m)
        From an attempt's start; infinite where it does not fail [s].
    first : ndarray of int64, shape (m + 1,)
        Rows of each client's presence; all 0 where nobody leaves.
    come_s, leave_s : ndarray
        Presence [s].
    horizon_s, patience_s : float
        What is known of presence; how long a client is waited for [s].
    piece : ndarray of int64, shape (classes,)
        Piece of the rate trace in force at the start; -1 without one.
    num_pieces : ndarray of int64, shape (classes,)
    piece_s, factor : ndarray, shape (classes, pieces)
        Starts within a period [s], and factors.
    period_s : ndarray, shape (classes,)
        [s].
    capacity : ndarray, shape (2,)
        Of the server's uplink and downlink sides [B/s].
    """

    start_s: float
    deadline_s: float
    retry_after_s: float
    awaited: int
    retries: int
    in_turns: bool
    is_sharing: bool
    keeps_visits: bool
    order: Integers
    failure_s: Reals
    first: Integers
    come_s: Reals
    leave_s: Reals
    horizon_s: float
    patience_s: float
    piece: Integers
    num_pieces: Integers
    piece_s: Reals
    factor: Reals
    period_s: Reals
    capacity: Reals


class Sums(NamedTuple):
    """What comes out.

    Attributes
    ----------
    outcome : ndarray of int64, shape (m,)
    end_s : ndarray, shape (m,)
        [s].
    seconds : ndarray, shape (V, labels, 3, 5)
        By variant, label and outcome: sums, and the first start [s].
    executions, cut_bytes, cut_payload : ndarray of int64, shape (V, S, 3)
    totals : ndarray, shape (4,)
        When the gathering closed [s]; seconds of service; seconds of the accelerators that are
        over [s]; 1 if the horizon was passed.
    numbers : ndarray of int64, shape (5,)
        Pending clients, contributions, the last of them, events, visits.
    visit_numbers : ndarray of int64, shape (?, 4)
        Client, attempt, visit, resource.
    visit_s : ndarray, shape (?, 2)
        Join and leave [s].
    """

    outcome: Integers
    end_s: Reals
    seconds: Reals
    executions: Integers
    cut_bytes: Integers
    cut_payload: Integers
    totals: Reals
    numbers: Integers
    visit_numbers: Integers
    visit_s: Reals


_CLOSED, _SERVED_S, _HORIZON = 0, 1, 2
_PENDING, _CONTRIBUTIONS, _LAST, _EVENTS, _VISITS, _NEXT_TURN = range(6)
#: Up, down, accelerators that are shared.
Links = tuple[FlowLink, FlowLink, FlowLink]


class _Bells(NamedTuple):
    """When each link's next end was announced for, and under which number."""

    due_s: Reals
    stamp: Integers


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
    bells = _Bells(np.full(3, np.inf), np.zeros(3, dtype=np.int64))
    num = len(setting.order)
    last_rank = 2 * num + 4
    pieces = setting.piece.copy()
    factors = np.ones(len(pieces))
    for which in range(len(pieces)):
        if pieces[which] >= 0:
            factors[which] = setting.factor[which, pieces[which] % setting.num_pieces[which]]
            _announce_change(agenda, setting, which, pieces[which] + 1)
    if setting.deadline_s < np.inf:
        push(agenda, setting.deadline_s, last_rank, _DEADLINE, 0, 0)
    numbers = sums.numbers
    numbers[_PENDING] = num
    numbers[_LAST] = -1
    num_first = min(1, num) if setting.in_turns else num
    numbers[_NEXT_TURN] = num_first
    for place in range(num_first):
        push(agenda, setting.start_s, 2 * setting.order[place] + 2, _BEGIN, setting.order[place], 0)
    sums.totals[_CLOSED] = setting.start_s
    entries, times, size = agenda
    while numbers[_PENDING] > 0 and numbers[_CONTRIBUTIONS] < setting.awaited:
        if size[0] == 0:
            break
        agenda = with_room(agenda, 2 * num + 64)
        entries, times, size = agenda
        what, c, stamp = entries[0, 2], entries[0, 3], entries[0, 4]
        now = times[0]
        pop(agenda)
        numbers[_EVENTS] += 1
        if what == _GO_ON:
            if stamp == clients.at[c, STAMP]:
                _arrive(agenda, links, queue, bells, c, now, factors, clients, programs,
                        setting, sums)  # fmt: skip
        elif what == _RING:
            if stamp == bells.stamp[c]:
                _ring(agenda, links[c], bells, c, now, clients)
        elif what == _SERVED:
            end_service(agenda, queue, c, stamp, now, clients.at[:, STAMP], sums.totals)
        elif what == _BEGIN:
            if stamp == clients.at[c, STAMP]:
                _begin(agenda, c, now, factors, clients, programs, setting, sums)
        elif what == _STOP:
            if stamp == clients.at[c, ATTEMPT] and clients.at[c, STATUS] == _WORKING:
                _stop(agenda, links, queue, bells, c, now, clients, programs, setting, sums)
                _lose(agenda, c, now, clients, programs, setting, sums)
        elif what == _RATES:
            pieces[c] += 1
            factors[c] = setting.factor[c, pieces[c] % setting.num_pieces[c]]
            _announce_change(agenda, setting, c, pieces[c] + 1)
            _change(agenda, links, bells, c, now, factors[c], clients)
        else:
            break
        if sums.totals[_HORIZON] > 0.0:
            return
    _close(agenda, links, queue, bells, clients, programs, setting, sums)


@compiled
def _announce_change(agenda: Agenda, setting: Setting, which: int, piece: int) -> None:
    laps = piece // setting.num_pieces[which]
    time = laps * setting.period_s[which]
    time += setting.piece_s[which, piece - laps * setting.num_pieces[which]]
    push(agenda, time, 0, _RATES, which, 0)


@compiled
def _set_out(
    agenda: Agenda, c: int, factors: Reals, clients: Clients, programs: Programs, setting: Setting
) -> None:
    """Announce when a client will be at its next visit; rates are those of this moment."""
    at, real = clients.at, clients.real
    which = at[c, CLASS]
    fraction = programs.links[which, 3]
    real[c, GOOD_UP] = min(real[c, UP_RATE] * factors[which], setting.capacity[0]) * fraction
    real[c, GOOD_DOWN] = min(real[c, DOWN_RATE] * factors[which], setting.capacity[1]) * fraction
    end, _ = walk(c, np.inf, False, clients, programs)
    push(agenda, end, 2 * c + 2, _GO_ON, c, at[c, STAMP])


@compiled
def _begin(
    agenda: Agenda,
    c: int,
    now: float,
    factors: Reals,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> None:
    """Start an attempt."""
    at, real, seconds, cut = clients
    attempt = at[c, ATTEMPT]
    at[c, STATUS] = _WORKING
    real[c, SINCE], real[c, JOINED] = now, -1.0
    at[c, 2] = at[c, 3] = at[c, PHASE] = at[c, VISITS] = 0
    at[c, STAGE] = programs.blocks[at[c, VARIANT], 0, 0]
    cut[c, 0] = cut[c, 1] = 0
    for label in range(seconds.shape[1]):
        for column in range(FIRST):
            seconds[c, label, column] = 0.0
        seconds[c, label, FIRST] = np.inf
    stop = np.inf
    if attempt < len(setting.failure_s):
        stop = now + setting.failure_s[attempt, c]
    if setting.first[len(setting.order)] > 0:
        row = _present_row(c, now, setting)
        if row < 0:
            _lose(agenda, c, now, clients, programs, setting, sums)
            return
        stop = min(stop, setting.leave_s[row])
    if stop < np.inf:
        push(agenda, stop, 2 * c + 3, _STOP, c, attempt)
    _set_out(agenda, c, factors, clients, programs, setting)


@compiled
def _present_row(c: int, now: float, setting: Setting) -> int:
    """Row of the stay in which a moment lies; -1 where the client is away."""
    tick = ticks(now)
    for row in range(setting.first[c], setting.first[c + 1]):
        if ticks(setting.come_s[row]) <= tick < ticks(setting.leave_s[row]):
            return row
    return -1


@compiled
def _arrive(
    agenda: Agenda,
    links: Links,
    queue: Queue,
    bells: _Bells,
    c: int,
    now: float,
    factors: Reals,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> None:
    """A client is through with a visit, or with its way to the next one."""
    at, real, seconds, _ = clients
    whole = programs.whole
    v, stage = at[c, VARIANT], at[c, STAGE]
    if at[c, 2] < programs.num_blocks[v]:
        label = whole[v, stage, LABEL]
        if at[c, PHASE] == 2:
            seconds[c, label, TRANSFER] += now - real[c, JOINED]
            _note_visit(c, whole[v, stage, KIND] - 1, now, clients, setting, sums)
            real[c, JOINED] = -1.0
            enter_next_stage(c, now, clients, programs)
            _set_out(agenda, c, factors, clients, programs, setting)
            return
        if whole[v, stage, KIND] == 3 and real[c, JOINED] >= 0.0:
            alone = programs.real[v, stage, SERVING] + programs.real[v, stage, SHARED]
            request = at[c, ATTEMPT] * len(setting.order) + c
            served = alone if setting.is_sharing else now - queue.start_s[request]
            _book_service(c, label, now, served, clients)
            if setting.is_sharing:
                sums.totals[_SERVED_S] += served
            _note_visit(c, 2, now, clients, setting, sums)
            real[c, JOINED] = -1.0
            enter_next_stage(c, now, clients, programs)
            _set_out(agenda, c, factors, clients, programs, setting)
            return
    _, bound = walk(c, np.inf, True, clients, programs)
    if bound == THROUGH:
        _contribute(agenda, c, now, clients, programs, setting, sums)
        return
    if bound == BOUND_FOR_STARTUP:
        _set_out(agenda, c, factors, clients, programs, setting)
        return
    stage = at[c, STAGE]
    real[c, JOINED] = now
    if bound == BOUND_FOR_REQUEST:
        own, shared = programs.real[v, stage, SERVING], programs.real[v, stage, SHARED]
        first = seconds[c, whole[v, stage, LABEL], FIRST]
        seconds[c, whole[v, stage, LABEL], FIRST] = min(first, now)
        if setting.is_sharing:
            join(links[2], c, own + shared, now)
            _listen(agenda, links[2], bells, 2)
        else:
            ask(agenda, queue, at[c, ATTEMPT] * len(setting.order) + c, now, own, shared)
        return
    size = whole[v, stage, MESSAGE] / programs.links[at[c, CLASS], 3]
    if bound == BOUND_FOR_UP:
        join(links[0], c, size, now)
        _listen(agenda, links[0], bells, 0)
    elif bound == BOUND_FOR_DOWN:
        join(links[1], c, size, now)
        _listen(agenda, links[1], bells, 1)


@compiled
def _book_service(c: int, label: int, now: float, served: float, clients: Clients) -> None:
    seconds = clients.sums
    seconds[c, label, COMPUTE] += served
    seconds[c, label, SERVER] += served
    seconds[c, label, WAIT] += max(0.0, now - clients.real[c, JOINED] - served)


@compiled
def _note_visit(
    c: int, resource: int, now: float, clients: Clients, setting: Setting, sums: Sums
) -> None:
    if not setting.keeps_visits:
        return
    row = sums.numbers[_VISITS]
    sums.numbers[_VISITS] += 1
    sums.visit_numbers[row, 0], sums.visit_numbers[row, 1] = c, clients.at[c, ATTEMPT]
    sums.visit_numbers[row, 2], sums.visit_numbers[row, 3] = clients.at[c, VISITS], resource
    sums.visit_s[row, 0], sums.visit_s[row, 1] = clients.real[c, JOINED], now


@compiled
def _listen(agenda: Agenda, link: FlowLink, bells: _Bells, which: int) -> None:
    """Announce a link's next end, if it is ahead of what was announced."""
    _, end = next_due(link)
    if end < bells.due_s[which]:
        bells.due_s[which] = end
        bells.stamp[which] += 1
        push(agenda, end, 0, _RING, which, bells.stamp[which])


@compiled
def _ring(
    agenda: Agenda, link: FlowLink, bells: _Bells, which: int, now: float, clients: Clients
) -> None:
    """End every flow that is due in this nanosecond; an early bell finds none."""
    bells.due_s[which] = np.inf
    tick = ticks(now)
    while True:
        c, end = next_due(link)
        if c < 0 or ticks(end) > tick:
            break
        through = complete(link, c, end)
        push(agenda, through, 2 * c + 2, _GO_ON, c, clients.at[c, STAMP])
    _listen(agenda, link, bells, which)


@compiled
def _change(
    agenda: Agenda,
    links: Links,
    bells: _Bells,
    which: int,
    now: float,
    factor: float,
    clients: Clients,
) -> None:
    """Give a class's clients their rates from now on."""
    members = np.flatnonzero(clients.at[:, CLASS] == which)
    change_rates(links[0], members, clients.real[members, UP_RATE] * factor, now)
    _listen(agenda, links[0], bells, 0)
    change_rates(links[1], members, clients.real[members, DOWN_RATE] * factor, now)
    _listen(agenda, links[1], bells, 1)


@compiled
def _stop(
    agenda: Agenda,
    links: Links,
    queue: Queue,
    bells: _Bells,
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
    if at[c, 2] == programs.num_blocks[v]:
        return
    stage = at[c, STAGE]
    label = whole[v, stage, LABEL]
    if at[c, PHASE] == 2:
        which = 0 if whole[v, stage, KIND] == 1 else 1
        link = links[which]
        size = whole[v, stage, MESSAGE]
        seconds[c, label, TRANSFER] += max(0.0, now - real[c, JOINED])
        _note_visit(c, which, now, clients, setting, sums)
        if is_on(link, c):
            unsent = leave(link, c, now)
            _listen(agenda, link, bells, which)
            share = 1.0 - unsent / link.flows[2][c]
            sent = np.floor(share * size / _SEGMENT_BYTES + 1e-9) * _SEGMENT_BYTES
            cut[c, 1] = min(np.int64(sent), size)
        else:
            # The link is through with it, and the client was stopped before it was told.
            at[c, PHASE] = 3
        return
    if whole[v, stage, KIND] == 3 and real[c, JOINED] >= 0.0:
        _stop_service(agenda, links, queue, bells, c, now, label, clients, programs, setting, sums)
        _note_visit(c, 2, now, clients, setting, sums)
        real[c, JOINED] = -1.0
        return
    _, bound = walk(c, now, True, clients, programs)
    if bound != CUT and at[c, PHASE] == 2:
        at[c, PHASE] = 1


@compiled
def _stop_service(
    agenda: Agenda,
    links: Links,
    queue: Queue,
    bells: _Bells,
    c: int,
    now: float,
    label: int,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> None:
    v, stage = clients.at[c, VARIANT], clients.at[c, STAGE]
    alone = programs.real[v, stage, SERVING] + programs.real[v, stage, SHARED]
    if setting.is_sharing:
        served = alone
        if is_on(links[2], c):
            served = max(0.0, alone - leave(links[2], c, now))
            _listen(agenda, links[2], bells, 2)
        else:
            clients.at[c, PHASE] = 3
        sums.totals[_SERVED_S] += served
    else:
        request = clients.at[c, ATTEMPT] * len(setting.order) + c
        state = withdraw(agenda, queue, request, now, sums.totals)
        served = max(0.0, now - queue.start_s[request]) if state > 0 else 0.0
        if state == 2:
            clients.at[c, PHASE] = 3
    _book_service(c, label, now, served, clients)


@compiled
def _contribute(
    agenda: Agenda,
    c: int,
    now: float,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> None:
    """A client is through."""
    sums.outcome[c] = _USED
    sums.end_s[c] = now
    clients.at[c, STATUS] = _OVER
    clients.at[c, STAMP] += 1
    _enter(c, _USED, clients, programs, sums)
    sums.numbers[_CONTRIBUTIONS] += 1
    sums.numbers[_LAST] = c
    sums.totals[_CLOSED] = now
    _one_less(agenda, now, setting, sums)


@compiled
def _one_less(agenda: Agenda, now: float, setting: Setting, sums: Sums) -> None:
    """One client less is waited for; whose turn is next begins."""
    numbers = sums.numbers
    numbers[_PENDING] -= 1
    if (
        setting.in_turns
        and numbers[_NEXT_TURN] < len(setting.order)
        and numbers[_CONTRIBUTIONS] < setting.awaited
    ):
        following = setting.order[numbers[_NEXT_TURN]]
        numbers[_NEXT_TURN] += 1
        push(agenda, now, 2 * following + 2, _BEGIN, following, 0)


@compiled
def _lose(
    agenda: Agenda,
    c: int,
    now: float,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> None:
    """An attempt came to nothing: try again, or be lost for good."""
    at = clients.at
    _enter(c, _LOST, clients, programs, sums)
    if at[c, ATTEMPT] < setting.retries:
        again = _return_s(c, now + setting.retry_after_s, setting, sums)
        if again < np.inf:
            at[c, ATTEMPT] += 1
            at[c, STATUS] = _PAUSING
            push(agenda, again, 2 * c + 2, _BEGIN, c, at[c, STAMP])
            return
    at[c, STATUS] = _OVER
    sums.outcome[c] = _LOST
    sums.end_s[c] = now
    sums.totals[_CLOSED] = now
    _one_less(agenda, now, setting, sums)


@compiled
def _return_s(c: int, after: float, setting: Setting, sums: Sums) -> float:
    """From when on a client is there again; infinite if it never is [s]."""
    if setting.first[len(setting.order)] == 0 or _present_row(c, after, setting) >= 0:
        return after
    tick = ticks(after)
    for row in range(setting.first[c], setting.first[c + 1]):
        if ticks(setting.come_s[row]) > tick:
            if setting.come_s[row] - after <= setting.patience_s:
                return setting.come_s[row]
            return np.inf
    if setting.horizon_s < after + setting.patience_s:
        sums.totals[_HORIZON] = 1.0
    return np.inf


@compiled
def _close(
    agenda: Agenda,
    links: Links,
    queue: Queue,
    bells: _Bells,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> None:
    """The gathering is closed: stop everybody who is not done."""
    if sums.numbers[_PENDING] > 0 and sums.numbers[_CONTRIBUTIONS] < setting.awaited:
        sums.totals[_CLOSED] = setting.deadline_s
    now = sums.totals[_CLOSED]
    for c in range(len(setting.order)):
        status = clients.at[c, STATUS]
        if status == _OVER:
            continue
        if status == _WORKING:
            _stop(agenda, links, queue, bells, c, now, clients, programs, setting, sums)
            _enter(c, _LATE, clients, programs, sums)
        sums.outcome[c] = _LATE
        sums.end_s[c] = now
        clients.at[c, STATUS] = _OVER


@compiled
def _enter(c: int, outcome: int, clients: Clients, programs: Programs, sums: Sums) -> None:
    """Add what an attempt did to the sums of its outcome."""
    at, _, seconds, cut = clients
    whole, _, blocks, num_blocks, _ = programs
    v = at[c, VARIANT]
    for label in range(seconds.shape[1]):
        for column in range(FIRST):
            sums.seconds[v, label, outcome, column] += seconds[c, label, column]
        first = sums.seconds[v, label, outcome, FIRST]
        sums.seconds[v, label, outcome, FIRST] = min(first, seconds[c, label, FIRST])
    if outcome == _USED:
        # All of it; how often is in the program.
        sums.executions[v, 0, _USED] += 1
        return
    if num_blocks[v] == 0:
        return
    for s in range(blocks[v, num_blocks[v] - 1, 1]):
        sums.executions[v, s, outcome] += executions(c, s, clients, programs)
    if cut[c, 1] > 0:
        stage = at[c, STAGE]
        sums.cut_bytes[v, stage, outcome] += cut[c, 1]
        sums.cut_payload[v, stage, outcome] += min(cut[c, 1], whole[v, stage, PAYLOAD])
