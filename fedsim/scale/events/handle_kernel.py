"""What happens at an event whatever the server's policy: visits, links, accelerators, traces."""

from __future__ import annotations

from fedsim.scale.compiled import compiled, inlined
from fedsim.scale.events.agenda_kernel import Agenda, push
from fedsim.scale.events.attempt_kernel import begin
from fedsim.scale.events.queue_kernel import end_service
from fedsim.scale.events.state import (
    ALARM,
    BEGIN,
    GO_ON,
    HAS_FAILED,
    IS_LOST,
    IS_NOTICED,
    LEAVE,
    NOTHING,
    NOTICE,
    RATES,
    SERVED,
    STOP,
    WORKING,
    Setting,
    State,
)
from fedsim.scale.events.visit_kernel import arrive, change_class, fire, stop
from fedsim.scale.records import Records

__all__ = ["begin_traces", "handle"]


@compiled
def begin_traces(agenda: Agenda, rates: Records, setting: Setting) -> None:
    """Put the pieces of the rate traces in force; announce the next ones."""
    for which in range(len(rates)):
        rate = rates[which]
        rate.piece, rate.factor = setting.piece[which], 1.0
        if rate.piece >= 0:
            rate.factor = setting.factor[which, rate.piece % setting.num_pieces[which]]
            _announce_change(agenda, setting, which, rate.piece + 1)


@inlined
def _announce_change(agenda: Agenda, setting: Setting, which: int, piece: int) -> None:
    laps = piece // setting.num_pieces[which]
    time = laps * setting.period_s[which]
    time += setting.piece_s[which, piece - laps * setting.num_pieces[which]]
    push(agenda, time, 0, RATES, which, 0)


@inlined
def handle(agenda: Agenda, what: int, c: int, stamp: int, now: float, state: State) -> int:
    """Handle one event: ``NOTHING``, or what it means for client ``c``."""
    if what == GO_ON:
        if stamp == state.clients[c].stamp:
            return arrive(agenda, c, now, state)
    elif what == ALARM:
        if stamp == state.alarms[c].stamp:
            fire(agenda, c, now, state)
    elif what == SERVED:
        totals = state.sums.totals[0]
        end_service(agenda, state.queue, c, stamp, now, state.clients, totals)
    elif what == BEGIN:
        if stamp == state.clients[c].stamp and not begin(agenda, c, now, state):
            return IS_LOST
    elif what in (STOP, LEAVE):
        is_meant = what == LEAVE or stamp == state.clients[c].serial
        if is_meant and state.clients[c].status == WORKING:
            stop(agenda, c, now, state)
            return IS_LOST if what == LEAVE else HAS_FAILED
    elif what == NOTICE:
        return IS_NOTICED
    elif what == RATES:
        _change_rates(agenda, c, now, state)
    return NOTHING


@compiled
def _change_rates(agenda: Agenda, which: int, now: float, state: State) -> None:
    """The next piece of a class's rate trace begins."""
    setting, rate = state.setting, state.rates[which]
    rate.piece += 1
    rate.factor = setting.factor[which, rate.piece % setting.num_pieces[which]]
    _announce_change(agenda, setting, which, rate.piece + 1)
    change_class(agenda, which, now, state)
