"""Seconds of one round along its critical path, with a 95 % interval.

Exact where nobody queues; a lower bound, with the reason, where clients share the server's
accelerators or its link.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fedsim.cost.duration import (
    decoding_seconds,
    encoding_seconds,
    operation_regime,
    operation_seconds,
    pack_seconds,
    transfer_seconds,
    unpack_seconds,
)
from fedsim.fleet.contributions import Contributions
from fedsim.protocol.step import (
    Compute,
    Direction,
    Each,
    Gather,
    Once,
    Protocol,
    Segment,
    Site,
    Step,
    leaf_steps,
)
from fedsim.spec.federation import ClientClass, FederationSpec, ServerSpec
from fedsim.spec.link import LinkSpec

__all__ = ["RoundTime", "Seconds", "Timing", "each_seconds", "round_time", "timing"]


@dataclass(slots=True)
class Seconds:
    """A stretch of time by what it is spent on, and its 95 % interval [s].

    ``messages`` is writing messages into buffers and reading them out, at both ends: computing that
    no link makes faster, and no accelerator's queue holds; ``client_messages`` is the client's part
    of it. ``uplink`` is the part of ``transfer`` that goes up.
    """

    client_compute: float = 0.0
    server_compute: float = 0.0
    transfer: float = 0.0
    wait: float = 0.0
    messages: float = 0.0
    low: float = 0.0
    high: float = 0.0
    uplink: float = 0.0
    client_messages: float = 0.0

    @property
    def total(self) -> float:
        """Sum of the parts [s]."""
        return self.compute + self.transfer + self.wait

    @property
    def compute(self) -> float:
        """Everything that is computed, messages included [s]."""
        return self.client_compute + self.server_compute + self.messages

    def spread(self, seconds: float, ratios: tuple[float, float] = (1.0, 1.0)) -> float:
        """Widen the interval by some seconds that may be off by these ratios; return them."""
        self.low += seconds * ratios[0]
        self.high += seconds * ratios[1]
        return seconds

    def waiting(self, seconds: float) -> Seconds:
        """The stretch with a wait behind it."""
        longer = self.plus(Seconds(wait=seconds))
        longer.spread(seconds)
        return longer

    def plus(self, other: Seconds) -> Seconds:
        """The two stretches one after the other."""
        return Seconds(
            self.client_compute + other.client_compute,
            self.server_compute + other.server_compute,
            self.transfer + other.transfer,
            self.wait + other.wait,
            self.messages + other.messages,
            self.low + other.low,
            self.high + other.high,
            self.uplink + other.uplink,
            self.client_messages + other.client_messages,
        )


@dataclass(frozen=True, slots=True)
class RoundTime:
    """Seconds of one round along its critical path.

    Attributes
    ----------
    mean_s, low_s, high_s : float
        Mean and 95 % prediction interval of the mean [s].
    compute_s, transfer_s, wait_s : float
        Its parts [s].
    is_exact : bool
        False where somebody may queue, and the figure is a lower bound.
    why : str
        What makes it a lower bound; empty where it is exact.
    """

    mean_s: float
    low_s: float
    high_s: float
    compute_s: float
    transfer_s: float
    wait_s: float
    is_exact: bool
    why: str


def each_seconds(steps: tuple[Step, ...], client_class: ClientClass, server: ServerSpec) -> Seconds:
    """Seconds of one client alone, the server's work for it included."""
    seconds = Seconds()
    training, link = client_class.plan.training, _capped(client_class.link, server)
    for times, step in leaf_steps(steps):
        if not isinstance(step, Compute):
            one = transfer_seconds(step.payload.message_bytes, step.direction, link)
            seconds.transfer += seconds.spread(times * one)
            sender, receiver = client_class.device, server.device
            is_up = step.direction is Direction.UP
            if is_up:
                seconds.uplink += times * one
            else:
                sender, receiver = receiver, sender
            packing, unpacking = (
                pack_seconds(step.payload, sender),
                unpack_seconds(step.payload, receiver),
            )
            seconds.client_messages += times * (packing if is_up else unpacking)
            for device, one, coding in (
                (sender, packing, encoding_seconds(step.payload, sender)),
                (receiver, unpacking, decoding_seconds(step.payload, receiver)),
            ):
                message = times * (one - coding)
                seconds.messages += seconds.spread(message, device.ratios_95("message"))
                if coding:
                    seconds.messages += seconds.spread(times * coding, device.ratios_95("codec"))
            continue
        is_client = step.site is Site.CLIENT
        device = client_class.device if is_client else server.device
        one = operation_seconds(step.operation, training, device)
        ratios = device.ratios_95(operation_regime(step.operation))
        if is_client:
            seconds.client_compute += seconds.spread(times * one, ratios)
        else:
            seconds.server_compute += seconds.spread(times * one, ratios)
    return seconds


@dataclass(frozen=True, slots=True)
class Timing:
    """All seconds of a round in closed form.

    Attributes
    ----------
    round_time : RoundTime
    classes : tuple of Seconds
        One client of each class alone, the server's work for it included, without waiting.
    server_busy_s : float
        Of the server's accelerators, summed over them: for every client, and once for all [s].
    """

    round_time: RoundTime
    classes: tuple[Seconds, ...]
    server_busy_s: float


def round_time(
    federation: FederationSpec, protocols: list[Protocol], server_protocol: Protocol
) -> RoundTime:
    """Seconds of one round: the slowest client of each stretch, then the server."""
    return timing(federation, protocols, server_protocol).round_time


