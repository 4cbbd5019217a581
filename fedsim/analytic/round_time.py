"""Seconds of one round along its critical path, with a 95 % interval.

Exact where nobody queues; a lower bound, with the reason, where clients share the server's
accelerators or its link.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from fedsim.protocol.duration import operation_seconds, transfer_seconds
from fedsim.protocol.step import (
    Compute,
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

__all__ = ["RoundTime", "Seconds", "each_seconds", "round_time"]

#: 97.5 % quantile of the normal distribution: two-sided 95 % intervals.
_Z: Final = 1.959963984540054


@dataclass(slots=True)
class Seconds:
    """A stretch of time by what it is spent on [s]."""

    client_compute: float = 0.0
    server_compute: float = 0.0
    transfer: float = 0.0
    wait: float = 0.0

    @property
    def total(self) -> float:
        """Sum of the parts [s]."""
        return self.client_compute + self.server_compute + self.transfer + self.wait

    def plus(self, other: Seconds) -> Seconds:
        """The two stretches one after the other."""
        return Seconds(
            self.client_compute + other.client_compute,
            self.server_compute + other.server_compute,
            self.transfer + other.transfer,
            self.wait + other.wait,
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
            message = step.payload.message_bytes
            seconds.transfer += times * transfer_seconds(message, step.direction, link)
        elif step.site is Site.CLIENT:
            seconds.client_compute += times * operation_seconds(
                step.operation, training, client_class.device
            )
        else:
            seconds.server_compute += times * operation_seconds(
                step.operation, training, server.device
            )
    return seconds


def round_time(
    federation: FederationSpec, protocols: list[Protocol], server_protocol: Protocol
) -> RoundTime:
    """Seconds of one round: the slowest client of each stretch, then the server."""
    path, client_log_sigma = Seconds(), 0.0
    reasons: dict[str, None] = {}
    for index, segment in enumerate(server_protocol.round):
        if isinstance(segment, Gather):
            continue
        if isinstance(segment, Once):
            path = path.plus(_once_seconds(segment, federation))
            continue
        stretch, sigma = _each_time(federation, [_each(p.round[index]) for p in protocols], reasons)
        client_log_sigma = max(client_log_sigma, sigma)
        path = path.plus(stretch)
    sigma_server = federation.server.device.relative_sigma
    low = high = path.transfer + path.wait
    for compute, sigma in (
        (path.client_compute, client_log_sigma),
        (path.server_compute, sigma_server),
    ):
        low += compute * math.exp(-_Z * sigma)
        high += compute * math.exp(_Z * sigma)
    return RoundTime(
        mean_s=path.total,
        low_s=low,
        high_s=high,
        compute_s=path.client_compute + path.server_compute,
        transfer_s=path.transfer,
        wait_s=path.wait,
        is_exact=not reasons,
        why="; ".join(reasons),
    )


def _each(segment: Segment) -> tuple[Step, ...]:
    assert isinstance(segment, Each)
    return segment.steps


def _each_time(
    federation: FederationSpec, steps: list[tuple[Step, ...]], reasons: dict[str, None]
) -> tuple[Seconds, float]:
    """The stretch of the slowest client (or of all turns), and that client's uncertainty."""
    server = federation.server
    stretches = [
        each_seconds(each, client_class, server)
        for each, client_class in zip(steps, federation.classes, strict=True)
    ]
    slowest = max(range(len(stretches)), key=lambda i: stretches[i].total)
    path = stretches[slowest]
    sigma = federation.classes[slowest].device.relative_sigma
    serves = path.server_compute > 0
    if serves and federation.server_plan.server_variant == "v2":
        # One shared server-side model: clients take whole turns, so the others' turns are waiting.
        everyone = sum(
            s.total * c.num_clients for s, c in zip(stretches, federation.classes, strict=True)
        )
        return path.plus(Seconds(wait=everyone - path.total)), sigma
    bound = path.total
    if serves and federation.num_clients > federation.server.num_accelerators:
        reasons.setdefault("the server's accelerators are shared by more clients than there are")
        busy = sum(
            s.server_compute * c.num_clients
            for s, c in zip(stretches, federation.classes, strict=True)
        )
        bound = max(bound, busy / federation.server.num_accelerators)
    bound = max(bound, _link_bound(federation, steps, reasons))
    return path.plus(Seconds(wait=bound - path.total)), sigma


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


def _once_seconds(segment: Once, federation: FederationSpec) -> Seconds:
    seconds = Seconds()
    training = federation.server_plan.training
    for times, step in leaf_steps(segment.steps):
        if isinstance(step, Compute):
            seconds.server_compute += times * operation_seconds(
                step.operation, training, federation.server.device, federation.num_clients
            )
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
