"""One client's way through one segment, attempt after attempt.

An attempt ends in one of three ways: the client is through, it is lost (it fails or leaves), or it
is late (the server goes on without it). Who leaves says so; of a failure the server learns later.
"""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum, auto
from math import inf
from typing import Any, Protocol

import simpy
from simpy import Interrupt

from fedsim.des.assignment import Assignment
from fedsim.des.attempt import Attempt, Events
from fedsim.des.simulated_client import SimulatedClient
from fedsim.des.stamina import Failed
from fedsim.des.task import Task
from fedsim.des.world import World
from fedsim.ledger import Outcome

__all__ = ["Listener", "Worker"]


class _Cause(Enum):
    """Why an attempt is stopped."""

    LEFT = auto()
    FAILED = auto()
    LATE = auto()


class Listener(Protocol):
    """Whom a worker tells how it ended."""

    def through(self, worker: Worker) -> None:
        """It ended its work; what becomes of the work is not decided yet."""
        ...

    def lost(self, worker: Worker) -> None:
        """It stopped for good, and the server may not know yet."""
        ...

    def noticed(self, worker: Worker) -> None:
        """The server knows that it stopped for good."""
        ...


class Worker:
    """A client at work on a segment.

    Parameters
    ----------
    world : World
    client : SimulatedClient
    task : Task
    assignment : Assignment
    row : int
        Of this client in the assignment's draws.
    listener : Listener

    Attributes
    ----------
    end_s : float
        When it was through or stopped [s].
    is_over : bool
        Whether it is through, late or lost for good.
    """

    __slots__ = (
        "_agenda",
        "_assignment",
        "_attempt",
        "_has_begun",
        "_is_working",
        "_listener",
        "_process",
        "_since_s",
        "_task",
        "_world",
        "client",
        "end_s",
        "is_over",
        "row",
    )

    def __init__(
        self,
        world: World,
        client: SimulatedClient,
        task: Task,
        assignment: Assignment,
        row: int,
        listener: Listener,
    ) -> None:
        self.client = client
        self.row = row
        self.is_over = False
        self.end_s = 0.0
        self._world = world
        self._agenda = world.agenda
        self._task = task
        self._assignment = assignment
        self._listener = listener
        self._process: simpy.Process | None = None
        self._has_begun = self._is_working = False
        self._since_s = 0.0
        self._attempt = self._new_attempt(0)

    def begin(self) -> None:
        """Start now."""
        self.client.worker = self
        self._process = self._agenda.begin(self._run(), self.client.index)

    def stop(self) -> None:
        """Stop as late, wherever it is."""
        if self.is_over:
            return
        if self._process is None or not self._has_begun:
            self.is_over = True
        else:
            self._agenda.interrupt(self._process, _Cause.LATE)

    def leave(self) -> None:
        """Stop as lost, if it is at work: the client is not available any more."""
        self._lose(_Cause.LEFT)

    def fail(self, attempt: Attempt, _: simpy.Event) -> None:
        """Stop as lost, if it is still at work on this attempt."""
        if attempt is self._attempt:
            self._lose(_Cause.FAILED)

    def _lose(self, cause: _Cause) -> None:
        if self._is_working:
            self._is_working = False
            assert self._process is not None
            self._agenda.interrupt(self._process, cause)

    def commit(self, outcome: Outcome) -> None:
        """Enter in the ledger what the last attempt did and what became of it."""
        self._attempt.commit(outcome)

    def _new_attempt(self, number: int) -> Attempt:
        draws, client = self._assignment.draws, self.client
        factor = 1.0 if draws is None else draws.factors[self.row]
        slowness, work_s = client.slowdown * factor, inf
        if draws is not None and self._assignment.may_fail:
            work_s = draws.work_s(self.row, number)
        return Attempt(self._world, client, self._task, self._assignment, number, slowness, work_s)

    def _run(self) -> Events:
        if self.is_over:
            return
        self._has_begun = True
        while True:
            cause = yield from self._try()
            self._is_working = False
            if cause is None:
                self._end()
                self._listener.through(self)
                return
            if cause is _Cause.LATE:
                self.commit("late")
                self._end()
                return
            self.commit("lost")
            noticed_s = self._noticed_s(cause)
            again_s = self._again_s(noticed_s)
            if again_s is None:
                self._end()
                self._listener.lost(self)
                if noticed_s > self._agenda.now:
                    yield self._agenda.at(noticed_s, self.client.index)
                self._listener.noticed(self)
                return
            try:
                yield self._agenda.at(again_s, self.client.index)
            except Interrupt:
                self._end()
                return
            self._attempt = self._new_attempt(self._attempt.number + 1)

    def _try(self) -> Generator[simpy.Event, Any, _Cause | None]:
        """One attempt; why it stopped, or None if it is through."""
        self._is_working = True
        self._since_s = self._agenda.now
        if not self._is_there():
            return _Cause.LEFT
        cause: _Cause
        try:
            yield from self._attempt.go_through(self._task.actions)
        except Failed:
            cause = _Cause.FAILED
        except Interrupt as interrupt:
            cause = interrupt.cause  # type: ignore[assignment]
        else:
            return None
        self._attempt.cut()
        return cause

    def _end(self) -> None:
        self.is_over = True
        self._is_working = False
        self.client.worker = None
        self.end_s = self._agenda.now

    def _is_there(self) -> bool:
        """Whether the client is available; it is stopped when that ends."""
        client, agenda = self.client, self._agenda
        if self._assignment.draws is None:
            return True
        leave_s = self._world.attendance.leave_s(client.index, agenda.now)
        if leave_s is None:
            return False
        if leave_s < inf and leave_s != client.leaves_s:
            client.leaves_s = leave_s
            # Whoever ends work at the nanosecond at which it leaves has ended it: half a rank
            # behind.
            agenda.call_at(leave_s, client.index + 0.5, client.leave)
        return True

    def _noticed_s(self, cause: _Cause) -> float:
        """When the server knows that the attempt came to nothing [s]."""
        now_s, draws = self._agenda.now, self._assignment.draws
        if cause is _Cause.LEFT or draws is None:
            return now_s
        timeout_s = self._world.simulation.policy.failure_timeout_s
        if timeout_s is not None:
            return now_s + timeout_s
        return max(now_s, self._since_s + draws.alone_s(self.row))

    def _again_s(self, noticed_s: float) -> float | None:
        """When the next attempt starts; None if there is none [s]."""
        policy = self._world.simulation.policy
        if self._attempt.number >= policy.retries:
            return None
        after_s = noticed_s + policy.retry_after_s
        return self._world.attendance.next_s(self.client.index, after_s)
