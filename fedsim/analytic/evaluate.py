"""The analytic interpreter: a federation's costs in closed form.

Bytes and FLOPs are exact. Time is exact where nobody queues (clients with links of their own, and a
server that works for one client at a time or for all at once); elsewhere it is a lower bound, and
the result says which.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fedsim.analytic.count import count_client, count_server
from fedsim.ledger import SERVER, SETUP_ROUND, Ledger, LedgerRow
from fedsim.protocol.duration import operation_seconds, transfer_seconds
from fedsim.protocol.memory import peak_memory_bytes
from fedsim.protocol.operation import Part
from fedsim.protocol.parameters import num_trainable
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
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import ClientClass, FederationSpec
from fedsim.spec.plan import ClientPlan

__all__ = ["AnalyticResult", "ClassCost", "RoundTime", "evaluate"]

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


@dataclass(frozen=True, slots=True)
class ClassCost:
    """One client of a class.

    Attributes
    ----------
    client_class : ClientClass
    round : LedgerRow
        Sums over one full round.
    setup : LedgerRow
        Sums over the set-up.
    seconds : Seconds
        One round of this client alone, the server's work for it included, without waiting.
    peak_memory_bytes : int
    energy_j : float or None
        Of the client's computing in a round [J].
    """

    client_class: ClientClass
    round: LedgerRow
    setup: LedgerRow
    seconds: Seconds
    peak_memory_bytes: int
    energy_j: float | None


@dataclass(frozen=True, slots=True)
class AnalyticResult:
    """Answer of the analytic interpreter.

    Attributes
    ----------
    ledger : Ledger
        One round and the set-up; ``party`` is a class's name and stands for one client of it.
    classes : tuple of ClassCost
    server_round : LedgerRow
        What the server does once a round.
    total : LedgerRow
        All clients, the server, all rounds and the set-up.
    round_time : RoundTime
    server_memory_bytes : int
    infeasible : str or None
        Why the federation cannot run as planned.
    """

    ledger: Ledger
    classes: tuple[ClassCost, ...]
    server_round: LedgerRow
    total: LedgerRow
    round_time: RoundTime
    server_memory_bytes: int
    infeasible: str | None


def evaluate(
    federation: FederationSpec, framework: Callable[[ClientPlan], Protocol]
) -> AnalyticResult:
    """Costs of a federation under a framework.

    Parameters
    ----------
    federation : FederationSpec
    framework : callable
        Plan to protocol, for example :func:`fedsim.protocol.fedllm.fedllm`.
    """
    protocols = [framework(c.plan) for c in federation.classes]
    server_protocol = framework(federation.server_plan)
    ledger = Ledger()
    for client_class, protocol in zip(federation.classes, protocols, strict=True):
        training = client_class.plan.training
        count_client(ledger, SETUP_ROUND, client_class.name, protocol.setup, training)
        count_client(ledger, 1, client_class.name, protocol.round, training)
    count_server(ledger, 1, server_protocol.round, federation.server_plan.training)
    costs = tuple(
        _class_cost(c, p, ledger, federation.server.device)
        for c, p in zip(federation.classes, protocols, strict=True)
    )
    server_round = ledger.total(ledger.select(round_index=1, party=SERVER))
    return AnalyticResult(
        ledger=ledger,
        classes=costs,
        server_round=server_round,
        total=_total(federation, costs, server_round),
        round_time=_round_time(federation, protocols, server_protocol),
        server_memory_bytes=_server_memory(federation, server_protocol),
        infeasible=_infeasible(costs),
    )


def _class_cost(
    client_class: ClientClass, protocol: Protocol, ledger: Ledger, server: DeviceSpec
) -> ClassCost:
    seconds = Seconds()
    for segment in protocol.round:
        if isinstance(segment, Each):
            seconds = seconds.plus(_each_seconds(segment.steps, client_class, server))
    device, name = client_class.device, client_class.name
    energy = None if device.power_w is None else device.power_w * seconds.client_compute
    return ClassCost(
        client_class=client_class,
        round=ledger.total(ledger.select(round_index=1, party=name)),
        setup=ledger.total(ledger.select(round_index=SETUP_ROUND, party=name)),
        seconds=seconds,
        peak_memory_bytes=_peak_memory(protocol, client_class.plan, Site.CLIENT),
        energy_j=energy,
    )


def _each_seconds(
    steps: tuple[Step, ...], client_class: ClientClass, server: DeviceSpec
) -> Seconds:
    seconds = Seconds()
    training = client_class.plan.training
    for times, step in leaf_steps(steps):
        if not isinstance(step, Compute):
            message = step.payload.message_bytes
            seconds.transfer += times * transfer_seconds(message, step.direction, client_class.link)
        elif step.site is Site.CLIENT:
            seconds.client_compute += times * operation_seconds(
                step.operation, training, client_class.device
            )
        else:
            seconds.server_compute += times * operation_seconds(step.operation, training, server)
    return seconds


def _round_time(
    federation: FederationSpec, protocols: list[Protocol], server_protocol: Protocol
) -> RoundTime:
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
    server = federation.server.device
    stretches = [
        _each_seconds(each, client_class, server)
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
            c.num_clients * getattr(c.link, f"{direction}link_bytes_per_s")
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


def _total(
    federation: FederationSpec, costs: tuple[ClassCost, ...], server_round: LedgerRow
) -> LedgerRow:
    total = LedgerRow()
    for cost in costs:
        for row, times in ((cost.round, federation.num_rounds), (cost.setup, 1)):
            total.add(_multiplied(row, times * cost.client_class.num_clients))
    total.add(_multiplied(server_round, federation.num_rounds))
    return total


def _multiplied(row: LedgerRow, factor: int) -> LedgerRow:
    product = LedgerRow()
    for name in LedgerRow.__dataclass_fields__:
        if name not in ("outcome", "start_s"):
            setattr(product, name, getattr(row, name) * factor)
    return product


def _peak_memory(protocol: Protocol, plan: ClientPlan, site: Site) -> int:
    peak = 0
    seen: set[object] = set()
    for segment in protocol.round:
        if isinstance(segment, Gather):
            continue
        for _, step in leaf_steps(segment.steps):
            if not isinstance(step, Compute) or step.site is not site or step.operation in seen:
                continue
            seen.add(step.operation)
            peak = max(peak, peak_memory_bytes(step.operation, plan.training))
    return peak


def _server_memory(federation: FederationSpec, protocol: Protocol) -> int:
    plan = federation.server_plan
    peak = _peak_memory(protocol, plan, Site.SERVER)
    if plan.cut is not None and plan.server_variant == "v1":
        # One server-side copy of what is trained, with its optimizer state, for every other client.
        above = Part.above(plan.cut.position, plan.training.model.num_layers)
        values = num_trainable(plan.training, above)
        per_copy = 4 * values * (4 if plan.training.optimizer == "adam" else 2)
        peak += (federation.num_clients - 1) * per_copy
    return peak


def _infeasible(costs: tuple[ClassCost, ...]) -> str | None:
    reasons = []
    for cost in costs:
        memory = cost.client_class.device.memory_bytes
        if memory is not None and cost.peak_memory_bytes > memory:
            reasons.append(
                f"class '{cost.client_class.name}' needs {cost.peak_memory_bytes:,} B of memory a "
                f"client and '{cost.client_class.device.name}' has {memory:,} B"
            )
    return "; ".join(reasons) or None
