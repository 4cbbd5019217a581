"""Which interpreter answers: the one asked for, or the cheapest that is exact.

A key that an engine cannot honour is an error there; ``auto`` never picks such an engine. Runs that
would take hours are refused ahead of time, with what to make smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from fedsim.analytic import AnalyticResult
from fedsim.errors import ScenarioError
from fedsim.protocol.step import Compute, Each, Protocol, Site, leaf_steps
from fedsim.scenario.settings import Settings
from fedsim.spec.availability import AlwaysOn
from fedsim.spec.federation import FederationSpec, ServerSpec
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySpec

__all__ = ["Choice", "chosen_engine"]

Engine = Literal["analytic", "des", "scale"]

#: What an engine takes at most: seconds to a few minutes on one core.
_MAX_CLIENTS: Final = 2_000_000
_MAX_DES_EVENTS: Final = 10_000_000
_MAX_SCALE_CLIENT_ROUNDS: Final = 200_000_000
_MAX_SCALE_VISITS: Final = 60_000_000
_MAX_ROUNDS: Final = 100_000
#: Up to here a SimPy run takes about a second, and loading compiled kernels does not pay.
_SMALL_EVENTS: Final = 100_000
_EVENTS_PER_STEP: Final = 6


@dataclass(frozen=True)
class Choice:
    """An engine and why.

    Attributes
    ----------
    engine : {"analytic", "des", "scale"}
    reason : str
    """

    engine: Engine
    reason: str


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
    if settings.engine == "auto" and not beyond and answer.round_time.is_exact:
        return Choice("analytic", "nobody waits for anybody, so the closed form is exact")
    load = _Load.of(federation, policy, framework)
    if settings.engine == "auto":
        what = ", ".join(beyond) if beyond else answer.round_time.why
        return _simulating(load, policy, what)
    _check_load(load, settings.engine, policy)
    return Choice(settings.engine, "asked for")


@dataclass(frozen=True)
class _Load:
    """How much there is to simulate."""

    num_clients: int
    client_rounds: int
    events: int
    visits: int
    cycles: bool

    @classmethod
    def of(
        cls,
        federation: FederationSpec,
        policy: PolicySpec,
        framework: Callable[[ClientPlan], Protocol],
    ) -> _Load:
        steps = visits = client_rounds = 0
        asked = policy.num_asked(federation.num_clients)
        share = asked / federation.num_clients
        cycles = policy.mode != "synchronous"
        contributions = policy.buffer_size or asked
        for client_class in federation.classes:
            own_steps, own_visits, own_cycles = _steps(framework(client_class.plan))
            num = max(1, round(client_class.num_clients * share)) * federation.num_rounds
            if policy.mode == "buffered":
                num = max(1, round(contributions * federation.num_rounds * num / max(1, asked)))
                num //= max(1, federation.num_rounds)
            cycles = cycles or own_cycles or client_class.link.trace is not None
            cycles = cycles or (
                policy.retries > 0 and not isinstance(client_class.availability, AlwaysOn)
            )
            client_rounds += num
            steps += num * own_steps
            visits += num * own_visits
        return cls(federation.num_clients, client_rounds, steps * _EVENTS_PER_STEP, visits, cycles)


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


def _simulating(load: _Load, policy: PolicySpec, what: str) -> Choice:
    if policy.mode != "synchronous":
        _check_load(load, "des", policy)
        return Choice("des", f"modes without common rounds are simulated event by event ({what})")
    if load.events <= _SMALL_EVENTS:
        return Choice("des", f"small enough for the reference engine ({what})")
    _check_load(load, "scale", policy)
    return Choice("scale", f"{load.client_rounds:,} client-rounds ({what})")


def _check_load(load: _Load, engine: str, policy: PolicySpec) -> None:
    limits = [("clients", load.num_clients, _MAX_CLIENTS, "fleet.num_clients")]
    if engine == "des":
        limits.append(("events", load.events, _MAX_DES_EVENTS, "fleet.num_clients"))
    elif policy.mode != "synchronous":
        raise ScenarioError(
            f"engine = 'scale' simulates common rounds and not policy.mode = '{policy.mode}'; set "
            'engine = "des" or "auto".'
        )
    else:
        limits.append(
            ("client-rounds", load.client_rounds, _MAX_SCALE_CLIENT_ROUNDS, "fleet.num_clients")
        )
        if load.cycles:
            limits.append(
                ("visits of links and accelerators", load.visits, _MAX_SCALE_VISITS,
                 "fleet.num_clients")
            )  # fmt: skip
    for what, found, allowed, key in limits:
        if found > allowed:
            raise ScenarioError(
                f"about {found:,} {what} in all; engine '{engine}' takes {allowed:,}. Lower "
                f"workload.num_rounds, {key}, policy.clients_per_round or the number of batches."
            )


def _beyond_closed_form(federation: FederationSpec, policy: PolicySpec) -> Iterator[str]:
    """Keys whose effect no closed form has."""
    for name, value in _changed(policy, PolicySpec()):
        yield f"policy.{name.removesuffix('_s')} = {value}"
    plain = ServerSpec(federation.server.device)
    for name in ("discipline", "max_batch"):
        if getattr(federation.server, name) != getattr(plain, name):
            yield f"server.{name} = {getattr(federation.server, name)!r}"
    if federation.server.order != plain.order:
        yield f"split.server_order = {federation.server.order!r}"
    found: dict[str, None] = {}
    for client_class in federation.classes:
        spread = client_class.spread
        for name in ("slowdown", "uplink", "downlink", "round_trip"):
            if getattr(spread, name) is not None:
                found.setdefault(f"clients of unequal {name.replace('_', ' ')}")
        if spread.round_sigma:
            found.setdefault("device.round_variation")
        if spread.dropout_probability:
            found.setdefault("dropout_probability")
        if client_class.availability != AlwaysOn():
            found.setdefault("availability")
        if client_class.client_samples is not None:
            found.setdefault("clients of unequal data")
        if client_class.link.trace is not None:
            found.setdefault("link.trace")
    yield from found


def _changed(policy: PolicySpec, plain: PolicySpec) -> Iterator[tuple[str, object]]:
    for name in policy.__dataclass_fields__:
        value = getattr(policy, name)
        if value != getattr(plain, name):
            yield name, repr(value)
