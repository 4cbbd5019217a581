"""The set-up: what every client receives ahead of the first round."""

from __future__ import annotations

import numpy as np

from fedsim.fleet.simulation import Simulation
from fedsim.ledger import SETUP_ROUND
from fedsim.scale.program import Program
from fedsim.scale.sampled import SampledSegment
from fedsim.scale.segment import SegmentOutcome, SegmentTask, segment_programs
from fedsim.scale.straight.segment import StraightSegment, is_straight

__all__ = ["passed", "set_up"]


def set_up(
    simulation: Simulation, *, keeps_visits: bool
) -> tuple[SegmentOutcome, tuple[Program, ...]]:
    """Send everybody what is needed, whoever is available; what came of it, and of which steps."""
    everybody = np.arange(len(simulation.population))
    programs = tuple(
        segment_programs(simulation, simulation.protocols[v].setup, v)
        for v in range(len(simulation.population.groups))
    )
    task = SegmentTask(
        simulation=simulation,
        programs=programs,
        segment_index=-1,
        round_index=SETUP_ROUND,
        clients=everybody,
        start_s=0.0,
        awaited=len(everybody),
        deadline_s=np.inf,
        factors=np.ones(len(everybody)),
        alone_s=np.zeros(len(everybody)),
        can_fail=False,
        keeps_visits=keeps_visits,
    )
    straight = StraightSegment(simulation, programs) if is_straight(simulation, programs) else None
    return passed(straight, task), programs


def passed(straight: StraightSegment | SampledSegment | None, task: SegmentTask) -> SegmentOutcome:
    """Run a segment side by side where that is possible, or event by event."""
    if straight is not None:
        return straight.run(task)
    # Loaded where it is needed: reading compiled kernels back takes longer than many a round.
    from fedsim.scale.events.segment import run_segment

    return run_segment(task)
