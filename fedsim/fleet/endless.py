"""Runs that would not come to an end: found ahead of time, and where an engine's clock runs off."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from fedsim.errors import ScenarioError
from fedsim.fleet.simulation import Simulation
from fedsim.fleet.uncontended import UncontendedTimes

__all__ = ["CENTURY_S", "LAST_S", "check_ends", "endless"]

#: What a client's work may take it alone [s].
CENTURY_S: Final = 100 * 365.25 * 86400.0
#: Where clocks stop: 64 bits of nanoseconds are 292 years [s].
LAST_S: Final = 9.0e9
#: Of a rate trace's pieces in a run: some minutes of an engine's time.
_MAX_CHANGES: Final = 10_000_000


def check_ends(simulation: Simulation, uncontended: Iterable[UncontendedTimes]) -> None:
    """Refuse work that takes a client longer than a century with nobody else there.

    Parameters
    ----------
    simulation : Simulation
    uncontended : iterable of UncontendedTimes
        Of all segments of a round.

    Raises
    ------
    ScenarioError
        With the class, and what to change.
    """
    population, federation = simulation.population, simulation.federation
    traces = [c.link.trace for c in federation.classes]
    factors = np.array([1.0 if t is None else t.mean_factor for t in traces])
    alone_s = np.zeros(len(population))
    for part in uncontended:
        own_s = part.client_s + part.server_s
        alone_s += own_s + part.transfer_s / factors[population.class_index]
    for index, client_class in enumerate(federation.classes):
        longest_s = float(alone_s[population.class_index == index].max(initial=0.0))
        if not longest_s <= CENTURY_S:
            raise ScenarioError(
                f"class '{client_class.name}': a round's work takes a client {longest_s:.3g} s "
                "with nobody else there, more than a century; raise the rates of its link, of its "
                "trace or of the server's link, or take a faster device."
            )
        trace = traces[index]
        if trace is None:
            continue
        num = federation.num_rounds * longest_s / trace.period_s * len(trace.times_s)
        if num > _MAX_CHANGES:
            raise ScenarioError(
                f"class '{client_class.name}': the link's rate changes about {num:.3g} times while "
                f"clients work; allowed: {_MAX_CHANGES:,}. Raise link.trace_period, leave out "
                "pieces of the trace, or simulate fewer rounds."
            )


def endless(now_s: float) -> ScenarioError:
    """What is said where a clock runs off."""
    return ScenarioError(
        f"the simulation has come to {now_s:.3g} s; clocks go up to {LAST_S:.3g} s (285 years). "
        "Raise rates, lower the number of clients that share the server's link, or simulate fewer "
        "rounds."
    )
