"""What all processes of a run share: agenda, resources, clients, and the sums for the ledger."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import simpy
from simpy import Timeout

from fedsim.cost.duration import startup_seconds
from fedsim.des.accelerators import accelerators
from fedsim.des.agenda import Agenda
from fedsim.des.attendance import Attendance
from fedsim.des.ledger_sums import LedgerSums, StepSums
from fedsim.des.link import SharedLink
from fedsim.des.rates import ClassRates
from fedsim.des.simulated_client import SimulatedClient
from fedsim.des.task import Task, TransferAction, read_task
from fedsim.fleet.recent import Recent
from fedsim.fleet.simulation import Simulation
from fedsim.fleet.trace import TraceEvent
from fedsim.fleet.uncontended import UncontendedTimes, uncontended_times
from fedsim.ledger import SERVER as SERVER_PARTY
from fedsim.protocol.step import Each, Segment

__all__ = ["SETUP_SEGMENT", "World"]

#: Number of the set-up where segments of a round count from 0.
SETUP_SEGMENT: Final = -1

Visit = tuple[int, int, int, int, int, int, float, float]


@dataclass
class _Known:
    """What was worked out for one round's plans, by segment."""

    tasks: dict[int, list[Task]] = field(default_factory=dict)
    uncontended: dict[int, UncontendedTimes] = field(default_factory=dict)


