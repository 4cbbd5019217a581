"""From a question to an answer: rounds that are common to all, or each client at its own pace."""

from __future__ import annotations

from fedsim.fleet.progress import Progress, ProgressCallback
from fedsim.fleet.rules import FIRST_HORIZON_S, HORIZON_GROWTH
from fedsim.fleet.simulation import Simulation, SimulationResult
from fedsim.scale.sample_limits import check_sampled
from fedsim.scale.synchronous import SynchronousRun

__all__ = ["simulate"]


def simulate(
    simulation: Simulation,
    *,
    keeps_visits: bool = False,
    num_sampled: int | None = None,
    progress: ProgressCallback | None = None,
) -> SimulationResult:
    """Run a simulation with arrays and compiled kernels.

    Parameters
    ----------
    simulation : Simulation
    keeps_visits : bool
        Whether every visit of a shared resource comes back; for comparisons, not for millions.
    num_sampled : int or None
        Clients of a round whose mini-batches stand for all, see :mod:`fedsim.scale.sampled`;
        None: nothing is approximated.
    progress : callable, optional
        Called with the rounds that are done and all, at most once a round; versions or windows in
        modes without common rounds.

    Raises
    ------
    ScenarioError
        If the run cannot come to an end: too few clients ever come, or nobody ever contributes;
        or if a sample does not know one of its keys.
    """
    if num_sampled is not None:
        check_sampled(
            simulation.federation,
            simulation.policy,
            is_exclusive=simulation.has_exclusive_steps,
        )
    horizon_s = FIRST_HORIZON_S
    told = Progress(progress, simulation.federation.num_rounds)
    while True:
        result = _result(simulation, keeps_visits, horizon_s, num_sampled, told)
        if result is not None:
            return result
        horizon_s *= HORIZON_GROWTH


def _result(
    simulation: Simulation,
    keeps_visits: bool,
    horizon_s: float,
    num_sampled: int | None,
    progress: Progress,
) -> SimulationResult | None:
    """What came out; None where the horizon was too near."""
    if simulation.policy.mode == "synchronous":
        return SynchronousRun(
            simulation, keeps_visits, horizon_s, num_sampled=num_sampled, progress=progress
        ).result()
    # Loaded where it is needed: reading compiled kernels back takes longer than many a run.
    from fedsim.scale.free.run import FreeRun

    return FreeRun(simulation, keeps_visits, horizon_s, progress).result()
