"""What happens at an event whatever the server's policy: visits, links, accelerators, traces."""

from __future__ import annotations

import numpy as np

from fedsim.scale.compiled import compiled, inlined
from fedsim.scale.events.agenda_kernel import Agenda, push
from fedsim.scale.events.attempt_kernel import begin
from fedsim.scale.events.queue_kernel import Queue, end_service
from fedsim.scale.events.state import (
    BEGIN,
    GO_ON,
    HAS_FAILED,
    IS_LOST,
    IS_NOTICED,
    LEAVE,
    NOTHING,
    NOTICE,
    RATES,
    RING,
    SERVED,
    STOP,
    WORKING,
    Bells,
    Integers,
    Links,
    Reals,
    Setting,
    Sums,
)
from fedsim.scale.events.visit_kernel import arrive, change_class, ring, stop
from fedsim.scale.events.walk_kernel import SERIAL, STAMP, STATUS, Clients, Programs

__all__ = ["begin_traces", "handle"]


@compiled
def begin_traces(agenda: Agenda, setting: Setting) -> tuple[Integers, Reals]:
    """Pieces of the rate traces in force at the start and their factors, by class."""
    pieces = setting.piece.copy()
    factors = np.ones(len(pieces))
    for which in range(len(pieces)):
        if pieces[which] >= 0:
            factors[which] = setting.factor[which, pieces[which] % setting.num_pieces[which]]
            _announce_change(agenda, setting, which, pieces[which] + 1)
    return pieces, factors


@inlined
def _announce_change(agenda: Agenda, setting: Setting, which: int, piece: int) -> None:
    laps = piece // setting.num_pieces[which]
    time = laps * setting.period_s[which]
    time += setting.piece_s[which, piece - laps * setting.num_pieces[which]]
    push(agenda, time, 0, RATES, which, 0)


@inlined
def handle(
    agenda: Agenda,
    links: Links,
    queue: Queue,
    bells: Bells,
    pieces: Integers,
    factors: Reals,
    what: int,
    c: int,
    stamp: int,
    now: float,
    clients: Clients,
    programs: Programs,
    setting: Setting,
    sums: Sums,
) -> int:
    """Handle one event: ``NOTHING``, or what it means for client ``c``."""
    if what == GO_ON:
        if stamp == clients.at[c, STAMP]:
            return arrive(
                agenda, links, queue, bells, c, now, factors, clients, programs, setting, sums
            )
    elif what == RING:
        if stamp == bells.stamp[c]:
            ring(agenda, links[c], bells, c, now, clients)
    elif what == SERVED:
        end_service(agenda, queue, c, stamp, now, clients.at[:, STAMP], sums.totals)
    elif what == BEGIN:
        if stamp == clients.at[c, STAMP] and not begin(
            agenda, c, now, factors, clients, programs, setting
        ):
            return IS_LOST
    elif what in (STOP, LEAVE):
        is_meant = what == LEAVE or stamp == clients.at[c, SERIAL]
        if is_meant and clients.at[c, STATUS] == WORKING:
            stop(agenda, links, queue, bells, c, now, clients, programs, setting, sums)
            return IS_LOST if what == LEAVE else HAS_FAILED
    elif what == NOTICE:
        return IS_NOTICED
    elif what == RATES:
        pieces[c] += 1
        factors[c] = setting.factor[c, pieces[c] % setting.num_pieces[c]]
        _announce_change(agenda, setting, c, pieces[c] + 1)
        change_class(agenda, links, bells, c, now, factors[c], clients)
    return NOTHING
