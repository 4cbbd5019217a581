"""One stretch of clients' work between two waits of the server: the kernels' task and answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedsim.fleet.availability import Intervals
from fedsim.fleet.simulation import Simulation
from fedsim.protocol.step import Each, Segment
from fedsim.scale.program import Program, program
from fedsim.scale.records import Integers, Reals, Records, layout

__all__ = [
    "LATE",
    "LOST",
    "STEP_SUMS",
    "USED",
    "HorizonError",
    "SegmentOutcome",
    "SegmentTask",
    "segment_programs",
    "step_sums",
]

USED, LATE, LOST = 0, 1, 2


class HorizonError(Exception):
    """The simulation went beyond what is known of availability: it starts over, knowing more."""


@dataclass(frozen=True, eq=False)
class SegmentTask:
    """An ``Each`` of one synchronous round, or of the set-up.

    Attributes
    ----------
    simulation : Simulation
    programs : tuple of Program
        One for each group.
    segment_index : int
        In the protocol's round; -1 for the set-up.
    round_index : int
    clients : ndarray of int64, shape (m,)
        Who takes part, sorted.
    start_s : float
        [s].
    awaited : int
        Contributions that close the gathering; m where nothing is gathered and all are waited for.
    deadline_s : float
        Absolute; infinite where there is none [s].
    factors : ndarray, shape (m,)
        On each client's computing in this round.
    alone_s : ndarray, shape (m,)
        What the segment takes each client alone [s].
    can_fail : bool
        Whether drop-outs are drawn: in the first segment of a round.
    presence : Intervals or None
        When clients are there; None where nobody ever leaves.
    in_turns : bool
        Whether clients go through it one after the other.
    keeps_visits : bool
    """

    simulation: Simulation
    programs: tuple[Program, ...]
    segment_index: int
    round_index: int
    clients: Integers
    start_s: float
    awaited: int
    deadline_s: float
    factors: Reals
    alone_s: Reals
    can_fail: bool
    presence: Intervals | None = None
    in_turns: bool = False
    keeps_visits: bool = False


#: Sums over clients and attempts: executions that were finished and messages that were sent in
#: full; whole segments of messages that were cut off, as message and as payload [B]; seconds, of
#: which the server's are within those of computing; the earliest start, infinite where nothing
#: ran [s].
STEP_SUMS: Final = layout(
    ["executions", "cut_bytes", "cut_payload"],
    ["compute_s", "server_s", "transfer_s", "wait_s", "start_s"],
)


def step_sums(num_groups: int, num_stages: int) -> Records:
    """No sums yet, by group, stage and outcome: ndarray of STEP_SUMS, shape (V, S, 3)."""
    sums = np.zeros((num_groups, num_stages, 3), STEP_SUMS)
    sums["start_s"] = np.inf
    return sums


@dataclass(frozen=True, eq=False)
class SegmentOutcome:
    """What became of everyone.

    Attributes
    ----------
    closed_s : float
        When the gathering closed, or the last client was through or lost [s].
    outcome : ndarray of int64, shape (m,)
        ``USED``, ``LATE`` or ``LOST``.
    end_s : ndarray, shape (m,)
        When each client was through, or stopped for good [s].
    last_used : int
        Row of the client whose contribution was the last that counted; -1 if there is none.
    sums : ndarray of STEP_SUMS, shape (V, S, 3)
        By group, stage and outcome.
    accelerator_busy_s : float
        [s].
    num_events : int
    visits : ndarray of VISIT or None
        In no order.
    """

    closed_s: float
    outcome: Integers
    end_s: Reals
    last_used: int
    sums: Records
    accelerator_busy_s: float
    num_events: int
    visits: NDArray[np.void] | None = None


def segment_programs(
    simulation: Simulation, segments: tuple[Segment, ...], group_index: int
) -> Program:
    """Program of one group over some segments' ``Each`` steps in a row."""
    group = simulation.population.groups[group_index]
    client_class = simulation.federation.classes[group.class_index]
    steps = tuple(s for segment in segments if isinstance(segment, Each) for s in segment.steps)
    server = simulation.federation.server.device
    return program(steps, group.plan.training, client_class.device, server)
