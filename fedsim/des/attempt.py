"""One attempt of a client at a segment: the process that reads the protocol step by step.

It keeps what it did until somebody knows what became of it, and where it is cut off it says what
was finished.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from math import floor, inf
from typing import Any, Final, assert_never

import simpy
from simpy import Timeout

from fedsim.des.accelerators import Request
from fedsim.des.assignment import Assignment
from fedsim.des.ledger_sums import StepSums
from fedsim.des.link import Flow
from fedsim.des.note import Note
from fedsim.des.simulated_client import SimulatedClient
from fedsim.des.stamina import Failed, Stamina
from fedsim.des.task import Action, ClientWork, Loop, ServerWork, Stream, Task, TransferAction
from fedsim.des.world import World
from fedsim.fleet.trace import TraceKind
from fedsim.ledger import Outcome
from fedsim.spec.link import SEGMENT_BYTES

__all__ = ["Attempt", "Events"]

Events = Generator[simpy.Event, Any, None]

#: What a client is in the middle of, as far as it matters where it is cut off.
_PACKING: Final = "packing"
_TRANSFERRING: Final = "transferring"
_UNPACKING: Final = "unpacking"
_COMPUTING: Final = "computing"
_ASKING: Final = "asking"

#: The resource's number among visits, behind the two sides of the link.
_ACCELERATORS: Final = 2
#: Share of an execution within which rounding errors lie.
_ROUNDING: Final = 1e-9


class Attempt:
    """A client on its way through a task.

    Parameters
    ----------
    world : World
    client : SimulatedClient
    task : Task
    assignment : Assignment
    number : int
        From 0.
    slowness : float
        Slowdown times the round's factor, on the client's computing.
    work_s : float
        What it does until it fails, by what that takes alone; infinite if it does not [s].
    """

    __slots__ = (
        "_action",
        "_agenda",
        "_assignment",
        "_beside",
        "_beside_since_s",
        "_client",
        "_doing",
        "_flow",
        "_joined_s",
        "_notes",
        "_num_visits",
        "_request",
        "_sent_bytes",
        "_since_s",
        "_slowness",
        "_stamina",
        "_step_sums",
        "_task",
        "_world",
        "number",
    )

    def __init__(
        self,
        world: World,
        client: SimulatedClient,
        task: Task,
        assignment: Assignment,
        number: int,
        slowness: float,
        work_s: float = inf,
    ) -> None:
        self.number = number
        self._world = world
        self._agenda = world.agenda
        self._client = client
        self._task = task
        self._assignment = assignment
        self._slowness = slowness
        self._stamina = Stamina(work_s)
        self._step_sums: list[StepSums | None] = [None] * len(task.steps)
        self._notes: list[Note] = []
        self._num_visits = self._sent_bytes = 0
        self._doing = ""
        self._action: ClientWork | ServerWork | TransferAction | None = None
        self._flow: Flow | None = None
        self._request: Request | None = None
        self._since_s = self._joined_s = self._beside_since_s = 0.0
        #: What the client computes while it sends.
        self._beside: tuple[ClientWork, ...] = ()

    def commit(self, outcome: Outcome) -> None:
        """Enter in the ledger what was done and what became of it."""
        assignment, world = self._assignment, self._world
        world.ledger_sums.add(
            assignment.ledger_round,
            self._client.group,
            world.simulation.population.class_names[self._client.class_index],
            assignment.segment,
            outcome,
            self._task,
            self._step_sums,
        )
        if world.trace is not None:
            steps, index = self._task.steps, self._client.index
            world.trace.extend(
                note.event(assignment.round_index, world.client_id(index), index, steps,
                           self.number, outcome)
                for note in self._notes
            )  # fmt: skip

    def go_through(self, actions: tuple[Action, ...]) -> Events:
        """Events of some actions, one after the other; raises :class:`Failed` in between."""
        for action in actions:
            match action:
                case TransferAction():
                    yield from self._message(action)
                case ClientWork():
                    yield from self._client_work(action)
                case ServerWork():
                    yield from self._server_work(action)
                case Stream():
                    yield from self._stream(action)
                case Loop():
                    for _ in range(action.times):
                        yield from self.go_through(action.actions)
                case _:
                    assert_never(action)

    def _client_work(self, work: ClientWork) -> Events:
        sums = self._enter(_COMPUTING, work)
        seconds = work.times * (work.one_s * self._slowness)
        if seconds > 0:
            yield from self._spend(seconds)
            sums.compute_s += seconds
        sums.executions += work.times
        self._note("compute", work.index)

    def _server_work(self, work: ServerWork) -> Events:
        sums = self._enter(_ASKING, work)
        world = self._world
        self._joined_s = world.agenda.now
        share = self._stamina.share(work.own_s + work.shared_s)
        request = world.accelerators.request(self._client.index, work.own_s, work.shared_s, share)
        self._request = request
        yield request.done
        if share < 1:
            raise Failed
        sums.executions += 1
        self._leave_accelerators(sums, request)

    def _message(self, message: TransferAction) -> Events:
        yield from self._pack(message)
        yield from self._send(message)
        yield from self._unpack(message)

    def _stream(self, stream: Stream) -> Events:
        """Pack, then compute and send at once, then let the server unpack."""
        agenda, stamina = self._agenda, self._stamina
        yield from self._pack(stream.message)
        self._beside, self._beside_since_s = stream.works, agenda.now
        seconds = sum(work.times * (work.one_s * self._slowness) for work in stream.works)
        done_s = agenda.now + seconds
        for work in stream.works:
            if self._step_sums[work.index] is None:
                self._step_sums[work.index] = StepSums(agenda.now)
        if seconds > self._world.transfer_s(self._client, stream.message):
            # The longer one is the work, and the other is hidden behind it.
            share = stamina.share(seconds)
            if share < 1:
                worker, rank = self._client.worker, self._client.index + 0.5
                assert worker is not None
                agenda.call_at(agenda.now + share * seconds, rank, partial(worker.fail, self))
            self._stamina = Stamina(inf)
        yield from self._send(stream.message)
        self._stamina = stamina
        self._action = None
        if done_s > agenda.now:
            yield Timeout(agenda, done_s - agenda.now)
        self._book_beside(done_s - self._beside_since_s)
        self._beside = ()
        yield from self._unpack(stream.message)

    def _pack(self, message: TransferAction) -> Events:
        sums = self._enter(_PACKING, message)
        seconds = message.client_s * self._slowness if message.is_up else message.server_s
        if seconds > 0:
            yield from self._spend(seconds)
            self._book_packing(sums, message, seconds, is_server=not message.is_up)

    def _unpack(self, message: TransferAction) -> Events:
        seconds = message.server_s if message.is_up else message.client_s * self._slowness
        if seconds > 0:
            sums = self._enter(_UNPACKING, message)
            yield from self._spend(seconds)
            self._book_packing(sums, message, seconds, is_server=message.is_up)

    def _send(self, message: TransferAction) -> Events:
        agenda = self._agenda
        sums = self._enter(_TRANSFERRING, message)
        self._sent_bytes = 0
        startup_s, share = self._world.startup_s(self._client, message), 1.0
        if self._stamina.is_endless:
            if startup_s > 0:
                yield Timeout(agenda, startup_s)
        else:
            alone_startup_s, flow_s = self._world.alone_s(self._client, message)
            yield from self._spend(startup_s, alone_startup_s)
            share = self._stamina.share(flow_s)
        flow = self._join(message, share)
        yield flow.done
        if share < 1:
            raise Failed
        sums.executions += 1
        self._sent_bytes = message.message_bytes
        self._leave_link(message, flow)
        if self._client.round_trip_s > 0:
            yield from self._spend(self._client.round_trip_s / 2)
        sums.transfer_s += agenda.now - self._since_s
        self._note("transfer", message.index, message.message_bytes)

    def _spend(self, seconds: float, alone_s: float | None = None) -> Events:
        """Let time pass, or fail on the way; alone it may take something else [s]."""
        share = self._stamina.share(seconds if alone_s is None else alone_s)
        if share * seconds > 0:
            yield Timeout(self._agenda, share * seconds)
        if share < 1:
            raise Failed

    def _enter(self, doing: str, action: ClientWork | ServerWork | TransferAction) -> StepSums:
        self._doing = doing
        self._action = action
        self._since_s = self._agenda.now
        sums = self._step_sums[action.index]
        if sums is None:
            sums = self._step_sums[action.index] = StepSums(self._since_s)
        return sums

    def _join(self, message: TransferAction, share: float) -> Flow:
        """Send a message, or the share of it after which the client fails."""
        world, client = self._world, self._client
        link = world.uplink if message.is_up else world.downlink
        rate = client.uplink if message.is_up else client.downlink
        rates = world.rates[client.class_index]
        own_rate = rate if rates is None else rate * rates.factor()
        self._joined_s = world.agenda.now
        flow = self._flow = link.join(client.index, share * message.wire_bytes, own_rate)
        if rates is not None:
            rates.add(flow, link, rate)
        return flow

    def _leave_link(self, message: TransferAction, flow: Flow) -> None:
        self._flow = None
        rates = self._world.rates[self._client.class_index]
        if rates is not None:
            rates.remove(flow)
        if self._world.visits is not None:
            self._visit(0 if message.is_up else 1)

    def _leave_accelerators(self, sums: StepSums, request: Request) -> None:
        self._request = None
        waited_s = max(self._agenda.now - self._joined_s - request.served_s, 0.0)
        sums.compute_s += request.served_s
        sums.server_s += request.served_s
        sums.wait_s += waited_s
        if self._world.visits is not None:
            self._visit(_ACCELERATORS)
        if self._world.trace is not None and self._action is not None:
            index, taken_up_s = self._action.index, self._joined_s + waited_s
            if waited_s > 0:
                self._notes.append(Note("wait", index, self._joined_s, taken_up_s, 0))
            self._notes.append(Note("server", index, taken_up_s, self._agenda.now, 0))

    def _book_packing(
        self, sums: StepSums, message: TransferAction, seconds: float, *, is_server: bool
    ) -> None:
        sums.compute_s += seconds
        if is_server:
            sums.server_s += seconds
        self._note("server" if is_server else "compute", message.index)

    def _visit(self, resource: int) -> None:
        world, assignment = self._world, self._assignment
        assert world.visits is not None
        place = assignment.round_index, self._client.index, assignment.segment
        visit = self.number, self._num_visits, resource
        world.visits.append((*place, *visit, self._joined_s, world.agenda.now))
        self._num_visits += 1

    def _note(self, kind: TraceKind, index: int, num_bytes: int = 0) -> None:
        if self._world.trace is not None:
            self._notes.append(Note(kind, index, self._since_s, self._agenda.now, num_bytes))

    def cut(self) -> None:
        """Book what was done of the step in hand up to now."""
        if self._beside:
            self._book_beside(self._agenda.now - self._beside_since_s)
            self._beside = ()
        action = self._action
        if action is None:
            return
        sums = self._step_sums[action.index]
        assert sums is not None
        elapsed_s = max(self._agenda.now - self._since_s, 0.0)
        match action:
            case ClientWork():
                self._cut_computing(sums, action, elapsed_s)
            case ServerWork():
                self._cut_request(sums)
            case TransferAction():
                self._cut_message(sums, action, elapsed_s)
            case _:
                assert_never(action)

    def _book_beside(self, elapsed_s: float) -> None:
        """What was computed beside a message so far, one work after the other."""
        start_s = self._beside_since_s
        for work in self._beside:
            one_s = work.one_s * self._slowness
            seconds = min(max(elapsed_s, 0.0), work.times * one_s)
            elapsed_s -= work.times * one_s
            sums = self._step_sums[work.index]
            assert sums is not None
            done = floor(seconds / one_s + _ROUNDING) if one_s > 0 else work.times
            sums.executions += min(done, work.times)
            sums.compute_s += seconds
            if self._world.trace is not None and seconds > 0:
                self._notes.append(Note("compute", work.index, start_s, start_s + seconds, 0))
            start_s += seconds

    def _cut_computing(self, sums: StepSums, work: ClientWork, elapsed_s: float) -> None:
        one_s = work.one_s * self._slowness
        sums.executions += min(floor(elapsed_s / one_s + _ROUNDING), work.times)
        sums.compute_s += min(elapsed_s, work.times * one_s)
        self._note("compute", work.index)

    def _cut_request(self, sums: StepSums) -> None:
        request = self._request
        if request is None:
            return
        self._world.accelerators.cancel(request)
        # It may be through in this very nanosecond, and nobody told the client yet.
        sums.executions += int(request.is_done and request.share == 1)
        self._leave_accelerators(sums, request)

    def _cut_message(self, sums: StepSums, message: TransferAction, elapsed_s: float) -> None:
        if self._doing is not _TRANSFERRING:
            is_server = message.is_up is (self._doing is _UNPACKING)
            self._book_packing(sums, message, elapsed_s, is_server=is_server)
            return
        sums.transfer_s += elapsed_s
        if self._flow is not None:
            self._cut_flow(sums, message, self._flow)
        self._note("transfer", message.index, self._sent_bytes)

    def _cut_flow(self, sums: StepSums, message: TransferAction, flow: Flow) -> None:
        """Take the flow out and count the whole segments that had left."""
        link = self._world.uplink if message.is_up else self._world.downlink
        unsent = link.cancel(flow)
        self._leave_link(message, flow)
        if flow.is_done and flow.num_bytes == message.wire_bytes:
            sums.executions += 1
            self._sent_bytes = message.message_bytes
            return
        share = (flow.num_bytes - unsent) / message.wire_bytes
        num_segments = floor(share * message.message_bytes / SEGMENT_BYTES + _ROUNDING)
        sent_bytes = min(num_segments * SEGMENT_BYTES, message.message_bytes)
        sums.cut_bytes += sent_bytes
        sums.cut_payload_bytes += min(sent_bytes, message.payload_bytes)
        self._sent_bytes = sent_bytes
