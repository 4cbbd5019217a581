"""Run real rounds and hold them against the formulas, step by step.

Counts must be equal to the last unit; seconds and memory are shown with their errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Final

from fedsim.agreement import StepCheck, Verification, differences
from fedsim.analytic import client_peak_bytes, server_peak_bytes
from fedsim.cost.duration import operation_regime, operation_seconds
from fedsim.ledger import SERVER, SETUP_ROUND, Ledger, LedgerRow
from fedsim.protocol.step import Compute, Each, Once, Step, leaf_steps, step_labels
from fedsim.runtime.federation import Federation
from fedsim.spec.device import DeviceSpec
from fedsim.spec.plan import ClientPlan
from fedsim.training.predicted import predicted_round

__all__ = ["predicted_ledger", "verify"]

#: Rounds ahead of the timed ones: the first touches memory and caches for the first time.
_WARM_UP_ROUNDS: Final = 1


def verify(
    build: Callable[[], Federation],
    framework_name: str,
    *,
    num_rounds: int = 1,
    timed_rounds: int = 3,
    device: DeviceSpec | None = None,
    sentinel_ratios: Mapping[str, float] | None = None,
    on_step: Callable[[int, str, str], None] | None = None,
) -> Verification:
    """Run a federation and compare it with its formulas.

    Parameters
    ----------
    build : callable
        Makes the federation; called once for counting, once for memory and once for timing.
    framework_name : str
    num_rounds : int
        Rounds that are counted.
    timed_rounds : int
        Rounds that are timed without counting, after one to warm up; 0 leaves time out.
    device : DeviceSpec, optional
        The calibrated machine that this runs on, to predict seconds with.
    sentinel_ratios : mapping of str to float, optional
        How long its sentinels take now over how long they took when it was measured.
    on_step : callable, optional
        For progress.
    """
    federation = build()
    executor = federation.executor()
    executor.on_step = on_step
    federation.run_setup(executor)
    for round_index in range(1, num_rounds + 1):
        federation.run_round(executor, round_index)
    predicted = predicted_ledger(federation, num_rounds)
    measured_s = _timed(build, timed_rounds, on_step) if timed_rounds else {}
    predicted_s = _predicted_seconds(federation, device) if device and timed_rounds else {}
    return Verification(
        framework=framework_name,
        steps=_step_checks(
            _step_order(federation), predicted, executor.ledger, predicted_s, measured_s
        ),
        found=tuple(differences(predicted, executor.ledger)),
        predicted_memory=_predicted_memory(federation),
        measured_memory=_measured_memory(build(), on_step),
        timed_rounds=timed_rounds,
        profile_name=None if device is None else device.name,
        profile_source=None if device is None else device.source,
        sentinel_ratios=dict(sentinel_ratios or {}),
    )


def predicted_ledger(federation: Federation, num_rounds: int) -> Ledger:
    """What the formulas say about a federation's set-up and first rounds."""
    ledger = Ledger()
    for round_index in range(SETUP_ROUND, num_rounds + 1):
        for key, row in predicted_round(federation, round_index).rows.items():
            ledger.add(key, row)
    return ledger


def _timed(
    build: Callable[[], Federation],
    timed_rounds: int,
    on_step: Callable[[int, str, str], None] | None,
) -> dict[str, float]:
    """Median over rounds of each step's seconds, all clients summed."""
    federation = build()
    executor = federation.executor(counts_flop=False)
    executor.on_step = on_step
    federation.run_setup(executor)
    last = _WARM_UP_ROUNDS + timed_rounds
    for round_index in range(1, last + 1):
        federation.run_round(executor, round_index)
    seconds: dict[str, list[float]] = {}
    for round_index in range(_WARM_UP_ROUNDS + 1, last + 1):
        sums: dict[str, float] = {}
        for key, row in executor.ledger.select(round_index=round_index):
            if row.messages == 0:
                sums[key.step] = sums.get(key.step, 0.0) + row.compute_s
        for step, value in sums.items():
            seconds.setdefault(step, []).append(value)
    return {step: median(values) for step, values in seconds.items()}


