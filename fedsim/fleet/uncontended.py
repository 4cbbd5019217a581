"""Uncontended seconds of each segment, per client: nobody else is there.

The place at which a client fails, the order of the fastest clients and the critical path are
measured by them. Waiting is what an engine finds beyond.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedsim.cost.duration import operation_seconds, pack_seconds, unpack_seconds
from fedsim.draws import failures, normals, purpose_key, uniforms
from fedsim.fleet.overlap import streamed_uploads
from fedsim.fleet.simulation import Simulation
from fedsim.protocol.step import Compute, Direction, Each, Repeat, Site, Step, Transfer, leaf_steps
from fedsim.spec.device import DeviceSpec
from fedsim.spec.link import LinkSpec
from fedsim.spec.plan import TrainingSpec

__all__ = [
    "UncontendedTimes",
    "message_times",
    "round_factors",
    "startup_times",
    "uncontended_times",
    "work_until_failure",
]

Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class UncontendedTimes:
    """Seconds of one pass through a segment with nobody else there, as arrays over clients.

    Attributes
    ----------
    client_s : ndarray
        Computing of the client, messages included, at round factor 1 [s].
    server_s : ndarray
        Computing of the server for it, messages included [s].
    transfer_s : ndarray
        Sending and receiving at factor 1 of a rate trace [s].
    streams : tuple of (int, ndarray, ndarray)
        Of uploads that overlap: how often, what the client computes meanwhile at factor 1, and what
        the upload takes [s]; the shorter of the two is hidden behind the longer.
    """

    client_s: Reals
    server_s: Reals
    transfer_s: Reals
    streams: tuple[tuple[int, Reals, Reals], ...] = ()

    def total(
        self, factors: Reals | float = 1.0, clients: NDArray[np.int64] | slice = slice(None)
    ) -> Reals:
        """All of it for some clients, with their computing times their round's factors [s]."""
        own = self.client_s[clients] * factors
        whole = own + self.server_s[clients] + self.transfer_s[clients]
        return np.asarray(whole - self.hidden(factors, clients))

    def of_client(self, client: int, factor: float) -> tuple[float, float]:
        """What a client computes, the server for it included, and what it sends and receives [s].

        ``factor`` is on the client's computing.
        """
        compute_s = float(self.client_s[client] * factor + self.server_s[client])
        return compute_s, float(self.transfer_s[client] - self.hidden(factor, client))

    def hidden(
        self, factors: Reals | float = 1.0, clients: NDArray[np.int64] | slice | int = slice(None)
    ) -> Reals:
        """Sending that takes no time of its own, for the client computes meanwhile [s]."""
        total = np.zeros_like(self.transfer_s[clients])
        for times, compute_s, transfer_s in self.streams:
            total = total + times * np.minimum(compute_s[clients] * factors, transfer_s[clients])
        return total


def uncontended_times(simulation: Simulation, segment_index: int) -> UncontendedTimes:
    """Of segment number ``segment_index`` of the round; zero unless it is an ``Each``."""
    population, server = simulation.population, simulation.federation.server
    num = len(population)
    uncontended = UncontendedTimes(np.zeros(num), np.zeros(num), np.zeros(num))
    streams: list[tuple[int, Reals, Reals]] = []
    for index, (group, protocol) in enumerate(
        zip(population.groups, simulation.protocols, strict=True)
    ):
        segment = protocol.round[segment_index]
        if not isinstance(segment, Each):
            continue
        client_class = simulation.federation.classes[group.class_index]
        client_s, server_s, messages = _alone(
            segment.steps, group.plan.training, client_class.device, server.device
        )
        members = np.flatnonzero(population.group_index == index)
        uncontended.client_s[members] = client_s * population.slowdown[members]
        uncontended.server_s[members] = server_s
        for (direction, message_bytes), times in messages.items():
            one = message_times(simulation, members, direction, message_bytes, client_class.link)
            uncontended.transfer_s[members] += times * one
        if simulation.policy.overlap:
            found = _streams(segment.steps, group.plan.training, client_class.device)
            for times, seconds, message_bytes in found:
                compute_s, transfer_s = np.zeros(num), np.zeros(num)
                compute_s[members] = seconds * population.slowdown[members]
                transfer_s[members] = message_times(
                    simulation, members, Direction.UP, message_bytes, client_class.link
                )
                streams.append((times, compute_s, transfer_s))
    return replace(uncontended, streams=tuple(streams))


def startup_times(
    message_bytes: int, goodput_bytes_per_s: Reals, round_trip_s: Reals, link: LinkSpec
) -> Reals:
    """:func:`fedsim.cost.duration.startup_seconds` for many clients at once [s]."""
    seconds = link.message_s + link.handshake_round_trips * round_trip_s
    window = float(link.initial_window_bytes)
    sent = window
    while 0 < sent < message_bytes:
        stall = round_trip_s - window / goodput_bytes_per_s
        if not (stall > 0).any():
            break
        seconds = seconds + np.maximum(stall, 0.0)
        window *= 2
        sent += window
    return np.asarray(seconds)


