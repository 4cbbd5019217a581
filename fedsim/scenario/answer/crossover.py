"""What would change the answer: the nearest change of one figure at which another case takes less.

Decides which figures are turned and how far. Only what the closed form answers exactly is searched;
where clients queue, the sweep of a file is the way to look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, log
from typing import Any, Final

from fedsim.analytic import count_client, periods, timed
from fedsim.comparison.wording import significant
from fedsim.errors import FedsimError
from fedsim.ledger import Ledger
from fedsim.scenario.build.checked_case import CheckedCase
from fedsim.scenario.build.federation import built_federation
from fedsim.spec.federation import FederationSpec

__all__ = ["Side", "crossovers"]

#: How far each figure is turned: 32 times up and down.
_FARTHEST: Final = 5
_BISECTIONS: Final = 14

_Cost = Callable[[FederationSpec, CheckedCase], float | None]
_Turned = Callable[[CheckedCase, float], FederationSpec | None]


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two cases that are compared.

    Attributes
    ----------
    entry : CheckedCase
    name : str
        What an answer calls it.
    rounds : float
        Rounds that it needs, for a target; else 1.
    """

    entry: CheckedCase
    name: str
    rounds: float = 1.0


def crossovers(metric: str, less: Side, more: Side, *, to_target: bool) -> list[dict[str, Any]]:
    """For each figure the nearest factor at which the order of two cases turns over.

    Parameters
    ----------
    metric : {"time", "bytes", "flop"}
    less, more : Side
        As they are ordered now.
    to_target : bool
        Whether rounds to a target are compared; then only devices and links are turned, for what
        is trained decides the rounds.

    Returns
    -------
    list of dict
        ``key``, ``factor``, ``value`` (None where classes differ) and ``text``, the nearest first.
    """
    cost = _COSTS.get(metric)
    if cost is None:
        return []
    found = []
    for key, turned, in_training in _KNOBS:
        if (to_target and in_training) or not _matters(key, metric, less, more):
            continue
        factor = _nearest(cost, turned, less, more)
        if factor is not None:
            found.append(_table(key, factor, metric, less, more))
    return sorted(found, key=lambda entry: abs(log(entry["factor"])))


def _links(entry: CheckedCase, factor: float) -> FederationSpec:
    classes = tuple(
        replace(
            c,
            link=replace(
                c.link,
                uplink_bytes_per_s=c.link.uplink_bytes_per_s * factor,
                downlink_bytes_per_s=c.link.downlink_bytes_per_s * factor,
            ),
        )
        for c in entry.federation.classes
    )
    return replace(entry.federation, classes=classes)


def _devices(entry: CheckedCase, factor: float) -> FederationSpec:
    classes = []
    for c in entry.federation.classes:
        seconds = {name: value / factor for name, value in c.device.seconds_per_unit.items()}
        classes.append(replace(c, device=replace(c.device, seconds_per_unit=seconds)))
    return replace(entry.federation, classes=tuple(classes))


def _setting(table: str, name: str) -> _Turned:
    def turned(entry: CheckedCase, factor: float) -> FederationSpec | None:
        own = getattr(entry.settings, table)
        value = None if own is None else getattr(own, name)
        if value is None:
            return entry.federation
        changed = own.model_copy(update={name: max(1, round(value * factor))})
        settings = entry.settings.model_copy(update={table: changed})
        return built_federation(settings, entry.context)[0]

    return turned


#: Key, how it is turned, and whether it changes what is trained.
_KNOBS: Final[tuple[tuple[str, _Turned, bool], ...]] = (
    ("links", _links, False),
    ("client devices", _devices, False),
    ("workload.samples_per_client", _setting("workload", "samples_per_client"), True),
    ("workload.public_samples", _setting("workload", "public_samples"), True),
    ("lora.r", _setting("lora", "r"), True),
)