def _predicted_seconds(
    federation: Federation, device: DeviceSpec
) -> dict[str, tuple[float, float, float]]:
    """Each step's seconds, and both ends of their 95 % interval."""
    sums: dict[str, tuple[float, float, float]] = {}
    plans = federation.round_plans.plans(SETUP_ROUND)
    own = federation.round_plans.server_plan(SETUP_ROUND)
    work = [(plan, Each) for plan in plans.values()] + [(own, Once)]
    for plan, kind in work:
        for segment in federation.framework(plan).round:
            if isinstance(segment, kind):
                _add_seconds(sums, segment.steps, plan, device, len(plans))
    return sums


def _add_seconds(
    sums: dict[str, tuple[float, float, float]],
    steps: tuple[Step, ...],
    plan: ClientPlan,
    device: DeviceSpec,
    num_clients: int,
) -> None:
    for times, step in leaf_steps(steps):
        if isinstance(step, Compute):
            one = times * operation_seconds(step.operation, plan.training, device, num_clients)
            low, high = device.ratios_95(operation_regime(step.operation))
            before = sums.get(step.label, (0.0, 0.0, 0.0))
            # Whatever is wrong about a device is wrong for all clients alike.
            added = zip(before, (one, one * low, one * high), strict=True)
            first, second, third = (old + new for old, new in added)
            sums[step.label] = first, second, third


def _step_order(federation: Federation) -> tuple[str, ...]:
    protocol = next(iter(federation.protocols(SETUP_ROUND).values()))
    return (*step_labels(protocol.setup), *step_labels(protocol.round))


def _step_checks(
    order: tuple[str, ...],
    predicted: Ledger,
    measured: Ledger,
    predicted_s: Mapping[str, tuple[float, float, float]],
    measured_s: dict[str, float],
) -> tuple[StepCheck, ...]:
    one, other = predicted.by_step(), measured.by_step()
    return tuple(
        StepCheck(
            step,
            one.get(step, LedgerRow()),
            other.get(step, LedgerRow()),
            predicted_s[step][0] if step in predicted_s else None,
            measured_s.get(step),
            predicted_s[step][1:] if step in predicted_s else None,
        )
        for step in dict.fromkeys([*order, *one, *other])
    )


def _predicted_memory(federation: Federation) -> dict[str, int]:
    plans = federation.round_plans.plans(1)
    protocols = {client_id: federation.framework(plan) for client_id, plan in plans.items()}
    own = federation.round_plans.server_plan(1)
    return {
        "client": max(client_peak_bytes(protocols[cid], plans[cid]) for cid in protocols),
        SERVER: server_peak_bytes(
            federation.framework(own),
            own,
            [(protocols[cid], plans[cid], 1) for cid in protocols],
        ),
    }


def _measured_memory(
    federation: Federation, on_step: Callable[[int, str, str], None] | None
) -> dict[str, int]:
    # A pass of its own: torch's FLOP counter keeps what checkpointing recomputes alive.
    executor = federation.executor(counts_flop=False, tracks_memory=True)
    executor.on_step = on_step
    federation.run_setup(executor)
    for meter in executor.memory.values():
        # The peak of a round is asked for; receiving the base weights is over by then.
        meter.forget_peak()
    federation.run_round(executor, 1)
    peaks = {"client": 0, SERVER: 0}
    for party, meter in executor.memory.items():
        if party == SERVER:
            resident = federation.server.resident_bytes
            peaks[SERVER] = max(peaks[SERVER], resident + meter.peak_bytes)
        else:
            resident = federation.clients[party].trainer.resident_bytes
            peaks["client"] = max(peaks["client"], resident + meter.peak_bytes)
    return peaks
