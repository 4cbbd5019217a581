"""How far engine ``sampled`` is off, against ``des`` and ``scale``. Asserts nothing.

Run it with ``make bench``; ``tests/agreement/test_sampled.py`` asserts 2 %.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from fedsim import des, scale
from split_fleet import REGIMES, split_simulation

_SIGMAS = (0.0, 0.5)
_BATCHES = (1, 7, 20)


@pytest.mark.parametrize(
    ("num_clients", "num_sampled"), [(2000, 500), (2000, 1000), (20_000, 2000), (20_000, 10_000)]
)
def test_error_by_regime(
    num_clients: int, num_sampled: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Makespan of one round with 1, 7 and 20 mini-batches, clients equal and unequal."""
    worst = []
    with capsys.disabled():
        print(f"\n{num_sampled:,} of {num_clients:,} clients; error of a round's time")
        for name, regime in REGIMES.items():
            errors = []
            for sigma in _SIGMAS:
                for num_batches in _BATCHES:
                    simulation = split_simulation(
                        regime, num_clients=num_clients, num_batches=num_batches, sigma=sigma
                    )
                    exact = scale.simulate(simulation).makespan_s
                    sampled = scale.simulate(simulation, num_sampled=num_sampled).makespan_s
                    errors.append(sampled / exact - 1)
            worst.append(max(abs(error) for error in errors))
            print(f"  {name:24s} median {np.median(np.abs(errors)):7.3%}  largest {worst[-1]:7.3%}")
        print(f"  {'all':24s} largest {max(worst):7.3%}")


def test_error_against_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    """The same against ``des`` itself, at 2,000 clients with 7 mini-batches."""
    with capsys.disabled():
        print("\n1,000 of 2,000 clients against des; 7 mini-batches, unequal clients")
        for name, regime in REGIMES.items():
            simulation = split_simulation(regime)
            start = time.perf_counter()
            reference = des.simulate(simulation).makespan_s
            reference_s = time.perf_counter() - start
            sampled = scale.simulate(simulation, num_sampled=1000).makespan_s
            print(f"  {name:24s} {sampled / reference - 1:+8.3%}  des took {reference_s:5.2f} s")


def test_a_hundred_thousand_split_clients(capsys: pytest.CaptureFixture[str]) -> None:
    """10 rounds of 10^5 clients with 7 mini-batches each: all of them, and a sample."""
    simulation = split_simulation(REGIMES["server knee"], num_clients=100_000, num_rounds=10)
    scale.simulate(split_simulation(REGIMES["server knee"], num_clients=100))
    with capsys.disabled():
        print("\n100,000 Split clients x 10 rounds x 7 mini-batches")
        exact_s = 0.0
        for num_sampled in (None, 10_000, 2_000):
            start = time.perf_counter()
            found = scale.simulate(simulation, num_sampled=num_sampled)
            seconds = time.perf_counter() - start
            exact_s = exact_s or found.makespan_s
            whom = "all" if num_sampled is None else f"{num_sampled:,} sampled"
            print(f"  {whom:16s} {seconds:6.1f} s  {found.num_events / seconds:12,.0f} events/s  "
                  f"error {found.makespan_s / exact_s - 1:+.3%}")  # fmt: skip