def round_factors(
    simulation: Simulation, round_index: int | NDArray[np.uint64], clients: NDArray[np.int64]
) -> Reals:
    """Factor on each client's computing in one round, or in each one's own iteration."""
    population = simulation.population
    sigmas = np.array([c.spread.round_sigma for c in simulation.federation.classes])
    sigma = sigmas[population.class_index[clients]]
    if not sigma.any():
        return np.ones(len(clients))
    key = purpose_key(simulation.seed, "round factor")
    return np.asarray(np.exp(sigma * normals(key, round_index, population.keys[clients])))


def work_until_failure(
    simulation: Simulation,
    round_index: int | NDArray[np.uint64],
    clients: NDArray[np.int64],
    attempt: int,
    alone_s: Reals,
) -> Reals:
    """How much of an attempt's work is done when it fails; infinite where it does not fail [s].

    Work is measured by what it takes alone, so waiting for others neither saves nor costs any: a
    share of the work is a place in it, and not a moment.

    Parameters
    ----------
    simulation : Simulation
    round_index : int or ndarray of uint64
        One for all, or one for each.
    clients : ndarray of int64
    attempt : int
    alone_s : ndarray
        What each client's work takes alone in this round [s].
    """
    population = simulation.population
    chances = np.array([c.spread.dropout_probability for c in simulation.federation.classes])
    chance = chances[population.class_index[clients]]
    if not chance.any():
        return np.full(len(clients), np.inf)
    keys = population.keys[clients]
    fails = failures(simulation.seed, round_index, keys, chance, attempt)
    when = uniforms(purpose_key(simulation.seed, "fails when"), round_index, keys, attempt)
    return np.where(fails, when * alone_s, np.inf)


@lru_cache(maxsize=4096)
def _alone(
    steps: tuple[Step, ...], training: TrainingSpec, client: DeviceSpec, server: DeviceSpec
) -> tuple[float, float, dict[tuple[Direction, int], int]]:
    """Seconds of client and server, and messages by direction and size."""
    client_s = server_s = 0.0
    messages: dict[tuple[Direction, int], int] = {}
    for times, step in leaf_steps(steps):
        if isinstance(step, Compute):
            if step.site is Site.CLIENT:
                client_s += times * operation_seconds(step.operation, training, client)
            else:
                server_s += times * operation_seconds(step.operation, training, server)
            continue
        size = step.payload.message_bytes
        if size == 0:
            continue
        messages[step.direction, size] = messages.get((step.direction, size), 0) + times
        if step.direction is Direction.UP:
            client_s += times * pack_seconds(step.payload, client)
            server_s += times * unpack_seconds(step.payload, server)
        else:
            server_s += times * pack_seconds(step.payload, server)
            client_s += times * unpack_seconds(step.payload, client)
    return client_s, server_s, messages


@lru_cache(maxsize=4096)
def _streams(
    steps: tuple[Step, ...], training: TrainingSpec, client: DeviceSpec
) -> tuple[tuple[int, float, int], ...]:
    """Of uploads that overlap: how often, seconds of computing meanwhile, bytes of the message."""
    found: list[tuple[int, float, int]] = []
    for step in steps:
        if isinstance(step, Repeat):
            inner = _streams(step.steps, training, client)
            found.extend((step.times * times, s, size) for times, s, size in inner)
    for first, place in streamed_uploads(steps).items():
        seconds = sum(
            times * operation_seconds(step.operation, training, client)
            for times, step in leaf_steps(steps[first:place])
            if isinstance(step, Compute)
        )
        message = steps[place]
        assert isinstance(message, Transfer)
        found.append((1, seconds, message.payload.message_bytes))
    return tuple(found)


def message_times(
    simulation: Simulation,
    members: NDArray[np.int64],
    direction: Direction,
    message_bytes: int,
    link: LinkSpec,
) -> Reals:
    """What one message takes each of some clients of a class, from its start to its arrival [s].

    Parameters
    ----------
    simulation : Simulation
    members : ndarray of int64
        Of one class.
    direction : Direction
    message_bytes : int
        [B].
    link : LinkSpec
        The class's.
    """
    population, server = simulation.population, simulation.federation.server
    is_up = direction is Direction.UP
    rates = (population.uplink if is_up else population.downlink)[members]
    capacity = server.uplink_bytes_per_s if is_up else server.downlink_bytes_per_s
    goodput = np.minimum(rates, capacity or np.inf) * link.payload_fraction
    round_trip = population.round_trip[members]
    startup = startup_times(message_bytes, goodput, round_trip, link)
    return np.asarray(startup + message_bytes / goodput + round_trip / 2)
