"""``python -m fuzz.coverage``: does a 95 % interval hold what other seeds give?

Each shipped scenario that draws anything (but ``million``, which stays at one draw) is answered,
and every result of it simulated with forty seeds that its answer did not use.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import Any, Final

import numpy as np
from scipy.stats import binom

from fedsim.comparison.interval import interval_95
from fedsim.fleet import SimulationResult, prepare
from fedsim.scenario.answer.replication import is_drawn
from fedsim.scenario.answer.simulated import run_engine
from fedsim.scenario.answer.uncertainty import CLIENT_DEVICES, SERVER_DEVICE
from fedsim.scenario.file.document import scenario_names
from fedsim.scenario.run import PlannedCase, read_scenario

__all__ = ["Coverage", "coverages", "drawn_scenarios"]

NUM_SEEDS: Final = 40
#: Far from every seed of an answer.
FIRST_SEED: Final = 1_000_003
#: Coverage below this is too little, where it is surer than the level says.
LEAST_COVERAGE: Final = 0.9
LEVEL: Final = 0.001
#: An interval this many times as wide as it has to be is no use.
MOST_WIDTH: Final = 1.5


@dataclass(frozen=True)
class Coverage:
    """One result's interval and the mean rounds of seeds that it did not see.

    Attributes
    ----------
    name : str
    low, high : float
        Of the mean successful round [s].
    round_s : tuple of float
        Of the other seeds; infinite where no round succeeded.
    ends : tuple of (float, float)
        How far each factor of the answer moves the logarithm, both ways.
    table : dict
        The result, as in the JSON.
    """

    name: str
    low: float
    high: float
    round_s: tuple[float, ...]
    ends: tuple[tuple[float, float], ...]
    table: dict[str, Any]

    @property
    def num_held(self) -> int:
        """Seeds within the interval."""
        return held(self.low, self.high, self.round_s)

    @property
    def is_refuted(self) -> bool:
        """Whether fewer seeds are within than 90 % coverage explains."""
        return refuted(self.num_held, len(self.round_s))

    @property
    def width(self) -> float:
        """Logarithm of high over low."""
        return log(self.high / self.low) if self.high < inf else inf

    @property
    def needed(self) -> float:
        """The seeds' own 95 % spread, combined in squares with the ends."""
        logs = [log(value) for value in self.round_s if value < inf]
        drawn = 1.96 * float(np.std(logs, ddof=1))
        down = sum(min(0.0, *pair) ** 2 for pair in self.ends)
        up = sum(max(0.0, *pair) ** 2 for pair in self.ends)
        return sqrt(down + drawn**2) + sqrt(up + drawn**2)

    @property
    def is_too_wide(self) -> bool:
        """Whether it says less than anybody could; where rounds may never end it has no width."""
        return self.width < inf and self.width > MOST_WIDTH * self.needed + 1e-9

    def held_by_devices_alone(self) -> int:
        """Seeds within the interval of the devices' ends alone, as if nothing were drawn."""
        draws = self.table["common_draws"]
        alone = {
            **draws,
            **{name: draws[name][:1] for name in ("seeds", "round_s", "energy_j", "money")},
            "ends": {
                k: v for k, v in draws["ends"].items() if k in (CLIENT_DEVICES, SERVER_DEVICE)
            },
        }
        mean = self.table["successful_round"]["time_s"]["mean"]
        found = interval_95(alone, "round_s", mean, self.table["num_rounds"])
        assert found is not None
        return held(found.low, found.high, self.round_s)


def held(low: float, high: float, values: Sequence[float]) -> int:
    """How many lie within, rounding aside."""
    return sum(low * (1 - 1e-9) <= value <= high * (1 + 1e-9) for value in values)


def refuted(num_held: int, num_seeds: int) -> bool:
    """Whether 90 % coverage is refuted at the 0.1 % level, one-sided."""
    return bool(binom.cdf(num_held, num_seeds, LEAST_COVERAGE) < LEVEL)


def drawn_scenarios() -> list[str]:
    """Shipped scenarios of which another seed may give other times, but for the one of a draw."""
    return [
        name
        for name in scenario_names()
        if name != "million"
        and any(
            is_drawn(e.federation, e.policy, e.case.framework) for e in read_scenario(name).entries
        )
    ]


def coverages(
    name: str, overrides: Sequence[str] = (), num_seeds: int = NUM_SEEDS
) -> Iterator[Coverage]:
    """Every simulated result of a scenario, against seeds that its answer did not use.

    Parameters
    ----------
    name : str
    overrides : sequence of str
        As for ``--set``.
    num_seeds : int
    """
    question = read_scenario(name, overrides)
    answer = question.answer()
    for entry, table in zip(question.planned, answer.results, strict=True):
        if table["successful_round"] is None or entry.choice.engine == "analytic":
            continue
        draws = table["common_draws"]
        seeds = range(FIRST_SEED, FIRST_SEED + num_seeds)
        assert not set(seeds) & set(draws["seeds"])
        time = table["successful_round"]["time_s"]
        centre = draws["round_s"][0]
        yield Coverage(
            name=table["name"],
            low=time["low"],
            high=inf if time["high"] is None else time["high"],
            round_s=tuple(_round_s(entry, seed) for seed in seeds),
            ends=tuple(
                (log(pair["round_s"][0] / centre), log(pair["round_s"][1] / centre))
                for pair in draws["ends"].values()
                if None not in pair["round_s"]
            ),
            table=table,
        )


def _round_s(entry: PlannedCase, seed: int) -> float:
    """Mean successful round with another seed, by the engine that answered."""
    each = entry.checked
    simulation = prepare(each.federation_at(seed), each.case.framework, each.policy, seed)
    run: SimulationResult = run_engine(entry.choice, simulation)
    succeeded = int((run.rounds.num_used > 0).sum())
    return (float(run.rounds.end_s[-1]) - run.setup_s) / succeeded if succeeded else inf


def main() -> int:
    """All drawn scenarios, or those that are named; 1 if an interval holds too little or much."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.coverage", description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    wrong = 0
    for name in options.names or drawn_scenarios():
        for found in coverages(name, options.overrides):
            is_wrong = found.is_refuted or found.is_too_wide
            wrong += is_wrong
            sys.stdout.write(
                f"{'FAILED ' if is_wrong else ''}{name}: {found.name}: {found.num_held} of "
                f"{len(found.round_s)} seeds in {found.low:.4g} to {found.high:.4g} s; "
                f"{found.width / found.needed if found.needed else 1:.2f} times as wide as "
                f"needed; devices alone hold {found.held_by_devices_alone()}\n"
            )
            sys.stdout.flush()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
