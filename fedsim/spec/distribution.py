"""How a figure spreads over clients that are otherwise alike.

Decides the laws and how their parameters are given. Which draw meets which client is for
:mod:`fedsim.fleet` to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fedsim.errors import ScenarioError
from fedsim.spec.device import Z95

__all__ = ["Distribution", "LogNormal", "Table", "is_joint", "values_at"]

#: 95 % quantile of the normal distribution.
_Z_P95 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Log-normal, through its median and the standard deviation of its logarithm.

    Attributes
    ----------
    median : float
        In the figure's unit.
    sigma : float
        0 or more.
    """

    median: float
    sigma: float

    def __post_init__(self) -> None:
        if not 0 < self.median < float("inf"):
            raise ScenarioError(f"median = {self.median}; a positive number is needed.")
        if not 0 <= self.sigma <= 5:
            raise ScenarioError(
                f"spread of the logarithm = {self.sigma:.4g}; allowed: 0 to 5 (at 5, one in twenty "
                "is 3,700 times the median)."
            )

    @classmethod
    def through(cls, median: float, p95: float) -> LogNormal:
        """The law whose 95 % quantile is ``p95``.

        Raises
        ------
        ScenarioError
            If ``p95`` is below the median, or absurdly far above.
        """
        if not 0 < median <= p95 < float("inf"):
            raise ScenarioError(
                f"median = {median:g}, p95 = {p95:g}; the 95 % quantile is at least the median, "
                "and both are positive."
            )
        return cls(median, log(p95 / median) / _Z_P95)

    @property
    def interval_95(self) -> tuple[float, float]:
        """Ends of the central 95 % of clients."""
        factor = float(np.exp(Z95 * self.sigma))
        return self.median / factor, self.median * factor


@dataclass(frozen=True, slots=True)
class Table:
    """Measured figures, one a row; every column of one file goes by the same row.

    Attributes
    ----------
    values : tuple of float
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ScenarioError("a table of values needs at least one row.")


Distribution = LogNormal | Table


def is_joint(distribution: Distribution) -> bool:
    """Whether a client's value is found by the row that it drew, as all values of one file are."""
    return isinstance(distribution, Table)


def values_at(distribution: Distribution, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values at given quantiles.

    Parameters
    ----------
    distribution : Distribution
    uniforms : ndarray, shape (n,)
        In (0, 1).
    """
    match distribution:
        case LogNormal():
            return np.asarray(distribution.median * np.exp(distribution.sigma * ndtri(uniforms)))
        case Table():
            rows = (uniforms * len(distribution.values)).astype(np.int64)
            return np.asarray(distribution.values, dtype=np.float64)[rows]
        case _:
            assert_never(distribution)