def timing(
    federation: FederationSpec, protocols: list[Protocol], server_protocol: Protocol
) -> Timing:
    """Seconds of one round, of each class alone in it, and of the server's accelerators.

    Parameters
    ----------
    federation : FederationSpec
    protocols : list of Protocol
        One a class.
    server_protocol : Protocol
    """
    path, busy_s = Seconds(), 0.0
    own = [Seconds() for _ in federation.classes]
    reasons: dict[str, None] = {}
    contributions = Contributions(
        [(p, c.plan.training) for p, c in zip(protocols, federation.classes, strict=True)],
        (server_protocol, federation.server_plan.training),
        federation.server.device,
    )
    for index, segment in enumerate(server_protocol.round):
        if isinstance(segment, Gather):
            continue
        if isinstance(segment, Once):
            once = _once_seconds(index, federation, contributions)
            path, busy_s = path.plus(once), busy_s + once.server_compute
            continue
        steps = [_each(p.round[index]) for p in protocols]
        stretches = [
            each_seconds(each, client_class, federation.server)
            for each, client_class in zip(steps, federation.classes, strict=True)
        ]
        own = [before.plus(stretch) for before, stretch in zip(own, stretches, strict=True)]
        path = path.plus(_each_time(federation, steps, stretches, reasons))
    busy_s += sum(
        s.server_compute * c.num_clients for s, c in zip(own, federation.classes, strict=True)
    )
    found = RoundTime(
        mean_s=path.total,
        low_s=path.low,
        high_s=path.high,
        compute_s=path.compute,
        transfer_s=path.transfer,
        wait_s=path.wait,
        is_exact=not reasons,
        why="; ".join(reasons),
    )
    return Timing(found, tuple(own), busy_s)


def _each(segment: Segment) -> tuple[Step, ...]:
    assert isinstance(segment, Each)
    return segment.steps


def _each_time(
    federation: FederationSpec,
    steps: list[tuple[Step, ...]],
    stretches: list[Seconds],
    reasons: dict[str, None],
) -> Seconds:
    """The stretch of the slowest client, or of all turns."""
    slowest = max(range(len(stretches)), key=lambda i: stretches[i].total)
    path = stretches[slowest]
    serves = path.server_compute > 0
    if any(
        isinstance(s, Compute) and s.is_exclusive for each in steps for _, s in leaf_steps(each)
    ):
        # One shared server-side model: clients take whole turns, so the others' turns are waiting.
        everyone = Seconds()
        for s, c in zip(stretches, federation.classes, strict=True):
            everyone.wait += s.total * c.num_clients
            everyone.low += s.low * c.num_clients
            everyone.high += s.high * c.num_clients
        others = Seconds(
            wait=everyone.wait - path.total,
            low=everyone.low - path.low,
            high=everyone.high - path.high,
        )
        return path.plus(others)
    # Whoever is the slowest in truth: an uncertain class may overtake the one that seems to be.
    path = replace(path, low=max(s.low for s in stretches), high=max(s.high for s in stretches))
    bound = path.total
    if serves and federation.num_clients > federation.server.num_accelerators:
        reasons.setdefault("the server's accelerators are shared by more clients than there are")
        busy = sum(
            s.server_compute * c.num_clients
            for s, c in zip(stretches, federation.classes, strict=True)
        )
        bound = max(bound, busy / federation.server.num_accelerators)
    bound = max(bound, _link_bound(federation, steps, reasons))
    return path.waiting(bound - path.total)


def _link_bound(
    federation: FederationSpec, steps: list[tuple[Step, ...]], reasons: dict[str, None]
) -> float:
    """Seconds that the server's own link needs for everybody's bytes."""
    bound = 0.0
    for direction, rate in (
        ("up", federation.server.uplink_bytes_per_s),
        ("down", federation.server.downlink_bytes_per_s),
    ):
        if rate is None:
            continue
        wanted = sum(
            c.num_clients * min(getattr(c.link, f"{direction}link_bytes_per_s"), rate)
            for c in federation.classes
        )
        if wanted <= rate:
            continue
        num_bytes = 0
        for client_class, each in zip(federation.classes, steps, strict=True):
            for times, step in leaf_steps(each):
                if not isinstance(step, Compute) and step.direction == direction:
                    num_bytes += times * step.payload.message_bytes * client_class.num_clients
        if num_bytes:
            reasons.setdefault(f"clients share the server's {direction}link")
            bound = max(bound, num_bytes / rate)
    return bound


def _once_seconds(
    segment: int, federation: FederationSpec, contributions: Contributions
) -> Seconds:
    seconds = Seconds()
    device = federation.server.device
    each = [c.num_clients for c in federation.classes]
    for times, step, one_s in contributions.of_counts(segment, each):
        ratios = device.ratios_95(operation_regime(step.operation))
        seconds.server_compute += seconds.spread(times * one_s, ratios)
    return seconds


def _capped(link: LinkSpec, server: ServerSpec) -> LinkSpec:
    """A client's link where it ends at the server: no flow is faster than either side."""
    uplink, downlink = server.uplink_bytes_per_s, server.downlink_bytes_per_s
    if uplink is None and downlink is None:
        return link
    return replace(
        link,
        uplink_bytes_per_s=min(link.uplink_bytes_per_s, uplink or math.inf),
        downlink_bytes_per_s=min(link.downlink_bytes_per_s, downlink or math.inf),
    )
