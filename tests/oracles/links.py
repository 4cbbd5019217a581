"""fedsim's shared link beside SimGrid's: the cases, and by how much they differ.

Henri Casanova, Arnaud Giersch, Arnaud Legrand, Martin Quinson, Frédéric Suter: "Versatile,
scalable, and accurate simulation of distributed applications and platforms", Journal of Parallel
and Distributed Computing 74(10), 2014. Debian packages it as ``python3-simgrid``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from laws.conftest import Ends, des_link, scale_flow_link, scale_link
from oracle import Flow

__all__ = ["CASES", "LINKS", "Case", "link_difference", "simgrid_python"]

Reals = NDArray[np.float64]
LinkOf = Callable[[Sequence[Flow], float | None], Ends]

#: The SimPy engine's link, and both of the compiled engine's.
LINKS: tuple[LinkOf, ...] = (des_link, scale_link, scale_flow_link)
_CAPACITY = 1e6
_DRIVER = Path(__file__).with_name("simgrid_flows.py")


@dataclass(frozen=True)
class Case:
    """Flows that come at random to a server of 1 MB/s.

    Attributes
    ----------
    num_flows : int
    load : float
        What comes in a second, as a share of what the server can take in a second.
    num_rates : int or None
        How many different access rates there are; None where no two are alike.
    """

    num_flows: int
    load: float
    num_rates: int | None = None

    def __str__(self) -> str:
        rates = "all different" if self.num_rates is None else f"{self.num_rates} rates"
        return f"{self.num_flows} flows, load {self.load}, {rates}"

    def flows(self, pace: float = 1.0) -> list[Flow]:
        """Drawn flows, whose access links are ``pace`` times as fast."""
        rng = np.random.default_rng([self.num_flows, self.num_rates or 0])
        # Whole bytes: SimGrid knows no others.
        num_bytes = rng.integers(200_000, 2_000_000, self.num_flows)
        mean_gap_s = num_bytes.mean() / (self.load * _CAPACITY)
        arrival = rng.exponential(mean_gap_s, self.num_flows).cumsum()
        rate = rng.uniform(1e4, 5e5, self.num_flows)
        if self.num_rates is not None:
            rate = rate[rng.integers(0, self.num_rates, self.num_flows)]
        drawn = zip(arrival.tolist(), num_bytes.tolist(), (pace * rate).tolist(), strict=True)
        return [Flow(*one) for one in drawn]


CASES = (Case(1000, 0.9), Case(1000, 1.2), Case(1000, 2.0), Case(1000, 0.9, 3), Case(1000, 1.2, 3))


@cache
def simgrid_python() -> str | None:
    """A Python that has SimGrid's bindings, or None."""
    for candidate in (sys.executable, "/usr/bin/python3", shutil.which("python3")):
        if candidate is None or not Path(candidate).exists():
            continue
        found = subprocess.run(
            [candidate, "-c", "import simgrid"], capture_output=True, check=False
        )
        if found.returncode == 0:
            return candidate
    return None


def link_difference(link: LinkOf, case: Case, pace: float = 1.0) -> float:
    """Largest difference of a flow's end, relative to its time since it came.

    fedsim's access links are ``pace`` times as fast.
    """
    arrival = np.array([flow.arrival_s for flow in case.flows()])
    found = np.array([end for end, _ in link(case.flows(pace), _CAPACITY)])
    expected = _simgrid_ends(case)
    return float(np.max(np.abs(found - expected) / (expected - arrival)))


@cache
def _simgrid_ends(case: Case) -> Reals:
    python = simgrid_python()
    assert python is not None
    flows = case.flows()
    asked = {
        "capacity": _CAPACITY,
        "arrival_s": [flow.arrival_s for flow in flows],
        "num_bytes": [flow.num_bytes for flow in flows],
        "bytes_per_s": [flow.bytes_per_s for flow in flows],
    }
    answer = subprocess.run(
        [python, str(_DRIVER)], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    return np.array(json.loads(answer.stdout))
