"""A simulated result: what the engine found, put into the answer's table.

Counts of one client and round stay the closed form's; times, totals and what was wasted are the
simulation's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedsim.analytic import AnalyticResult
from fedsim.fleet import Simulation, SimulationResult, prepare
from fedsim.fleet.progress import ProgressCallback
from fedsim.fleet.trace import TraceEvent
from fedsim.ledger import SERVER, SETUP_ROUND, LedgerRow
from fedsim.protocol.step import Protocol
from fedsim.scenario.engine import Choice
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import FederationSpec
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySpec

__all__ = [
    "Simulated",
    "simulate_result",
    "simulated_tables",
    "simulated_total",
    "traced_events",
]

#: Client-rounds over which the interval is simulated again at both of its ends.
_INTERVAL_CLIENT_ROUNDS: Final = 200_000
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
    """One simulation and its interval.

    Attributes
    ----------
    simulation : Simulation
    result : SimulationResult
    round_s : ndarray
        Each round from the end of the one before to its own [s].
    low, high : float
        Ends of the 95 % interval of the mean, as ratios to it.
    interval_rounds : int
        Rounds over which the ratios were found.
    """

    simulation: Simulation
    result: SimulationResult
    round_s: NDArray[np.float64]
    low: float
    high: float
    interval_rounds: int


def simulate_result(
    choice: Choice,
    federation: FederationSpec,
    framework: Callable[[ClientPlan], Protocol],
    policy: PolicySpec,
    seed: int,
    progress: ProgressCallback | None = None,
) -> Simulated:
    """Simulate, and once more with all devices at both ends of their intervals.

    The draws are the same, so the difference is the devices' alone. ``progress`` is told of the
    first of the three runs' rounds.
    """
    simulation = prepare(federation, framework, policy, seed)
    result = _run(choice, simulation, progress)
    round_s = np.diff(np.concatenate(([result.setup_s], result.rounds.end_s)))
    asked = max(1, policy.num_asked(federation.num_clients))
    num = min(federation.num_rounds, max(1, _INTERVAL_CLIENT_ROUNDS // asked))
    middle = float(round_s[:num].mean())
    ratios = []
    for end in (0, 1):
        other = _at_end(federation, end, num)
        found = _run(choice, prepare(other, framework, policy, seed))
        spent = float(found.rounds.end_s[-1]) - found.setup_s
        ratios.append(spent / num / middle if middle > 0 else 1.0)
    # Where waiting is for the clock or for absent clients, faster devices may change nothing.
    return Simulated(simulation, result, round_s, min(1.0, *ratios), max(1.0, *ratios), num)


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


def _run(
    choice: Choice, simulation: Simulation, progress: ProgressCallback | None = None
) -> SimulationResult:
    # Imported late: the closed form needs neither SimPy nor numba.
    if choice.engine == "des":
        from fedsim import des

        return des.simulate(simulation, progress=progress)
    from fedsim import scale

    return scale.simulate(simulation, num_sampled=choice.num_sampled, progress=progress)


def _at_end(federation: FederationSpec, end: int, num_rounds: int) -> FederationSpec:
    """The same with every device at one end of its interval."""

    def moved(device: DeviceSpec) -> DeviceSpec:
        ratio = device.ratios_95("model")[end]
        seconds = {name: ratio * value for name, value in device.seconds_per_unit.items()}
        return replace(device, seconds_per_unit=seconds)

    return replace(
        federation,
        classes=tuple(replace(c, device=moved(c.device)) for c in federation.classes),
        server=replace(federation.server, device=moved(federation.server.device)),
        num_rounds=num_rounds,
    )


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
    makespan = result.makespan_s
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
            "num_failed": int((rounds.num_used == 0).sum()),
        },
        "utilization": _utilization(found),
        "round_time_s": {
            "mean": mean,
            "p05": p05,
            "p50": p50,
            "p95": p95,
            "low": mean * found.low,
            "high": mean * found.high,
            "compute": compute,
            "transfer": transfer,
            # Where rounds overlap, the parts of one may be longer than the time between two.
            "wait": _rest(mean, compute + transfer),
        },
        "makespan_s": {
            "mean": makespan,
            "low": makespan * found.low,
            "high": makespan * found.high,
        },
    }


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
