"""``periods`` of a result: stretches of rounds with equal plans, where schedules change them."""

from __future__ import annotations

from typing import Any

from fedsim.analytic import PeriodCost
from fedsim.protocol.step import Protocol
from fedsim.scenario.answer.class_table import client_round_table
from fedsim.scenario.answer.outcome import Outcome
from fedsim.scenario.file.settings import Settings
from fedsim.spec.federation import FederationSpec

__all__ = ["changing", "period_tables"]


def changing(settings: Settings, federation: FederationSpec, found: Outcome) -> str | None:
    """What of a federation changes by round, in words; None where schedules change nothing.

    What a framework does not read leaves its protocols as they are, and is no change.
    """
    if not settings.schedule:
        return None
    asked = settings.policy.clients_per_round
    as_built = _protocols(federation, found)
    is_changed = bool(found.looks_further) or any(
        (part.period.policy is not None and part.period.policy.clients_per_round != asked)
        or _protocols(part.period.federation, found) != as_built
        for part in found.answer.periods
    )
    if not is_changed:
        return None
    names = (table.scheduled or table.use for table in settings.schedule)
    return ", ".join(dict.fromkeys(name for name in names if name))


def _protocols(federation: FederationSpec, found: Outcome) -> list[Protocol]:
    own = [found.framework(c.plan) for c in federation.classes]
    return [*own, found.framework(federation.server_plan)]


def period_tables(found: Outcome) -> list[dict[str, Any]]:
    """One table for each stretch; empty where all rounds are planned alike.

    Where a schedule looks at more than the round's number, no stretch is known.
    """
    parts = found.answer.periods
    return [_period(found, part) for part in parts] if len(parts) > 1 else []


def _period(found: Outcome, part: PeriodCost) -> dict[str, Any]:
    period, is_feasible = part.period, found.answer.infeasible is None
    return {
        "first": period.first,
        "last": period.last,
        "clients_per_round": None if period.policy is None else period.policy.clients_per_round,
        "round_time_s": _round_s(found, part) if is_feasible else None,
        "server_per_round": {
            "flop": part.server_round.server_flop,
            "peak_memory_bytes": part.server_memory_bytes,
        },
        "classes": [
            {
                "name": cost.client_class.name,
                "num_clients": cost.client_class.num_clients,
                "batch_size": cost.client_class.plan.batch_size,
                "samples_per_client": cost.client_class.plan.train_epochs[0].num_samples,
                "local_epochs": len(cost.client_class.plan.train_epochs),
                "accumulation_steps": cost.client_class.plan.accumulation_steps,
                "distillation_epochs": cost.client_class.plan.distillation_epochs,
                "per_client_round": client_round_table(cost, is_feasible=is_feasible),
            }
            for cost in part.classes
        ],
    }


def _round_s(found: Outcome, part: PeriodCost) -> float:
    """A round of the stretch, in the mean [s]."""
    if found.simulated is None:
        return part.round_time.mean_s
    rounds = found.simulated.round_s[part.period.first - 1 : part.period.last]
    return float(rounds.mean())
