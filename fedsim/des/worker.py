"""One client's way through one segment, attempt after attempt.

An attempt ends in one of three ways: the client is through, it is lost (it fails or leaves), or it
is late (the server goes on without it).
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import Protocol

import simpy
from simpy import Interrupt

from fedsim.des.attempt import Assignment, Attempt, Events
from fedsim.des.task import Task
from fedsim.des.world import Client, World
from fedsim.ledger import Outcome

__all__ = ["Listener", "Worker"]


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
    end_s : float
        When it was through or stopped [s].
    is_over : bool
        Whether it is through, late or lost for good.
    """

    __slots__ = (
        "_agenda",
        "_assignment",
        "_attempt",
        "_failure",
        "_has_begun",
        "_is_working",
        "_listener",
        "_process",
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
        client: Client,
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
        self._failure: simpy.Event | None = None
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

    def lose(self) -> None:
        """Stop as lost, if it is at work."""
        if self._is_working:
            self._is_working = False
            assert self._process is not None
            self._agenda.interrupt(self._process, _Cause.LOST)

    def commit(self, outcome: Outcome) -> None:
        """Enter in the books what the last attempt did and what became of it."""
        self._attempt.commit(outcome)

    def _new_attempt(self, number: int) -> Attempt:
        luck, client = self._assignment.luck, self.client
        factor = 1.0 if luck is None else luck.factors[self.row]
        slowness = client.slowdown * factor
        return Attempt(self._world, client, self._task, self._assignment, number, slowness)

    def _run(self) -> Events:
        if self.is_over:
            return
        self._has_begun = True
        while True:
            if self._watch():
                try:
                    yield from self._attempt.go_through(self._task.actions)
                except Interrupt as interrupt:
                    self._attempt.cut()
                    if interrupt.cause is _Cause.LATE:
                        self.commit("late")
                        self._end()
                        return
                else:
                    self._end()
                    self._listener.through(self)
                    return
            self._is_working = False
            self._failure = None
            self.commit("lost")
            again_s = self._again_s()
            if again_s is None:
                self._end()
                self._listener.lost(self)
                return
            try:
                yield self._agenda.at(again_s, self.client.index)
            except Interrupt:
                self._end()
                return
            self._attempt = self._new_attempt(self._attempt.number + 1)

    def _end(self) -> None:
        self.is_over = True
        self._is_working = False
        self._failure = None
        self.client.worker = None
        self.end_s = self._agenda.now

    def _watch(self) -> bool:
        """Set what will stop this attempt; False if the client is not even there."""
        client, luck, agenda = self.client, self._assignment.luck, self._agenda
        self._is_working = True
        if luck is None:
            return True
        now_s = agenda.now
        # Whoever ends work at the nanosecond of its failure has ended it: half a rank behind.
        rank = client.index + 0.5
        leave_s = self._world.attendance.leave_s(client.index, now_s)
        if leave_s is None:
            return False
        if leave_s < inf and leave_s != client.leaves_s:
            client.leaves_s = leave_s
            agenda.call_at(leave_s, rank, client.leave)
        if self._assignment.may_fail:
            offset_s = luck.failure_s(self.row, self._attempt.number)
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
        if self._attempt.number >= policy.retries:
            return None
        after_s = self._agenda.now + policy.retry_after_s
        return self._world.attendance.next_s(self.client.index, after_s)
