"""A simulated result: what the engine found, put into the answer's table.

Counts of one client and round stay the closed form's; times, totals and what was wasted are the
simulation's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedsim.analytic import AnalyticResult
from fedsim.fleet import Simulation, SimulationResult, prepare
from fedsim.fleet.energy import amounts_of
from fedsim.fleet.progress import ProgressCallback
from fedsim.fleet.trace import TraceEvent
from fedsim.ledger import SERVER, SETUP_ROUND, LedgerRow
from fedsim.protocol.step import Protocol
from fedsim.scenario.answer.engine_choice import Choice
from fedsim.spec.federation import FederationSpec
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySpec

__all__ = [
    "Simulated",
    "idle_fractions",
    "run_engine",
    "simulate_result",
    "simulated_tables",
    "simulated_total",
    "traced_events",
]

_WASTED: Final = (
    "uplink_payload_bytes",
    "downlink_payload_bytes",
    "uplink_message_bytes",
    "downlink_message_bytes",
    "client_flop",
    "server_flop",
)


@dataclass(frozen=True, eq=False)
class Simulated:
    """One simulation.

    Attributes
    ----------
    simulation : Simulation
    result : SimulationResult
    round_s : ndarray
        Each round from the end of the one before to its own [s].
    """

    simulation: Simulation
    result: SimulationResult
    round_s: NDArray[np.float64]

    @property
    def num_failed(self) -> int:
        """Rounds to which nobody contributed."""
        return int((self.result.rounds.num_used == 0).sum())


def simulate_result(
    choice: Choice,
    federation: FederationSpec,
    framework: Callable[[ClientPlan], Protocol],
    policy: PolicySpec,
    seed: int,
    progress: ProgressCallback | None = None,
) -> Simulated:
    """Draw a federation and simulate it; ``progress`` is told of its rounds."""
    simulation = prepare(federation, framework, policy, seed)
    result = run_engine(choice, simulation, progress)
    round_s = np.diff(np.concatenate(([result.setup_s], result.rounds.end_s)))
    return Simulated(simulation, result, round_s)


def traced_events(
    federation: FederationSpec,
    framework: Callable[[ClientPlan], Protocol],
    policy: PolicySpec,
    seed: int,
) -> tuple[TraceEvent, ...]:
    """Everything that happens in a run, by the reference engine."""
    from fedsim import des

    simulation = prepare(federation, framework, policy, seed)
    return des.simulate(simulation, keeps_trace=True).trace or ()


def run_engine(
    choice: Choice, simulation: Simulation, progress: ProgressCallback | None = None
) -> SimulationResult:
    """Run the engine that was chosen."""
    # Imported late: the closed form needs neither SimPy nor numba.
    if choice.engine == "des":
        from fedsim import des

        return des.simulate(simulation, progress=progress)
    from fedsim import scale

    return scale.simulate(simulation, num_sampled=choice.num_sampled, progress=progress)


def simulated_total(found: Simulated, answer: AnalyticResult) -> LedgerRow:
    """What all did in all rounds and sent in the set-up, simulated or not."""
    total = found.result.ledger.total()
    if not found.simulation.policy.simulates_setup:
        total.add(_setup(answer, found.simulation.federation))
    return total


def simulated_tables(
    found: Simulated, answer: AnalyticResult, totals: tuple[str, ...]
) -> dict[str, Any]:
    """The entries of a result's table that a simulation decides."""
    result = found.result
    rounds, round_s = result.rounds, found.round_s
    mean = float(round_s.mean())
    compute, transfer = float(rounds.compute_s.mean()), float(rounds.transfer_s.mean())
    ledger = result.ledger
    total = simulated_total(found, answer)
    wasted = ledger.total((k, r) for k, r in ledger.rows.items() if k.outcome != "used")
    p05, p50, p95 = (float(np.quantile(round_s, q)) for q in (0.05, 0.5, 0.95))
    return {
        "totals": {name: getattr(total, name) for name in totals},
        "wasted": {name: getattr(wasted, name) for name in _WASTED},
        "rounds": {
            "num_asked": int(rounds.num_asked.sum()),
            "num_used": int(rounds.num_used.sum()),
            "num_late": int(rounds.num_late.sum()),
            "num_lost": int(rounds.num_lost.sum()),
            "num_failed": found.num_failed,
        },
        "utilization": _utilization(found),
        "round_time_s": {
            "mean": mean,
            "p05": p05,
            "p50": p50,
            "p95": p95,
            "compute": compute,
            "transfer": transfer,
            # Where rounds overlap, the parts of one may be longer than the time between two.
            "wait": _rest(mean, compute + transfer),
        },
        "makespan_s": {"mean": result.makespan_s},
    }


def idle_fractions(found: Simulated) -> list[float]:
    """By class: share of the time of its clients' rounds that they wait for others."""
    fractions = []
    for number, client_class in enumerate(found.simulation.federation.classes):
        rows = (r for k, r in found.result.ledger.rows.items() if k.party == client_class.name)
        busy = amounts_of(rows)
        idle_s = found.result.idle_s[number]
        spent_s = idle_s + busy.compute_s + busy.uplink_s + busy.downlink_s + busy.idle_s
        fractions.append(idle_s / spent_s if spent_s > 0 else 0.0)
    return fractions


def _rest(mean: float, parts: float) -> float:
    """What is left of a round; rounding alone is nothing."""
    rest = mean - parts
    return rest if rest > 1e-9 * mean else 0.0


def _setup(answer: AnalyticResult, federation: FederationSpec) -> LedgerRow:
    """What the set-up sends, where it is not simulated: the closed form's count."""
    total = LedgerRow()
    for cost, client_class in zip(answer.classes, federation.classes, strict=True):
        for name in (
            "messages",
            "uplink_payload_bytes",
            "downlink_payload_bytes",
            "uplink_message_bytes",
            "downlink_message_bytes",
        ):
            amount = getattr(cost.setup, name) * client_class.num_clients
            setattr(total, name, getattr(total, name) + amount)
    return total


def _utilization(found: Simulated) -> dict[str, float | None]:
    """Shares of the rounds' time in which the server's resources were busy."""
    result, federation = found.result, found.simulation.federation
    server = federation.server
    spent = result.makespan_s
    fractions = {c.name: c.link.payload_fraction for c in federation.classes}
    wire = {"up": 0.0, "down": 0.0}
    for key, row in result.ledger.rows.items():
        if key.party != SERVER and (key.round_index != SETUP_ROUND or result.setup_s > 0):
            for way in wire:
                num_bytes = getattr(row, f"{way}link_message_bytes")
                wire[way] += num_bytes / fractions[key.party]

    def share(way: str, rate: float | None) -> float | None:
        return None if rate is None or spent <= 0 else wire[way] / (rate * spent)

    busy = result.accelerator_busy_s
    return {
        "accelerators": busy / (server.num_accelerators * spent) if spent > 0 else 0.0,
        "uplink": share("up", server.uplink_bytes_per_s),
        "downlink": share("down", server.downlink_bytes_per_s),
    }
