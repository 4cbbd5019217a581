"""Which messages are sent, in which order, and what each took.

Decides sizes, order, repetition and what fits the time budget. How a message is timed is the
connector's business, and what the times mean the fit's.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final, Literal

import numpy as np

from fedsim.calibration.link.connector import Connector
from fedsim.calibration.link.frame import FrameError
from fedsim.errors import CalibrationError, ScenarioError
from fedsim.protocol.step import Direction
from fedsim.units import format_bytes, format_seconds

__all__ = [
    "DIRECTIONS",
    "MAX_BYTES",
    "MIN_BYTES",
    "Mode",
    "Pilot",
    "Sample",
    "SweepPlan",
    "Visit",
    "affordable_sizes",
    "measure_visit",
    "pilot",
    "plan_visits",
    "sweep_plan",
]

Mode = Literal["new", "reused", "idle"]

MIN_BYTES: Final = 1_000
MAX_BYTES: Final = 100_000_000
DIRECTIONS: Final = (Direction.UP, Direction.DOWN)
_SIZES_PER_DECADE: Final = 4
#: Every third size from the second on: the ends are fitted, and what is held out lies between.
_HELD_OUT_EVERY: Final = 3
#: Fewer sizes do not tell a window from a rate.
_MIN_SIZES: Final = 8
#: Larger ones take so long that a round trip more or less is not seen.
_LARGEST_REUSED_BYTES: Final = 10_000_000
_NUM_ATTEMPTS: Final = 3
_PILOT_START_BYTES: Final = 30_000
_PILOT_ENOUGH_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What is to be measured; the link decides how much of it fits the budget.

    Attributes
    ----------
    sizes : tuple of int
        Ascending [B].
    num_passes : int
        Separated in time; the difference between them is the link's own noise.
    time_budget_s : float
    idle_sizes : tuple of int
        Sent once more after a pause on the open connection [B].
    pause_s : float
        Several retransmission timeouts, after which Linux starts a connection's window over [s].
    num_repeats : int
        Messages a visit where they are short; long ones are sent once.
    """

    sizes: tuple[int, ...]
    num_passes: int
    time_budget_s: float
    idle_sizes: tuple[int, ...] = (100_000, 1_000_000)
    pause_s: float = 2.0
    num_repeats: int = 5

    @property
    def held_out_sizes(self) -> frozenset[int]:
        """Sizes that no fit sees: by their place in the plan, before anything is measured."""
        return frozenset(self.sizes[1::_HELD_OUT_EVERY])

    @property
    def hash(self) -> str:
        """To recognize the same plan."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Sample:
    """One message.

    Attributes
    ----------
    mode : str
        ``new`` (connection opened for it), ``reused`` (right behind another one of its size) or
        ``idle`` (on the open connection, after a pause).
    direction : str
        ``up`` or ``down``.
    size_bytes : int
    pass_index : int
    seconds : float
        As the connector measures it, half a round trip more than the message took [s].
    connect_s : float
        Of a new connection; 0 otherwise [s].
    """

    mode: Mode
    direction: str
    size_bytes: int
    pass_index: int
    seconds: float
    connect_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Pilot:
    """A first look, to see how much fits the budget.

    Attributes
    ----------
    overhead_s : float
        Of the smallest message on a new connection [s].
    seconds_per_byte : dict of str to float
        By direction, from the largest message that was tried [s/B].
    """

    overhead_s: float
    seconds_per_byte: dict[str, float]

    def message_seconds(self, size_bytes: int, direction: Direction) -> float:
        """About what a message takes [s]."""
        return self.overhead_s + size_bytes * self.seconds_per_byte[direction.value]


@dataclass(frozen=True, slots=True)
class Visit:
    """A size, in a direction, in a pass: so many connections, and what is sent on each."""

    size_bytes: int
    direction: Direction
    pass_index: int
    num_repeats: int
    is_reused: bool
    pause_s: float

    def seconds(self, pilot: Pilot) -> float:
        """About what it takes [s]."""
        messages = self.num_repeats * (2 if self.is_reused else 1) + (1 if self.pause_s else 0)
        return messages * pilot.message_seconds(self.size_bytes, self.direction) + self.pause_s


def sweep_plan(
    max_bytes: int = MAX_BYTES, num_passes: int = 3, time_budget_s: float = 300.0
) -> SweepPlan:
    """The plan of ``fedsim calibrate link``: four sizes a decade from 1 kB on.

    Raises
    ------
    ScenarioError
        If the largest size leaves too few sizes to fit.
    """
    decades = np.log10(MAX_BYTES / MIN_BYTES)
    exact = np.geomspace(MIN_BYTES, MAX_BYTES, round(decades * _SIZES_PER_DECADE) + 1)
    sizes = tuple(round(float(size)) for size in exact if size <= max_bytes * (1 + 1e-9))
    smallest = round(float(exact[_MIN_SIZES - 1]))
    if len(sizes) < _MIN_SIZES or max_bytes > MAX_BYTES:
        raise ScenarioError(
            f"--max-size {format_bytes(max_bytes)}: allowed: {format_bytes(smallest)} to "
            f"{format_bytes(MAX_BYTES)}, so that there are sizes enough to fit."
        )
    return SweepPlan(sizes, num_passes, time_budget_s)


def pilot(connector: Connector, plan: SweepPlan) -> Pilot:
    """Send a few growing messages until one takes long enough to show the rate.

    Raises
    ------
    CalibrationError
        If the connection fails.
    """
    overhead_s = min(
        _single(connector, plan.sizes[0], direction) for direction in DIRECTIONS for _ in range(2)
    )
    rates = {}
    for direction in DIRECTIONS:
        size = min(_PILOT_START_BYTES, plan.sizes[-1])
        seconds = _single(connector, size, direction)
        while seconds < _PILOT_ENOUGH_S and size < plan.sizes[-1]:
            size = min(4 * size, plan.sizes[-1])
            seconds = _single(connector, size, direction)
        rates[direction.value] = seconds / size
    return Pilot(overhead_s, rates)


def affordable_sizes(plan: SweepPlan, look: Pilot) -> tuple[int, ...]:
    """The plan's sizes without the largest ones that do not fit its time budget.

    Raises
    ------
    ScenarioError
        If too few would be left.
    """
    enough = min(_MIN_SIZES, len(plan.sizes))
    for count in range(len(plan.sizes), enough - 1, -1):
        sizes = plan.sizes[:count]
        needed_s = sum(visit.seconds(look) for visit in plan_visits(plan, sizes, look))
        if needed_s <= plan.time_budget_s:
            return sizes
    raise ScenarioError(
        f"--time-budget {format_seconds(plan.time_budget_s)}: sizes up to "
        f"{format_bytes(plan.sizes[enough - 1])} alone take about {format_seconds(needed_s)} on "
        f"this link; allow that much, or lower --passes."
    )


def plan_visits(plan: SweepPlan, sizes: Iterable[int], look: Pilot) -> list[Visit]:
    """All visits in their order: passes one after the other, each in a random order of its own."""
    chosen = tuple(sizes)
    visits: list[Visit] = []
    for pass_index in range(plan.num_passes):
        order = [(size, direction) for size in chosen for direction in DIRECTIONS]
        random.Random(pass_index).shuffle(order)
        visits.extend(
            Visit(
                size_bytes=size,
                direction=direction,
                pass_index=pass_index,
                num_repeats=_num_repeats(plan, look.message_seconds(size, direction)),
                is_reused=size <= _LARGEST_REUSED_BYTES,
                pause_s=plan.pause_s if size in plan.idle_sizes else 0.0,
            )
            for size, direction in order
        )
    return visits


def measure_visit(connector: Connector, visit: Visit) -> list[Sample]:
    """Send a visit's messages; one whose connection fails is tried again a few times.

    Raises
    ------
    CalibrationError
        If the link is gone.
    """
    for attempt in range(_NUM_ATTEMPTS):
        try:
            return _measured(connector, visit)
        except FrameError as error:
            if attempt == _NUM_ATTEMPTS - 1:
                raise CalibrationError(
                    f"the connection failed {_NUM_ATTEMPTS} times ({error}); what was measured "
                    "is kept: give the command again when the link is back."
                ) from error
            time.sleep(attempt + 1)
    raise AssertionError


def _measured(connector: Connector, visit: Visit) -> list[Sample]:
    samples: list[Sample] = []
    size, direction = visit.size_bytes, visit.direction

    def note(mode: Mode, seconds: float, connect_s: float = 0.0) -> None:
        samples.append(Sample(mode, direction.value, size, visit.pass_index, seconds, connect_s))

    for repeat in range(visit.num_repeats):
        with connector.open() as connection:
            note("new", connection.first_message_seconds(size, direction), connection.connect_s)
            if visit.is_reused:
                note("reused", connection.message_seconds(size, direction))
            if visit.pause_s and repeat == 0:
                time.sleep(visit.pause_s)
                note("idle", connection.message_seconds(size, direction))
    return samples


def _single(connector: Connector, size_bytes: int, direction: Direction) -> float:
    with connector.open() as connection:
        return connection.first_message_seconds(size_bytes, direction)


def _num_repeats(plan: SweepPlan, seconds: float) -> int:
    if seconds < 0.2:
        return plan.num_repeats
    return min(2, plan.num_repeats) if seconds < 2.0 else 1
