"""The analytic interpreter: a federation's costs in closed form.

Bytes and FLOPs are exact. Time is exact where nobody queues (clients with links of their own, and a
server that works for one client at a time or for all at once); elsewhere it is a lower bound, and
the result says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fedsim.analytic.count import count_client, count_server
from fedsim.analytic.fitting import Suggestion, client_suggestions, server_suggestions
from fedsim.analytic.peak_memory import client_peak_bytes, server_peak_bytes
from fedsim.analytic.periods import Period, periods
from fedsim.analytic.round_time import RoundTime, Seconds, Timing, timing
from fedsim.errors import ScenarioError
from fedsim.ledger import SERVER, SETUP_ROUND, Ledger, LedgerRow
from fedsim.protocol.step import Protocol
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import ClientClass, FederationSpec
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySpec

__all__ = ["AnalyticResult", "ClassCost", "PeriodCost", "evaluate", "timed"]


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

    @property
    def fits(self) -> bool:
        """Whether the device has the memory, as far as that is known."""
        memory = self.client_class.device.memory_bytes
        return memory is None or self.peak_memory_bytes <= memory


@dataclass(frozen=True, slots=True)
class PeriodCost:
    """Rounds of equal plans, and what one of them takes.

    Attributes
    ----------
    period : Period
    classes : tuple of ClassCost
    server_round : LedgerRow
        What the server does once a round.
    round_time : RoundTime
    server_busy_s : float
        Of the server's accelerators in a round, summed over them [s].
    server_memory_bytes : int
    """

    period: Period
    classes: tuple[ClassCost, ...]
    server_round: LedgerRow
    round_time: RoundTime
    server_busy_s: float
    server_memory_bytes: int


@dataclass(frozen=True, slots=True)
class AnalyticResult:
    """Answer of the analytic interpreter.

    Attributes
    ----------
    ledger : Ledger
        The first round and the set-up; ``party`` is a class's name and stands for one client of
        it.
    classes : tuple of ClassCost
        Of the first round, but for peaks of memory, which are the largest of any round.
    server_round : LedgerRow
        What the server does once, in the first round.
    total : LedgerRow
        All clients, the server, all rounds and the set-up.
    round_time : RoundTime
        In the mean over all rounds.
    server_memory_bytes : int
        The largest of any round.
    infeasible : str or None
        Why the federation cannot run as planned.
    periods : tuple of PeriodCost
        Stretches of rounds with equal plans, at least one: what adds up to all rounds.
    suggestions : tuple of (str, Suggestion)
        What would fit, by who needs it: a class's name or ``server``.
    """

    ledger: Ledger
    classes: tuple[ClassCost, ...]
    server_round: LedgerRow
    total: LedgerRow
    round_time: RoundTime
    server_memory_bytes: int
    infeasible: str | None
    periods: tuple[PeriodCost, ...]
    suggestions: tuple[tuple[str, Suggestion], ...] = ()


def evaluate(
    federation: FederationSpec,
    framework: Callable[[ClientPlan], Protocol],
    policy: PolicySpec | None = None,
) -> AnalyticResult:
    """Costs of a federation under a framework.

    Parameters
    ----------
    federation : FederationSpec
    framework : callable
        Plan to protocol, for example :func:`fedsim.protocol.fedllm.fedllm`.
    policy : PolicySpec, optional
        Says of how many clients the server holds contributions at once: of all by default.

    Raises
    ------
    ScenarioError
        If plans of one round have different segments, or a schedule looks at more than the round's
        number.
    """
    found = [_evaluate(each, framework) for each in periods(federation, policy)]
    return found[0] if len(found) == 1 else _over_periods(found)


def _evaluate(period: Period, framework: Callable[[ClientPlan], Protocol]) -> AnalyticResult:
    federation = period.federation
    num_contributions = federation.num_clients
    if period.policy is not None:
        num_contributions = period.policy.num_asked(federation.num_clients)
    protocols = [framework(c.plan) for c in federation.classes]
    server_protocol = framework(federation.server_plan)
    _check_structure(federation, protocols, server_protocol)
    ledger = Ledger()
    for client_class, protocol in zip(federation.classes, protocols, strict=True):
        training = client_class.plan.training
        count_client(ledger, SETUP_ROUND, client_class.name, protocol.setup, training)
        count_client(ledger, 1, client_class.name, protocol.round, training)
    count_server(ledger, 1, server_protocol.round, federation.server_plan.training)
    seconds = timing(federation, protocols, server_protocol)
    costs = tuple(
        _class_cost(c, p, ledger, own)
        for c, p, own in zip(federation.classes, protocols, seconds.classes, strict=True)
    )
    server_round = ledger.total(ledger.select(round_index=1, party=SERVER))
    server_memory_bytes = server_peak_bytes(
        server_protocol,
        federation.server_plan,
        [
            (protocol, each.plan, each.num_clients)
            for each, protocol in zip(federation.classes, protocols, strict=True)
        ],
        num_contributions,
    )
    infeasible = _infeasible(costs, federation.server.device, server_memory_bytes)
    return AnalyticResult(
        ledger=ledger,
        classes=costs,
        server_round=server_round,
        total=_total(federation, costs, server_round),
        round_time=seconds.round_time,
        server_memory_bytes=server_memory_bytes,
        infeasible=infeasible,
        periods=(
            PeriodCost(
                period,
                costs,
                server_round,
                seconds.round_time,
                seconds.server_busy_s,
                server_memory_bytes,
            ),
        ),
        suggestions=()
        if infeasible is None
        else tuple(
            _suggested(
                costs,
                federation,
                framework,
                server_memory_bytes,
                num_contributions,
            )
        ),
    )


def timed(
    federation: FederationSpec, framework: Callable[[ClientPlan], Protocol]
) -> list[tuple[int, Timing]]:
    """The seconds of :func:`evaluate` alone, for devices and links that are moved.

    Parameters
    ----------
    federation : FederationSpec
    framework : callable
        Plan to protocol.

    Returns
    -------
    list of (int, Timing)
        How many rounds are alike, and one of them.
    """
    found = []
    for each in periods(federation):
        own = each.federation
        protocols = [framework(c.plan) for c in own.classes]
        found.append((each.num_rounds, timing(own, protocols, framework(own.server_plan))))
    return found


def _over_periods(found: list[AnalyticResult]) -> AnalyticResult:
    """One answer for all rounds out of the answers of each period."""
    first = found[0]
    total = LedgerRow()
    for one in found:
        total.add(one.total)
        # The set-up comes once, with the plans of the first round.
        if one is not first:
            for cost in one.classes:
                total.add(_multiplied(cost.setup, -cost.client_class.num_clients))
    classes = tuple(
        replace(cost, peak_memory_bytes=max(one.classes[i].peak_memory_bytes for one in found))
        for i, cost in enumerate(first.classes)
    )
    parts = tuple(part for one in found for part in one.periods)
    wrong = [one for one in found if one.infeasible is not None]
    return replace(
        first,
        classes=classes,
        total=total,
        round_time=_mean_round_time([(p.period.num_rounds, p.round_time) for p in parts]),
        server_memory_bytes=max(one.server_memory_bytes for one in found),
        infeasible="; ".join(
            f"from round {one.periods[0].period.first} on {one.infeasible}" for one in wrong
        )
        or None,
        periods=parts,
        suggestions=wrong[0].suggestions if wrong else (),
    )


def _mean(weighted: Sequence[tuple[int, float]]) -> float:
    return sum(n * value for n, value in weighted) / sum(n for n, _ in weighted)


def _mean_round_time(weighted: Sequence[tuple[int, RoundTime]]) -> RoundTime:
    parts = {
        name: _mean([(n, getattr(time, name)) for n, time in weighted])
        for name in ("mean_s", "low_s", "high_s", "compute_s", "transfer_s", "wait_s")
    }
    reasons = dict.fromkeys(time.why for _, time in weighted if time.why)
    is_exact = all(time.is_exact for _, time in weighted)
    return RoundTime(**parts, is_exact=is_exact, why="; ".join(reasons))


def _check_structure(
    federation: FederationSpec, protocols: list[Protocol], server_protocol: Protocol
) -> None:
    """A round's segments must be the same for all, or nobody knows what the server waits for."""
    expected = [type(segment) for segment in server_protocol.round]
    for client_class, protocol in zip(federation.classes, protocols, strict=True):
        if [type(segment) for segment in protocol.round] != expected:
            raise ScenarioError(
                f"client class '{client_class.name}': its round has other segments than the "
                "server's; a cut below all adapters (a client that trains nothing) cannot be "
                "mixed with cuts above one. Choose cuts of one kind or adapt more blocks."
            )


