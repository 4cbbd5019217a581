"""Whom the server asks: at random, the fastest, or by Oort's utility.

Decides among clients that could work; who is there and how long is waited is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedsim.draws import chosen, purpose_key, uniforms
from fedsim.fleet.simulation import Simulation

__all__ = ["Selector"]

Indices = NDArray[np.int64]
Reals = NDArray[np.float64]

#: Oort's published settings (Lai et al. 2021, arXiv 2010.06081, and FedScale's code): penalty
#: exponent, exploration that decays to a floor, cut-off of utility, clipping, step of the pacer.
_ALPHA: Final = 2.0
_EXPLORATION: Final = 0.9
_EXPLORATION_DECAY: Final = 0.98
_EXPLORATION_FLOOR: Final = 0.3
_CUT_OFF: Final = 0.95
_CLIP: Final = 0.95
_UNCERTAINTY: Final = 0.1
_PREFERRED_PERCENTILE: Final = 50.0


@dataclass
class Selector:
    """Picks clients for rounds; what it learned of them stays between rounds.

    Parameters
    ----------
    simulation : Simulation
    alone_s : ndarray
        What a round takes each client with nobody else there [s].
    """

    simulation: Simulation
    alone_s: Reals

    def __post_init__(self) -> None:
        num = len(self.simulation.population)
        self._observed_s = np.full(num, np.nan)
        self._last_round = np.zeros(num, dtype=np.int64)

    def choose(self, round_index: int, eligible: Indices, wanted: int) -> Indices:
        """Clients to ask, sorted by index.

        Parameters
        ----------
        round_index : int
        eligible : ndarray of int64
            Clients that could work, sorted.
        wanted : int
            How many; all who are eligible where they are fewer.
        """
        if wanted >= len(eligible):
            return eligible
        policy = self.simulation.policy
        if policy.selection == "resource":
            # A stable sort: among equals the smaller index.
            order = np.argsort(self.alone_s[eligible], kind="stable")
            return np.sort(eligible[order[:wanted]])
        if policy.selection == "utility":
            return self._by_utility(round_index, eligible, wanted)
        return self._at_random("selection", round_index, eligible, wanted)

    def learn(self, round_index: int, clients: Indices, seconds: Reals) -> None:
        """Note how long the clients whose work was used took."""
        self._observed_s[clients] = seconds
        self._last_round[clients] = round_index

    def utilities(self, round_index: int, clients: Indices) -> Reals:
        """Oort's utility of clients that were observed before.

        Notes
        -----
        ``|B| sqrt(mean loss^2) * (T / t)^(alpha [t > T])``, plus ``sqrt(0.1 ln R / L)`` for the
        time since the last look (equation 2 and section 4.2 of the paper). No loss is known to a
        simulation of time, so it is 1 for everyone and data size stands alone. As in FedScale's
        code the statistical part is clipped and scaled to 0..1 ahead of the uncertainty. T is the
        median of the observed times.
        """
        size = self.simulation.population.num_samples[clients].astype(np.float64)
        size = np.minimum(size, np.quantile(size, _CLIP))
        span = float(size.max() - size.min())
        statistical = (size - size.min()) / span if span > 0 else np.ones(len(size))
        last = np.maximum(self._last_round[clients], 1)
        statistical = statistical + np.sqrt(_UNCERTAINTY * log(max(round_index, 2)) / last)
        seconds = self._observed_s[clients]
        preferred = np.percentile(seconds, _PREFERRED_PERCENTILE)
        penalty = np.where(seconds > preferred, (preferred / seconds) ** _ALPHA, 1.0)
        return np.asarray(statistical * penalty)

    def _by_utility(self, round_index: int, eligible: Indices, wanted: int) -> Indices:
        is_known = ~np.isnan(self._observed_s[eligible])
        known, unknown = eligible[is_known], eligible[~is_known]
        share = max(_EXPLORATION * _EXPLORATION_DECAY ** (round_index - 1), _EXPLORATION_FLOOR)
        num_new = min(len(unknown), ceil(share * wanted))
        num_new = max(num_new, wanted - len(known))
        # New ones by speed class would need a guess; Oort takes the faster ones where it is known.
        new = self._at_random("exploration", round_index, unknown, num_new)
        old = self._exploited(round_index, known, wanted - len(new))
        return np.sort(np.concatenate((new, old)))

    def _exploited(self, round_index: int, known: Indices, wanted: int) -> Indices:
        """At random, by utility, among those whose utility reaches the cut-off."""
        if wanted <= 0 or not len(known):
            return known[:0]
        utility = self.utilities(round_index, known)
        threshold = _CUT_OFF * np.sort(utility)[::-1][min(wanted, len(known)) - 1]
        admitted = utility >= threshold
        pool, weight = known[admitted], utility[admitted]
        key = purpose_key(self.simulation.seed, "exploitation")
        draws = uniforms(key, round_index, self.simulation.population.keys[pool])
        # Exponential races: the first to arrive at rates w are a draw without replacement by w.
        arrival = -np.log(draws) / np.maximum(weight, 1e-300)
        first = np.argsort(arrival, kind="stable")[:wanted]
        return np.asarray(pool[first])

    def _at_random(self, purpose: str, round_index: int, among: Indices, wanted: int) -> Indices:
        keys = self.simulation.population.keys[among]
        return among[chosen(self.simulation.seed, purpose, round_index, keys, wanted)]
