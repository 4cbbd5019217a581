"""Which interpreter answers: the one asked for, or the cheapest that is exact.

A key that an engine cannot honour is an error there; ``auto`` never picks such an engine. Runs that
would take hours are refused ahead of time, with what to make smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from fedsim.analytic import AnalyticResult, periods, scheduled_needs
from fedsim.errors import ScenarioError
from fedsim.protocol.step import (
    Compute,
    Each,
    Protocol,
    Site,
    has_exclusive_steps,
    leaf_steps,
)
from fedsim.scenario.file.settings import Settings
from fedsim.spec.availability import AlwaysOn
from fedsim.spec.federation import ClientClass, FederationSpec, ServerSpec
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySpec
from fedsim.units import format_seconds

__all__ = ["Choice", "check_shares", "check_traceable", "chosen_engine"]

Engine = Literal["analytic", "des", "scale", "sampled"]

#: What a run may be at most: minutes on one core, and 2 GB.
_MAX_CLIENTS: Final = 2_000_000
_MAX_ROUNDS: Final = 100_000
_MAX_LEDGER_ROWS: Final = 1_500_000
_MAX_DES_EVENTS: Final = 10_000_000
_MAX_TRACED_EVENTS: Final = 2_000_000
_MAX_SCALE_CLIENT_ROUNDS: Final = 200_000_000
_MAX_SCALE_VISITS: Final = 150_000_000
#: A sample has as many clients as make so many visits; ``docs/performance.md`` has its errors.
_SAMPLED_VISITS: Final = 50_000_000
_LEAST_SAMPLE, _LARGEST_SAMPLE = 2_000, 10_000
#: All results of a file together, in largest runs.
_MAX_SHARES: Final = 5.0
_LOWER: Final = (
    "Lower workload.num_rounds, fleet.num_clients, policy.clients_per_round, or the number of "
    "batches: workload.samples_per_client, workload.local_epochs."
)
#: Up to here a SimPy run takes about a second, and loading compiled kernels does not pay.
_SMALL_EVENTS: Final = 100_000
_EVENTS_PER_STEP: Final = 6
#: Where there are no common rounds, clients are at work whose contributions are never used.
_EVENTS_PER_FREE_STEP: Final = 12


@dataclass(frozen=True)
class Choice:
    """An engine and why.

    Attributes
    ----------
    engine : {"analytic", "des", "scale", "sampled"}
    reason : str
    share : float
        How large the run is, as a share of the largest that the engine takes.
    work : float
        The part of it that takes time: the share of the events, client-rounds or visits.
    num_sampled : int or None
        Clients whose mini-batches stand for all, where the engine samples.
    """

    engine: Engine
    reason: str
    share: float = 0.0
    num_sampled: int | None = None
    work: float = 0.0


def chosen_engine(
    settings: Settings,
    federation: FederationSpec,
    policy: PolicySpec,
    framework: Callable[[ClientPlan], Protocol],
    answer: AnalyticResult,
) -> Choice:
    """The engine that answers a result.

    Parameters
    ----------
    settings : Settings
    federation : FederationSpec
    policy : PolicySpec
    framework : callable
        Plan to protocol.
    answer : AnalyticResult
        The closed form's own answer, which says whether it is exact.

    Raises
    ------
    ScenarioError
        If the engine that was asked for cannot honour a key, or the run would be too long.
    """
    beyond = list(_beyond_closed_form(federation, policy))
    if settings.engine == "analytic":
        if beyond:
            raise ScenarioError(
                f"engine = 'analytic' has no clients one by one and cannot honour "
                f'{", ".join(beyond)}; set engine = "auto".'
            )
        return Choice("analytic", "asked for")
    if answer.infeasible is not None:
        return Choice("analytic", "the plan does not fit into memory: nothing was simulated")
    if settings.engine == "auto" and not beyond and answer.round_time.is_exact:
        return Choice("analytic", "nobody queues, so a simulation would find the same")
    load = _Load.of(federation, policy, framework)
    if policy.overlap and settings.engine in ("scale", "sampled"):
        raise ScenarioError(
            f"engine = '{settings.engine}' has one thing at a time for each client and cannot "
            'honour policy.overlap = true; set engine = "des", or leave it out.'
        )
    if settings.engine == "auto":
        why = ", ".join(beyond) if beyond else answer.round_time.why
        return _simulating(load, federation, policy, why)
    if settings.engine == "sampled":
        return _sampling(load, federation, policy, "asked for")
    return _choice(settings.engine, "asked for", load)


def check_traceable(
    federation: FederationSpec, policy: PolicySpec, framework: Callable[[ClientPlan], Protocol]
) -> None:
    """Refuse a trace that would not fit in memory.

    Raises
    ------
    ScenarioError
        With what to make smaller.
    """
    load = _Load.of(federation, policy, framework)
    if load.events > _MAX_TRACED_EVENTS:
        raise ScenarioError(
            f"about {load.events:,} events in all; a trace holds {_MAX_TRACED_EVENTS:,}. {_LOWER}"
        )


def check_shares(choices: Iterable[Choice]) -> None:
    """Refuse results that are fine one by one and too many together.

    Raises
    ------
    ScenarioError
        With how much too many they are.
    """
    total = sum(choice.share for choice in choices)
    if total > _MAX_SHARES:
        raise ScenarioError(
            f"all results together are as large as {total:,.1f} of the largest runs that are "
            f"allowed; allowed: {_MAX_SHARES:g}. Sweep fewer values. {_LOWER}"
        )


@dataclass(frozen=True)
class _Load:
    """How much there is to simulate, roughly."""

    num_clients: int
    num_rounds: int
    client_rounds: int
    events: int
    visits: int
    ledger_rows: int
    cycles: bool
    is_exclusive: bool

    @classmethod
    def of(
        cls,
        federation: FederationSpec,
        policy: PolicySpec,
        framework: Callable[[ClientPlan], Protocol],
    ) -> _Load:
        steps = visits = client_rounds = rows = 0
        is_free = policy.mode != "synchronous"
        cycles, is_exclusive = is_free, False
        for client_class, asked, num_rounds in _planned(federation, policy):
            protocol = framework(client_class.plan)
            own_steps, own_visits, own_cycles = _steps(protocol)
            is_exclusive = is_exclusive or has_exclusive_steps(protocol.round)
            share = client_class.num_clients / federation.num_clients
            num = max(1, round(asked * share)) * num_rounds
            cycles = cycles or own_cycles or client_class.link.trace is not None
            comes_back = client_class.availability != AlwaysOn()
            comes_back = comes_back or client_class.spread.dropout_probability > 0
            cycles = cycles or (policy.retries > 0 and comes_back)
            tries = 1 + client_class.spread.dropout_probability * policy.retries
            client_rounds += num
            steps += round(num * own_steps * tries)
            visits += round(num * own_visits * tries)
            own_rows = sum(len(s.steps) for s in protocol.round if isinstance(s, Each))
            rows += own_rows * (1 if is_free else num_rounds)
        per_step = _EVENTS_PER_FREE_STEP if is_free else _EVENTS_PER_STEP
        return cls(
            num_clients=federation.num_clients,
            num_rounds=federation.num_rounds,
            client_rounds=client_rounds,
            events=steps * per_step,
            visits=visits,
            ledger_rows=rows,
            cycles=cycles,
            is_exclusive=is_exclusive,
        )


def _planned(
    federation: FederationSpec, policy: PolicySpec
) -> Iterator[tuple[ClientClass, int, int]]:
    """Every class in every stretch of rounds that are alike, how many are asked, in how many."""
    num_clients = federation.num_clients
    if scheduled_needs(federation, policy):
        # Nobody knows ahead of the run; the plans without schedules are as good as any.
        asked = num_clients if policy.schedules else policy.num_asked(num_clients)
        yield from ((c, asked, federation.num_rounds) for c in federation.classes)
        return
    for period in periods(federation, policy):
        asked = (period.policy or policy).num_asked(num_clients)
        if policy.buffer_size is not None:
            asked = max(policy.buffer_size, -(-asked // period.num_rounds))
        yield from ((c, asked, period.num_rounds) for c in period.federation.classes)


def _steps(protocol: Protocol) -> tuple[int, int, bool]:
    """Steps and visits of a round, and whether any resource is visited twice in a segment."""
    steps = visits = 0
    cycles = False
    for segment in protocol.round:
        if not isinstance(segment, Each):
            continue
        seen: list[str] = []
        for times, step in leaf_steps(segment.steps):
            if isinstance(step, Compute) and step.site is Site.CLIENT:
                steps += 1
                continue
            steps += times
            visits += times
            name = "server" if isinstance(step, Compute) else step.direction.value
            cycles = cycles or times > 1 or name in seen or name == "server"
            seen.append(name)
    return steps, visits, cycles


def _simulating(load: _Load, federation: FederationSpec, policy: PolicySpec, what: str) -> Choice:
    if policy.overlap:
        reason = f"the only engine in which a client computes and sends at once ({what})"
        return _choice("des", reason, load)
    if load.events <= _SMALL_EVENTS:
        reason = f"small enough for the reference engine ({what})"
        return _choice("des", reason, load)
    reason = f"{load.client_rounds:,} client-rounds ({what})"
    if load.cycles and load.visits > _MAX_SCALE_VISITS:
        try:
            return _sampling(load, federation, policy, f"{load.visits:,} visits, {reason}")
        except ScenarioError:
            # What cannot be sampled is told how much too large it is.
            pass
    return _choice("scale", reason, load)


def _sampling(load: _Load, federation: FederationSpec, policy: PolicySpec, reason: str) -> Choice:
    # Imported late: nobody else here needs compiled kernels.
    from fedsim.scale import check_sampled

    check_sampled(federation, policy, is_exclusive=load.is_exclusive)
    possible = _SAMPLED_VISITS * load.client_rounds // max(1, load.visits * load.num_rounds)
    num = min(max(possible, _LEAST_SAMPLE), _LARGEST_SAMPLE)
    share = min(1.0, num * load.num_rounds / load.client_rounds)
    smaller = replace(load, visits=round(load.visits * share))
    return _choice("sampled", reason, smaller, num)


def _choice(engine: Engine, reason: str, load: _Load, num_sampled: int | None = None) -> Choice:
    """An engine for a run; refused where that is larger than the largest.

    Raises
    ------
    ScenarioError
        With what is too much, and what to make smaller.
    """
    share = work = 0.0
    room = [
        ("rounds", load.num_rounds, _MAX_ROUNDS),
        ("clients", load.num_clients, _MAX_CLIENTS),
        ("rows of the ledger (a step, class and round each)", load.ledger_rows, _MAX_LEDGER_ROWS),
    ]
    for what, found, allowed in (*room, *_work_limits(load, engine)):
        if found > allowed:
            raise ScenarioError(
                f"about {found:,} {what} in all; engine '{engine}' takes {allowed:,}. {_LOWER}"
            )
        share = max(share, found / allowed)
    for _, found, allowed in _work_limits(load, engine):
        work = max(work, found / allowed)
    return Choice(engine, reason, share, num_sampled, work)


def _work_limits(load: _Load, engine: Engine) -> Iterator[tuple[str, int, int]]:
    """What takes the time of a run."""
    if engine == "des":
        yield "events", load.events, _MAX_DES_EVENTS
        return
    yield "client-rounds", load.client_rounds, _MAX_SCALE_CLIENT_ROUNDS
    if load.cycles:
        yield "visits of links and accelerators", load.visits, _MAX_SCALE_VISITS


def _beyond_closed_form(federation: FederationSpec, policy: PolicySpec) -> Iterator[str]:
    """Keys whose effect no closed form has."""
    can_fail = any(c.spread.dropout_probability for c in federation.classes)
    needs = scheduled_needs(federation, policy)
    if needs:
        yield f"a schedule that looks at {', '.join(needs)}"
    if policy.schedules:
        yield "policy.clients_per_round by round"
    for name in policy.__dataclass_fields__:
        value = getattr(policy, name)
        if name == "schedules":
            continue
        if name == "failure_timeout_s" and not can_fail:
            continue
        if value != getattr(PolicySpec(), name):
            yield f"policy.{name.removesuffix('_s')} = {_written(name, value)}"
    server = federation.server
    plain = ServerSpec(server.device)
    for name in ("discipline", "max_batch"):
        if getattr(server, name) != getattr(plain, name):
            yield f"server.{name} = {getattr(server, name)!r}"
    if server.order != plain.order:
        yield f"split.server_order = {server.order!r}"
    yield from dict.fromkeys(what for c in federation.classes for what in _unequal(c))


def _written(name: str, value: object) -> str:
    if name.endswith("_s") and isinstance(value, float):
        return format_seconds(value)
    return "true" if value is True else repr(value)


def _unequal(client_class: ClientClass) -> Iterator[str]:
    """What tells a class's clients or moments apart."""
    spread = client_class.spread
    for name in ("slowdown", "uplink", "downlink", "round_trip"):
        if getattr(spread, name) is not None:
            yield f"clients of unequal {name.replace('_', ' ')}"
    if spread.round_sigma:
        yield "device.round_variation"
    if spread.dropout_probability:
        yield "dropout_probability"
    if client_class.availability != AlwaysOn():
        yield "availability"
    if client_class.client_samples is not None:
        yield "clients of unequal data"
    if client_class.link.trace is not None:
        yield "link.trace"