def _class_cost(
    client_class: ClientClass, protocol: Protocol, ledger: Ledger, seconds: Seconds
) -> ClassCost:
    device, name = client_class.device, client_class.name
    energy = None if device.power_w is None else device.power_w * seconds.client_compute
    return ClassCost(
        client_class=client_class,
        round=ledger.total(ledger.select(round_index=1, party=name)),
        setup=ledger.total(ledger.select(round_index=SETUP_ROUND, party=name)),
        seconds=seconds,
        peak_memory_bytes=client_peak_bytes(protocol, client_class.plan),
        energy_j=energy,
    )


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
        if name != "start_s":
            setattr(product, name, getattr(row, name) * factor)
    return product


def _infeasible(
    costs: tuple[ClassCost, ...], server: DeviceSpec, server_memory_bytes: int
) -> str | None:
    reasons = []
    if server.memory_bytes is not None and server_memory_bytes > server.memory_bytes:
        reasons.append(
            f"the server needs {server_memory_bytes:,} B of memory and '{server.name}' has "
            f"{server.memory_bytes:,} B"
        )
    for cost in costs:
        memory = cost.client_class.device.memory_bytes
        if not cost.fits:
            reasons.append(
                f"class '{cost.client_class.name}' needs {cost.peak_memory_bytes:,} B of memory a "
                f"client and '{cost.client_class.device.name}' has {memory:,} B"
            )
    return "; ".join(reasons) or None


def _suggested(
    costs: tuple[ClassCost, ...],
    federation: FederationSpec,
    framework: Callable[[ClientPlan], Protocol],
    server_memory_bytes: int,
    num_contributions: int,
) -> Iterator[tuple[str, Suggestion]]:
    """What would fit, for everybody who does not."""
    formats = _common_formats(federation)
    memory = federation.server.device.memory_bytes
    if memory is not None and server_memory_bytes > memory:
        for suggestion in server_suggestions(
            framework,
            federation.server_plan,
            [(each.plan, each.num_clients) for each in federation.classes],
            num_contributions,
            memory,
            formats,
        ):
            yield SERVER, suggestion
    for cost in costs:
        memory = cost.client_class.device.memory_bytes
        if memory is not None and cost.peak_memory_bytes > memory:
            plan = cost.client_class.plan
            for suggestion in client_suggestions(framework, plan, memory, formats):
                yield cost.client_class.name, suggestion


def _common_formats(federation: FederationSpec) -> set[str]:
    """Number formats in which the server and every class can be priced: one is for all."""
    devices = [federation.server.device, *(each.device for each in federation.classes)]
    formats = {"bfloat16", "float16"}
    for device in devices:
        if device.precisions is not None:
            formats &= set(device.precisions)
    return formats
