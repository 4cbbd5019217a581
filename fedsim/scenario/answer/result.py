"""What a scenario answers, as the JSON that other programs may rely on.

Decides the keys and what each quantity claims to be. Nothing is computed here but sums.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from fedsim.analytic import AnalyticResult
from fedsim.ledger import SETUP_ROUND, LedgerRow
from fedsim.scenario.answer.accuracy import accuracy_tables
from fedsim.scenario.answer.class_table import (
    BYTES,
    class_table,
    device_table,
    memory_table,
    picked,
)
from fedsim.scenario.answer.economy import (
    Spent,
    economy_tables,
    spent_in_closed_form,
    spent_in_simulation,
    stretches,
)
from fedsim.scenario.answer.encoding import encoding_notes
from fedsim.scenario.answer.exactness import exactness, notes
from fedsim.scenario.answer.intervals import with_intervals
from fedsim.scenario.answer.outcome import Outcome
from fedsim.scenario.answer.period_table import changing, period_tables
from fedsim.scenario.answer.run_costs import run_costs
from fedsim.scenario.answer.simulated import (
    idle_fractions,
    simulated_tables,
    simulated_total,
)
from fedsim.scenario.build.case import Case
from fedsim.scenario.build.hardware import device_warnings
from fedsim.scenario.build.privacy import privacy_entry
from fedsim.scenario.file.settings import Settings
from fedsim.spec.federation import FederationSpec
from fedsim.units import format_seconds
from fedsim.version import __version__

__all__ = ["SCHEMA", "ScenarioResult", "answer_json", "result_table"]

SCHEMA: Final = 2
_TOTALS: Final = (*BYTES, "messages", "client_flop", "server_flop")


@dataclass(frozen=True)
class ScenarioResult:
    """The answer to one scenario file.

    Attributes
    ----------
    table : dict
        One entry of ``scenarios`` in the JSON: file, question, seed, engine, profile, results.
    """

    table: dict[str, Any]

    @property
    def results(self) -> list[dict[str, Any]]:
        """One table for each result, in the order of the file."""
        results: list[dict[str, Any]] = self.table["results"]
        return results


def answer_json(answers: list[ScenarioResult]) -> str:
    """The whole document; the same input gives the same bytes."""
    document = {
        "schema": SCHEMA,
        "fedsim": __version__,
        "scenarios": [answer.table for answer in answers],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def result_table(
    case: Case,
    settings: Settings,
    federation: FederationSpec,
    found: Outcome,
) -> dict[str, Any]:
    """One result.

    Parameters
    ----------
    case : Case
    settings : Settings
        What the result was computed from; it comes back in every class's plan.
    federation : FederationSpec
    found : Outcome
    """
    answer = found.answer
    table = {
        **_identity(case, federation, found),
        "classes": _classes(settings, found),
        "setup": _setup(answer, _setup_seconds(found)),
        "server_per_round": {
            "flop": answer.server_round.server_flop,
            "peak_memory_bytes": answer.server_memory_bytes,
            **memory_table(federation.server.device, answer.server_memory_bytes, settings),
        },
        "server": _server(federation),
        "privacy": privacy_entry(found.protection, answer),
        **dict.fromkeys(("totals", "wasted", "rounds", "utilization", "round_time_s")),
        **dict.fromkeys(("makespan_s", "energy", "money", "successful_round", "common_draws")),
    }
    if periods := period_tables(found):
        table["periods"] = periods
    names = ("accuracy", "to_target", "under_budget", "no_accuracy")
    none: dict[str, Any] = dict.fromkeys(names)
    lines = [
        *device_warnings(federation),
        *notes(settings, found),
        *encoding_notes(found, federation.server.device),
    ]
    if answer.infeasible is None:
        table |= _run_tables(settings, federation, found)
        costs = run_costs(table, settings.price, federation, found.framework, found.simulated)
        schedule = changing(settings, federation, found)
        none |= accuracy_tables(table, settings, found.laws, federation, costs, schedule)
        if none["no_accuracy"]:
            lines.append(f"no accuracy: {none['no_accuracy']}")
    return table | none | {"exactness": exactness(settings, found), "notes": lines}


def _run_tables(settings: Settings, federation: FederationSpec, found: Outcome) -> dict[str, Any]:
    """Everything that only what can run has: totals, times, energy, money."""
    answer, simulated = found.answer, found.simulated
    if simulated is None:
        tables = {
            "totals": picked(answer.total, _TOTALS),
            **_closed_form_times(answer, federation.num_rounds),
        }
    else:
        tables = simulated_tables(simulated, answer, _TOTALS)
    tables |= economy_tables(settings.price, federation, _spent(federation, found))
    # What rounds take, and the set-up apart: a plan's length decides nothing between two of them.
    rounds = economy_tables(settings.price, federation, _spent(federation, found, setup=False))
    tables["energy"]["rounds_j"] = rounds["energy"]["total_j"]
    if tables["money"] is not None:
        tables["money"]["rounds"] = rounds["money"]["total"]
        tables["money"]["setup"] = _difference(tables["money"]["total"], tables["money"]["rounds"])
    assert found.draws is not None
    num_succeeded = federation.num_rounds if found.simulated is None else found.num_succeeded
    spent_s = float(simulated.round_s.sum()) if simulated is not None else None
    return with_intervals(tables, federation.num_rounds, num_succeeded, found.draws, spent_s)


def _spent(federation: FederationSpec, found: Outcome, *, setup: bool = True) -> Spent:
    answer, simulated = found.answer, found.simulated
    if simulated is not None:
        total = simulated_total(simulated, answer) if setup else _of_rounds(found)
        return spent_in_simulation(federation, simulated.result, total, setup=setup)
    total = answer.total if setup else _of_rounds(found)
    return spent_in_closed_form(federation, stretches(answer), total)


def _of_rounds(found: Outcome) -> LedgerRow:
    """What all rounds sent, without the set-up."""
    if found.simulated is not None:
        rows = found.simulated.result.ledger
        return rows.total((k, r) for k, r in rows.rows.items() if k.round_index != SETUP_ROUND)
    total = LedgerRow()
    total.add(found.answer.total)
    for name in BYTES:
        setup = sum(
            c.client_class.num_clients * getattr(c.setup, name) for c in found.answer.classes
        )
        setattr(total, name, getattr(total, name) - setup)
    return total


def _difference(total: float | None, part: float | None) -> float | None:
    return None if total is None or part is None else max(0.0, total - part)


def _classes(settings: Settings, found: Outcome) -> list[dict[str, Any]]:
    answer = found.answer
    is_feasible = answer.infeasible is None
    idle: list[float | None] = [None] * len(answer.classes)
    if found.simulated is not None:
        idle = list(idle_fractions(found.simulated))
    elif is_feasible:
        round_s = answer.round_time.mean_s
        idle = [
            max(0.0, 1 - own_s / round_s) if round_s > 0 else 0.0
            for own_s in _mean_own_seconds(answer)
        ]
    return [
        class_table(
            cost,
            found.framework(cost.client_class.plan),
            settings,
            is_feasible=is_feasible,
            idle_fraction=fraction,
        )
        for cost, fraction in zip(answer.classes, idle, strict=True)
    ]


def _mean_own_seconds(answer: AnalyticResult) -> list[float]:
    """A round of one client of each class alone, in the mean over all rounds [s]."""
    parts = answer.periods
    num = sum(part.period.num_rounds for part in parts)
    return [
        # One period is the mean of itself, to the last bit.
        parts[0].classes[i].seconds.total
        if len(parts) == 1
        else sum(p.period.num_rounds * p.classes[i].seconds.total for p in parts) / num
        for i in range(len(answer.classes))
    ]


def _identity(case: Case, federation: FederationSpec, found: Outcome) -> dict[str, Any]:
    return {
        "name": case.name,
        "case": case.case_name,
        "axes": dict(case.axes),
        "framework": case.framework.name,
        "engine_used": found.choice.engine,
        "engine_reason": found.choice.reason,
        "status": found.status,
        "reason": _reason(found),
        "suggestions": [
            {
                "who": who,
                "changes": dict(suggestion.changes),
                "peak_memory_bytes": suggestion.peak_bytes,
            }
            for who, suggestion in found.answer.suggestions
        ],
        "excluded": [asdict(each) for each in found.excluded],
        "num_rounds": federation.num_rounds,
    }


def _reason(found: Outcome) -> str | None:
    """Why a result cannot run, or why rounds of it failed."""
    if found.status in ("infeasible", "ok"):
        return found.answer.infeasible
    assert found.simulated is not None
    num = len(found.simulated.round_s)
    policy = found.simulated.simulation.policy
    waited = policy.deadline_s or policy.window_s
    within = f" within {format_seconds(waited)}" if waited is not None else ""
    return (
        f"{found.simulated.num_failed:,} of {num:,} rounds failed: nobody's contribution came"
        f"{within}"
    )


def _setup_seconds(found: Outcome) -> float:
    simulated = found.simulated
    if simulated is not None and simulated.simulation.policy.simulates_setup:
        return simulated.result.setup_s
    return found.setup_s


def _server(federation: FederationSpec) -> dict[str, Any]:
    server = federation.server
    return {
        "device": device_table(server.device),
        "num_accelerators": server.num_accelerators,
        "uplink_bytes_per_s": server.uplink_bytes_per_s,
        "downlink_bytes_per_s": server.downlink_bytes_per_s,
    }


def _closed_form_times(answer: AnalyticResult, num_rounds: int) -> dict[str, Any]:
    time = answer.round_time
    return {
        "round_time_s": {
            "mean": time.mean_s,
            **_quantiles(answer),
            "compute": time.compute_s,
            "transfer": time.transfer_s,
            "wait": time.wait_s,
        },
        "makespan_s": {"mean": num_rounds * time.mean_s},
    }


def _quantiles(answer: AnalyticResult) -> dict[str, float]:
    """Of the rounds' times, which differ by their plans alone here."""
    if len(answer.periods) == 1:
        return dict.fromkeys(("p05", "p50", "p95"), answer.round_time.mean_s)
    rounds = np.repeat(
        [part.round_time.mean_s for part in answer.periods],
        [part.period.num_rounds for part in answer.periods],
    )
    return {f"p{q:02}": float(np.quantile(rounds, q / 100)) for q in (5, 50, 95)}


def _setup(answer: AnalyticResult, setup_s: float) -> dict[str, Any]:
    """Of all clients together; one client's stands with its class."""
    sums = {
        name: sum(
            cost.client_class.num_clients * getattr(cost.setup, name) for cost in answer.classes
        )
        for name in BYTES
    }
    return {**sums, "transfer_s": setup_s}