class World:
    """One run's shared state.

    Parameters
    ----------
    simulation : Simulation
    attendance : Attendance
    keeps_visits, keeps_trace : bool

    Attributes
    ----------
    whole_run : Simulation
        Without what changes by round. What outlives a round holds on to it and not to that round's.
    """

    def __init__(
        self,
        simulation: Simulation,
        attendance: Attendance,
        *,
        keeps_visits: bool,
        keeps_trace: bool,
    ) -> None:
        federation, population = simulation.federation, simulation.population
        server = federation.server
        self.whole_run = self.simulation = simulation
        self.attendance = attendance
        self.agenda = Agenda(len(population), attendance.horizon_s)
        self.uplink = SharedLink(self.agenda, server.uplink_bytes_per_s)
        self.downlink = SharedLink(self.agenda, server.downlink_bytes_per_s)
        # Updates of one shared model follow each other, whatever could run side by side.
        num = 1 if simulation.has_exclusive_steps else server.num_accelerators
        self.accelerators = accelerators(self.agenda, server, num)
        self.rates = [
            None if c.link.trace is None else ClassRates(self.agenda, c.link.trace)
            for c in federation.classes
        ]
        self.ledger_sums = LedgerSums()
        self.visits: list[Visit] | None = [] if keeps_visits else None
        self.trace: list[TraceEvent] | None = [] if keeps_trace else None
        self.clients = [
            SimulatedClient(*row)
            for row in zip(
                range(len(population)),
                population.class_index.tolist(),
                population.group_index.tolist(),
                population.slowdown.tolist(),
                population.uplink.tolist(),
                population.downlink.tolist(),
                population.round_trip.tolist(),
                strict=True,
            )
        ]
        self.round = simulation.server_protocol.round
        self.once_busy_s = 0.0
        # By plan: rounds that are planned alike are one simulation, and no more are kept than that
        # many kinds of rounds.
        self._known: Recent[Simulation, _Known] = Recent()

    def begin_round(self, simulation: Simulation) -> None:
        """Take a round's plans: its protocols, and who has which."""
        if simulation is self.simulation:
            return
        groups = simulation.population.group_index
        if groups is not self.simulation.population.group_index:
            for client, group in zip(self.clients, groups.tolist(), strict=True):
                client.group = group
        self.simulation, self.round = simulation, simulation.server_protocol.round

    def tasks(self, segment: int) -> list[Task]:
        """What each group's clients do in a segment; :data:`SETUP_SEGMENT` for the set-up."""
        known = self._known.of(self.simulation, _Known)
        if segment not in known.tasks:
            known.tasks[segment] = self._read_tasks(segment)
        return known.tasks[segment]

    def _read_tasks(self, segment: int) -> list[Task]:
        simulation = self.simulation
        federation, tasks = simulation.federation, []
        for group, protocol in zip(simulation.population.groups, simulation.protocols, strict=True):
            is_setup = segment == SETUP_SEGMENT
            segments: tuple[Segment, ...] = (
                protocol.setup if is_setup else (protocol.round[segment],)
            )
            steps = tuple(s for each in segments if isinstance(each, Each) for s in each.steps)
            client_class = federation.classes[group.class_index]
            training = group.plan.training
            device = federation.server.device
            overlap = simulation.policy.overlap
            tasks.append(read_task(steps, training, client_class, device, overlap=overlap))
        return tasks

    def uncontended(self, segment: int) -> UncontendedTimes:
        """Seconds of a segment for each client alone."""
        known = self._known.of(self.simulation, _Known)
        if segment not in known.uncontended:
            known.uncontended[segment] = uncontended_times(self.simulation, segment)
        return known.uncontended[segment]

    def client_id(self, index: int) -> str:
        """What a client is called."""
        return self.simulation.population.client_id(index)

    def startup_s(self, client: SimulatedClient, message: TransferAction) -> float:
        """Delay ahead of a message's flow that starts up now [s]."""
        rates = self.rates[client.class_index]
        key = (message.is_up, message.message_bytes)
        if rates is None and key in client.startup_s:
            return client.startup_s[key]
        link = self.simulation.federation.classes[client.class_index].link
        if message.is_up:
            rate, capacity = client.uplink, self.uplink.capacity
        else:
            rate, capacity = client.downlink, self.downlink.capacity
        if rates is not None:
            rate *= rates.factor()
        goodput = min(rate, capacity) * link.payload_fraction
        seconds = startup_seconds(message.message_bytes, goodput, client.round_trip_s, link)
        client.startup_s[key] = seconds
        return seconds

    def alone_s(self, client: SimulatedClient, message: TransferAction) -> tuple[float, float]:
        """Startup and flow of a message at factor 1, with nobody else there [s]."""
        link = self.simulation.federation.classes[client.class_index].link
        rate, side = (
            (client.uplink, self.uplink) if message.is_up else (client.downlink, self.downlink)
        )
        goodput = min(rate, side.capacity) * link.payload_fraction
        startup_s = startup_seconds(message.message_bytes, goodput, client.round_trip_s, link)
        return startup_s, message.message_bytes / goodput

    def transfer_s(self, client: SimulatedClient, message: TransferAction) -> float:
        """All of a message's way at factor 1, with nobody else there [s]."""
        return sum(self.alone_s(client, message)) + client.round_trip_s / 2

    def once(
        self, round_index: int, ledger_round: int, segment: int, used: Sequence[SimulatedClient]
    ) -> Generator[simpy.Event, Any, float]:
        """Let the server work once for what was gathered; the seconds that it takes."""
        plan, total_s = self.simulation.federation.server_plan, 0.0
        groups = np.array([client.group for client in used], dtype=np.int64)
        for times, step, one_s in self.simulation.contributions.steps(segment, groups):
            start_s = self.agenda.now
            sums = StepSums(start_s)
            sums.executions = times
            sums.compute_s = sums.server_s = times * one_s
            if sums.compute_s > 0:
                yield Timeout(self.agenda, sums.compute_s)
            total_s += sums.compute_s
            self.ledger_sums.add_server(ledger_round, step, sums, plan.training)
            if self.trace is not None:
                self.trace.append(
                    TraceEvent(
                        round_index,
                        SERVER_PARTY,
                        -1,
                        step.label,
                        0,
                        "server",
                        start_s,
                        self.agenda.now,
                        0,
                        "used",
                    )
                )
        self.once_busy_s += total_s
        return total_s
