"""One client's way through one segment: the process that reads the protocol step by step.

An attempt ends in one of three ways: the client is through, it is lost (it fails or leaves), or it
is late (the server goes on without it). What it did is kept until that is known.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum, auto
from math import floor, inf
from typing import Any, Final, Protocol, assert_never

import simpy
from simpy import Interrupt, Timeout

from fedsim.des.accelerators import Request
from fedsim.des.books import Tally
from fedsim.des.link import Flow
from fedsim.des.luck import Luck
from fedsim.des.task import Action, ClientWork, Loop, Message, ServerWork, Task
from fedsim.des.world import SETUP_SEGMENT, Client, World
from fedsim.fleet.trace import TraceEvent, TraceKind
from fedsim.ledger import Outcome

__all__ = ["Assignment", "Listener", "Worker"]

Events = Generator[simpy.Event, Any, None]

#: What a client is in the middle of, as far as it matters where it is cut off.
_PACKING: Final = "packing"
_TRANSFERRING: Final = "transferring"
_UNPACKING: Final = "unpacking"
_COMPUTING: Final = "computing"
_ASKING: Final = "asking"

_SEGMENT_BYTES = 1448
_ACCELERATORS = 2
#: Share of an execution within which rounding errors lie.
_ROUNDING = 1e-9


class _Cause(Enum):
    """Why an attempt is stopped."""

    LOST = auto()
    LATE = auto()


class Listener(Protocol):
    """Whom a worker tells how it ended."""

    def through(self, worker: Worker) -> None:
        """It ended its work; what becomes of the work is not decided yet."""
        ...

    def lost(self, worker: Worker) -> None:
        """It stopped for good."""
        ...


@dataclass(frozen=True, slots=True)
class Assignment:
    """What some clients are asked to do.

    Attributes
    ----------
    round_index : int
        The round, or the client's own iteration.
    book_index : int
        Round under which it stands in the ledger.
    segment : int
    luck : Luck or None
        None in the set-up, which nobody's luck touches.
    may_fail : bool
        Whether drop-outs are drawn.
    """

    round_index: int
    book_index: int
    segment: int
    luck: Luck | None
    may_fail: bool


class Worker:
    """A client at work on a segment.

    Parameters
    ----------
    world : World
    client : Client
    task : Task
    assignment : Assignment
    row : int
        Of this client in the assignment's luck.
    listener : Listener

    Attributes
    ----------
    start_s, end_s : float
        Of the client's work; the end is known when it is through [s].
    is_over : bool
        Whether it is through, late or lost for good.
    """

    __slots__ = (
        "_action",
        "_agenda",
        "_doing",
        "_failure",
        "_flow",
        "_has_begun",
        "_is_working",
        "_joined_s",
        "_notes",
        "_num_visits",
        "_process",
        "_request",
        "_sent_bytes",
        "_since_s",
        "_slowness",
        "_tallies",
        "_world",
        "assignment",
        "attempt",
        "client",
        "end_s",
        "is_over",
        "listener",
        "row",
        "start_s",
        "task",
    )  # fmt: skip

    def __init__(
        self,
        world: World,
        client: Client,
        task: Task,
        assignment: Assignment,
        row: int,
        listener: Listener,
    ) -> None:
        self.client = client
        self.task = task
        self.assignment = assignment
        self.row = row
        self.listener = listener
        self.attempt = 0
        self.is_over = False
        self.start_s = self.end_s = 0.0
        luck = assignment.luck
        self._world = world
        self._agenda = world.agenda
        self._slowness = client.slowdown * (1.0 if luck is None else luck.factors[row])
        self._process: simpy.Process | None = None
        self._has_begun = self._is_working = False
        self._failure: simpy.Event | None = None
        self._forget()

    def begin(self) -> None:
        """Start now."""
        self.client.worker = self
        self.start_s = self._agenda.now
        self._process = self._agenda.begin(self._run(), self.client.index)

    def stop(self) -> None:
        """Stop as late, wherever it is."""
        if self.is_over:
            return
        if self._process is None or not self._has_begun:
            self.is_over = True
        else:
            self._agenda.interrupt(self._process, _Cause.LATE)

    def lose(self) -> None:
        """Stop as lost, if it is at work."""
        if self._is_working:
            self._is_working = False
            assert self._process is not None
            self._agenda.interrupt(self._process, _Cause.LOST)

    def commit(self, outcome: Outcome) -> None:
        """Enter in the books what the last attempt did and what became of it."""
        assignment, world = self.assignment, self._world
        world.books.add(
            assignment.book_index,
            self.client.variant,
            assignment.segment,
            outcome,
            self.task,
            self._tallies,
        )
        if world.trace is not None:
            party = world.simulation.population.client_id(self.client.index)
            steps = self.task.steps
            world.trace.extend(
                TraceEvent(
                    assignment.round_index,
                    party,
                    self.client.index,
                    steps[index].label,
                    self.attempt,
                    kind,
                    start_s,
                    end_s,
                    num_bytes,
                    outcome,
                )
                for kind, index, start_s, end_s, num_bytes in self._notes
            )
        self._forget()

    def _forget(self) -> None:
        self._tallies: list[Tally | None] = [None] * len(self.task.steps)
        self._notes: list[tuple[TraceKind, int, float, float, int]] = []
        self._num_visits = self._sent_bytes = 0
        self._doing = ""
        self._action: Action | None = None
        self._flow: Flow | None = None
        self._request: Request | None = None
        self._since_s = self._joined_s = 0.0

    # From attempt to attempt

    def _run(self) -> Events:
        if self.is_over:
            return
        self._has_begun = True
        while True:
            if self._watch():
                try:
                    yield from self._go_through(self.task.actions)
                except Interrupt as interrupt:
                    self._cut()
                    if interrupt.cause is _Cause.LATE:
                        self.commit("late")
                        self._end()
                        return
                else:
                    self._end()
                    self.listener.through(self)
                    return
            self._is_working = False
            self.commit("lost")
            again_s = self._again_s()
            if again_s is None:
                self._end()
                self.listener.lost(self)
                return
            try:
                yield self._agenda.at(again_s, self.client.index)
            except Interrupt:
                self._end()
                return
            self.attempt += 1

    def _end(self) -> None:
        self.is_over = True
        self._is_working = False
        self._failure = None
        self.client.worker = None
        self.end_s = self._agenda.now

    def _watch(self) -> bool:
        """Set what will stop this attempt; False if the client is not even there."""
        world, client, luck = self._world, self.client, self.assignment.luck
        self._is_working = True
        if luck is None:
            return True
        agenda = world.agenda
        now_s = agenda.now
        # Whoever ends work at the nanosecond of its failure has ended it: half a rank behind.
        rank = client.index + 0.5
        leave_s = world.attendance.leave_s(client.index, now_s)
        if leave_s is None:
            return False
        if leave_s < inf and leave_s != client.leaves_s:
            client.leaves_s = leave_s
            agenda.call_at(leave_s, rank, client.leave)
        if self.assignment.may_fail:
            offset_s = luck.failure_s(self.row, self.attempt)
            if offset_s < inf:
                self._failure = agenda.call_at(now_s + offset_s, rank, self._fail)
        return True

    def _fail(self, event: simpy.Event) -> None:
        # One that was set for an attempt that left first is passed over.
        if event is self._failure:
            self.lose()

    def _again_s(self) -> float | None:
        """When the next attempt starts; None if there is none [s]."""
        policy = self._world.simulation.policy
        self._failure = None
        if self.attempt >= policy.retries:
            return None
        after_s = self._agenda.now + policy.retry_after_s
        return self._world.attendance.next_s(self.client.index, after_s)

    # From step to step

    def _go_through(self, actions: tuple[Action, ...]) -> Events:
        for action in actions:
            match action:
                case Message():
                    yield from self._message(action)
                case ClientWork():
                    yield from self._client_work(action)
                case ServerWork():
                    yield from self._server_work(action)
                case Loop():
                    for _ in range(action.times):
                        yield from self._go_through(action.actions)
                case _:
                    assert_never(action)

    def _client_work(self, work: ClientWork) -> Events:
        tally = self._enter(_COMPUTING, work)
        seconds = work.times * (work.one_s * self._slowness)
        if seconds > 0:
            yield Timeout(self._agenda, seconds)
            tally.compute_s += seconds
        tally.executions += work.times
        self._note("compute", work.index)

    def _server_work(self, work: ServerWork) -> Events:
        tally = self._enter(_ASKING, work)
        world = self._world
        self._joined_s = world.agenda.now
        request = world.accelerators.request(self.client.index, work.own_s, work.shared_s)
        self._request = request
        yield request.done
        tally.executions += 1
        self._leave_accelerators(tally, request)

    def _message(self, message: Message) -> Events:
        agenda = self._agenda
        client_s = message.client_s * self._slowness
        if message.is_up:
            before_s, behind_s = client_s, message.server_s
        else:
            before_s, behind_s = message.server_s, client_s
        tally = self._enter(_PACKING, message)
        if before_s > 0:
            yield Timeout(agenda, before_s)
            self._book_packing(tally, message, before_s, is_server=not message.is_up)
        self._enter(_TRANSFERRING, message)
        self._sent_bytes = 0
        startup_s = self._world.startup_s(self.client, message)
        if startup_s > 0:
            yield Timeout(agenda, startup_s)
        flow = self._join(message)
        yield flow.done
        tally.executions += 1
        self._sent_bytes = message.message_bytes
        self._leave_link(message, flow)
        if self.client.round_trip_s > 0:
            yield Timeout(agenda, self.client.round_trip_s / 2)
        tally.transfer_s += agenda.now - self._since_s
        self._note("transfer", message.index, message.message_bytes)
        if behind_s > 0:
            self._enter(_UNPACKING, message)
            yield Timeout(agenda, behind_s)
            self._book_packing(tally, message, behind_s, is_server=message.is_up)

    def _enter(self, doing: str, action: ClientWork | ServerWork | Message) -> Tally:
        self._doing = doing
        self._action = action
        self._since_s = self._agenda.now
        tally = self._tallies[action.index]
        if tally is None:
            tally = self._tallies[action.index] = Tally(self._since_s)
        return tally

    def _join(self, message: Message) -> Flow:
        world, client = self._world, self.client
        link = world.uplink if message.is_up else world.downlink
        rate = client.uplink if message.is_up else client.downlink
        rates = world.rates[client.class_index]
        own_rate = rate if rates is None else rate * rates.factor()
        self._joined_s = world.agenda.now
        flow = self._flow = link.join(client.index, message.wire_bytes, own_rate)
        if rates is not None:
            rates.add(flow, link, rate)
        return flow

    def _leave_link(self, message: Message, flow: Flow) -> None:
        self._flow = None
        rates = self._world.rates[self.client.class_index]
        if rates is not None:
            rates.remove(flow)
        if self._world.visits is not None:
            self._visit(0 if message.is_up else 1)

    def _leave_accelerators(self, tally: Tally, request: Request) -> None:
        self._request = None
        waited_s = max(self._agenda.now - self._joined_s - request.served_s, 0.0)
        tally.compute_s += request.served_s
        tally.server_s += request.served_s
        tally.wait_s += waited_s
        if self._world.visits is not None:
            self._visit(_ACCELERATORS)
        if self._world.trace is not None and self._action is not None:
            assert not isinstance(self._action, Loop)
            index, taken_up_s = self._action.index, self._joined_s + waited_s
            if waited_s > 0:
                self._notes.append(("wait", index, self._joined_s, taken_up_s, 0))
            self._notes.append(("server", index, taken_up_s, self._agenda.now, 0))

    def _book_packing(
        self, tally: Tally, message: Message, seconds: float, *, is_server: bool
    ) -> None:
        tally.compute_s += seconds
        if is_server:
            tally.server_s += seconds
        self._note("server" if is_server else "compute", message.index)

    def _visit(self, resource: int) -> None:
        world, assignment = self._world, self.assignment
        assert world.visits is not None
        world.visits.append(
            (
                0 if assignment.segment == SETUP_SEGMENT else assignment.round_index,
                self.client.index,
                assignment.segment,
                self.attempt,
                self._num_visits,
                resource,
                self._joined_s,
                world.agenda.now,
            )
        )
        self._num_visits += 1

    def _note(self, kind: TraceKind, index: int, num_bytes: int = 0) -> None:
        if self._world.trace is not None:
            self._notes.append((kind, index, self._since_s, self._agenda.now, num_bytes))

    # Where it is stopped

    def _cut(self) -> None:
        """Book what was done of the step in hand up to now."""
        action = self._action
        if action is None or isinstance(action, Loop):
            return
        tally = self._tallies[action.index]
        assert tally is not None
        elapsed_s = max(self._agenda.now - self._since_s, 0.0)
        match action:
            case ClientWork():
                self._cut_computing(tally, action, elapsed_s)
            case ServerWork():
                self._cut_request(tally)
            case Message():
                self._cut_message(tally, action, elapsed_s)
            case _:
                assert_never(action)

    def _cut_computing(self, tally: Tally, work: ClientWork, elapsed_s: float) -> None:
        one_s = work.one_s * self._slowness
        tally.executions += min(floor(elapsed_s / one_s + _ROUNDING), work.times)
        tally.compute_s += min(elapsed_s, work.times * one_s)
        self._note("compute", work.index)

    def _cut_request(self, tally: Tally) -> None:
        request = self._request
        if request is None:
            return
        self._world.accelerators.cancel(request)
        # It may be through in this very nanosecond, and nobody told the client yet.
        tally.executions += int(request.is_done)
        self._leave_accelerators(tally, request)

    def _cut_message(self, tally: Tally, message: Message, elapsed_s: float) -> None:
        if self._doing is not _TRANSFERRING:
            is_server = message.is_up is (self._doing is _UNPACKING)
            self._book_packing(tally, message, elapsed_s, is_server=is_server)
            return
        tally.transfer_s += elapsed_s
        if self._flow is not None:
            self._cut_flow(tally, message, self._flow)
        self._note("transfer", message.index, self._sent_bytes)

    def _cut_flow(self, tally: Tally, message: Message, flow: Flow) -> None:
        """Take the flow out and count the whole segments that had left."""
        link = self._world.uplink if message.is_up else self._world.downlink
        unsent = link.cancel(flow)
        self._leave_link(message, flow)
        if flow.is_done:
            tally.executions += 1
            self._sent_bytes = message.message_bytes
            return
        share = 1.0 - unsent / message.wire_bytes
        num_segments = floor(share * message.message_bytes / _SEGMENT_BYTES + _ROUNDING)
        sent_bytes = min(num_segments * _SEGMENT_BYTES, message.message_bytes)
        tally.cut_bytes += sent_bytes
        tally.cut_payload_bytes += min(sent_bytes, message.payload_bytes)
        self._sent_bytes = sent_bytes