def _matters(key: str, metric: str, less: Side, more: Side) -> bool:
    if key in ("links", "client devices"):
        return metric == "time"
    if key.startswith("workload.") and less.entry.settings.workload.padding != "max_tokens":
        # Each text is then priced by its own length: a search over data sizes would take minutes.
        return False
    if key == "workload.public_samples":
        return any(side.entry.case.framework.may_read(key) for side in (less, more))
    return True


def _bytes(federation: FederationSpec, entry: CheckedCase) -> float:
    return _mean(federation, entry, ("uplink_payload_bytes", "downlink_payload_bytes"))


def _flop(federation: FederationSpec, entry: CheckedCase) -> float:
    return _mean(federation, entry, ("client_flop",))


def _mean(federation: FederationSpec, entry: CheckedCase, names: tuple[str, ...]) -> float:
    """Counts of one client in a round, in the mean over all; nothing else is worked out."""
    total = 0
    for period in periods(federation):
        for client_class in period.federation.classes:
            ledger = Ledger()
            protocol = entry.case.framework(client_class.plan)
            training = client_class.plan.training
            count_client(ledger, 1, client_class.name, protocol.round, training)
            row = ledger.total()
            times = client_class.num_clients * period.num_rounds
            total += times * sum(getattr(row, name) for name in names)
    return total / (federation.num_clients * federation.num_rounds)


def _time(federation: FederationSpec, entry: CheckedCase) -> float | None:
    found = timed(federation, entry.case.framework)
    if not all(one.round_time.is_exact for _, one in found):
        return None
    return sum(n * one.round_time.mean_s for n, one in found) / sum(n for n, _ in found)


_COSTS: Final[dict[str, _Cost]] = {"time": _time, "bytes": _bytes, "flop": _flop}


def _nearest(cost: _Cost, turned: _Turned, less: Side, more: Side) -> float | None:
    """The factor nearest to 1 at which the two cost the same; None where there is none."""

    def gap(factor: float) -> float | None:
        values = [_cost_at(cost, turned, side, factor) for side in (less, more)]
        if values[0] is None or values[1] is None or values[0] <= 0 or values[1] <= 0:
            return None
        return log(values[1] / values[0])

    for power in range(1, _FARTHEST + 1):
        for sign in (1, -1):
            far = 2.0 ** (sign * power)
            found = gap(far)
            if found is not None and found < 0:
                return _bisected(gap, 2.0 ** (sign * (power - 1)), far)
    return None


def _bisected(gap: Callable[[float], float | None], near: float, far: float) -> float:
    """Between a factor at which the order stands and one at which it has turned over."""
    low, high = log(near), log(far)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        found = gap(exp(middle))
        if found is not None and found < 0:
            high = middle
        else:
            low = middle
    return exp(high)


def _cost_at(cost: _Cost, turned: _Turned, side: Side, factor: float) -> float | None:
    try:
        federation = turned(side.entry, factor)
        if federation is None:
            return None
        value = cost(federation, side.entry)
    except FedsimError:
        # No such plan: more samples than a batch order takes, say.
        return None
    return None if value is None else side.rounds * value


def _table(key: str, factor: float, metric: str, less: Side, more: Side) -> dict[str, Any]:
    value = _value(key, factor, less.entry, more.entry)
    verb = {"time": "takes less time", "bytes": "sends less", "flop": "computes less"}[metric]
    times = f"{significant(factor if factor > 1 else 1 / factor, 2)}x"
    if key in ("links", "client devices"):
        where = f"{key} {times} {'faster' if factor > 1 else 'slower'}"
    else:
        where = f"{key} = {value:,}" if value is not None else f"{key} x {significant(factor, 2)}"
    text = f"{where}: {more.name} {verb} than {less.name}"
    return {"key": key, "factor": factor, "value": value, "metric": metric, "text": text}


def _value(key: str, factor: float, *entries: CheckedCase) -> int | None:
    if "." not in key:
        return None
    table, name = key.split(".")
    found = {
        getattr(own, name)
        for entry in entries
        if (own := getattr(entry.settings, table)) is not None and getattr(own, name) is not None
    }
    return max(1, round(found.pop() * factor)) if len(found) == 1 else None
