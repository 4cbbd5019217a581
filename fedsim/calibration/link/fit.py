"""Fit the transfer model to measured messages: the very function that the simulation evaluates.

Decides which parameters there are, what a measured time means in the model, and how far the result
is to be believed. Nothing here knows a socket, and the closed form itself stands in
:func:`fedsim.cost.duration.transfer_seconds` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from fedsim.calibration.link.sweep import DIRECTIONS, Mode, Sample
from fedsim.cost.duration import transfer_seconds
from fedsim.errors import CalibrationError
from fedsim.protocol.step import Direction
from fedsim.spec.link import LinkSpec

__all__ = [
    "Errors",
    "LinkFit",
    "Observation",
    "fit_link",
    "measured_seconds",
    "observations",
    "pass_noise",
]

Array = NDArray[np.float64]

#: Relative residuals beyond it count linearly: contaminated points must not steer the fit.
_HUBER: Final = 0.05
#: The window that RFC 6928 and Linux have, and the segment that it is counted in [B].
_USUAL_WINDOW_BYTES: Final = 14480
_SEGMENT_BYTES: Final = 1448
_LARGEST_WINDOW_BYTES: Final = 4_000_000
_WINDOWS_PER_DOUBLING: Final = 4
_REFINEMENTS: Final = 8
#: Differences in the Bayesian information criterion: above 10 is very strong evidence, under 6 is
#: not strong (Kass and Raftery 1995, section 3.2).
_VISIBLE_EVIDENCE: Final = 10.0
_TIE_EVIDENCE: Final = 6.0
#: A window whose stalls no message shows by so much is not called visible.
_VISIBLE_SHARE: Final = 0.05
#: Below this relative error no fit is better than another.
_RESOLUTION: Final = 0.002
#: Times of ``connect`` tell the round trip without any of the endpoints' cost.
_CONNECT_WEIGHT: Final = 3.0
_MIN_SIZES: Final = 4
_IS_LOGARITHM: Final = np.array([True, False, False, True, True])
#: What times do not tell, such as a rate beside much noise, may not run off: a factor of 1000.
_REACH: Final = float(np.log(1000))
_NEGLIGIBLE: Final = 1e-6
#: Without the cache, which would fill with links that nobody asks for again.
_priced: Final[Callable[[int, Direction, LinkSpec], float]] = transfer_seconds.__wrapped__


@dataclass(frozen=True, slots=True)
class Observation:
    """All messages of one kind and size.

    Attributes
    ----------
    mode : str
        See :class:`~fedsim.calibration.link.sweep.Sample`.
    direction : Direction
    size_bytes : int
    seconds : float
        Median of all passes, as the connector measures it [s].
    is_held_out : bool
        No fit sees it.
    """

    mode: Mode
    direction: Direction
    size_bytes: int
    seconds: float
    is_held_out: bool


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors, predicted over measured minus 1.

    Attributes
    ----------
    count : int
    median, p95, largest : float
        Of the absolute errors.
    bias : float
        Median of the signed errors: positive is predicted too slow.
    """

    count: int
    median: float
    p95: float
    largest: float
    bias: float


@dataclass(frozen=True, slots=True)
class LinkFit:
    """The link, and how well it stands for what was measured.

    Attributes
    ----------
    spec : LinkSpec
        A new connection for every message. Its rates are those of message bytes, so that
        ``payload_fraction`` is 1.
    is_slow_start_visible : bool
        Otherwise the window is 0: the round trip is so short, or the noise so large, that the
        measured times are as well explained without one.
    restarts_after_idle : bool or None
        Whether a message after a pause takes slow start again; None where that was not measured or
        makes no difference that is seen.
    fitted, held_out : Errors
        On the sizes that the fit saw, and on the others.
    held_out_new, held_out_reused : Errors
        Of the latter, those on new connections and those on connections in use.
    """

    spec: LinkSpec
    is_slow_start_visible: bool
    restarts_after_idle: bool | None
    fitted: Errors
    held_out: Errors
    held_out_new: Errors
    held_out_reused: Errors


def observations(
    samples: Iterable[Sample], held_out_sizes: frozenset[int]
) -> tuple[Observation, ...]:
    """Samples of all passes as medians, by mode, direction and size."""
    groups: dict[tuple[Mode, str, int], list[float]] = {}
    for sample in samples:
        key = (sample.mode, sample.direction, sample.size_bytes)
        groups.setdefault(key, []).append(sample.seconds)
    return tuple(
        Observation(mode, Direction(way), size, median(values), size in held_out_sizes)
        for (mode, way, size), values in sorted(groups.items())
    )


def pass_noise(samples: Iterable[Sample]) -> Array:
    """Relative difference of each point's first and last pass: the link's test-retest noise."""
    groups: dict[tuple[str, str, int], dict[int, list[float]]] = {}
    for sample in samples:
        key = (sample.mode, sample.direction, sample.size_bytes)
        passes = groups.setdefault(key, {})
        passes.setdefault(sample.pass_index, []).append(sample.seconds)
    differences = []
    for passes in groups.values():
        if len(passes) > 1:
            first, last = median(passes[min(passes)]), median(passes[max(passes)])
            differences.append(2 * abs(first - last) / (first + last))
    return np.array(differences)


def measured_seconds(
    size_bytes: int, direction: Direction, link: LinkSpec, mode: Mode = "new"
) -> float:
    """What the connector would measure on a link [s].

    Parameters
    ----------
    size_bytes : int
    direction : Direction
    link : LinkSpec
        With a new connection for every message.
    mode : str
        ``reused`` has neither handshake nor slow start, because a message of its size has just
        opened the window; ``idle`` has slow start and no handshake.

    Notes
    -----
    ``transfer_seconds`` ends when the last byte has arrived, and the connector's clock is on one
    side: the acknowledgement, or the request, takes half a round trip more.
    """
    return _priced(size_bytes, direction, _in_mode(link, mode)) + link.round_trip_s / 2


def fit_link(
    points: Sequence[Observation], connect_s: float, name: str = "measured link"
) -> LinkFit:
    """Fit rates, round trip, handshake, window and cost of a message.

    Parameters
    ----------
    points : sequence of Observation
        Those that are held out, and those after a pause, only judge the result.
    connect_s : float
        Median time of ``connect`` [s].
    name : str
        Of the link.

    Raises
    ------
    CalibrationError
        If a direction has too few sizes.

    Notes
    -----
    A robust least-squares fit (Huber's loss) of the relative error. The model jumps where a message
    outgrows a window, so that the window is searched on a grid and the smooth parameters are fitted
    for each. A window is kept if it explains the times better than none by a difference of 10 in
    the Bayesian information criterion, and the usual window is preferred to the best one where the
    difference is below 6.

    References
    ----------
    R. E. Kass, A. E. Raftery, "Bayes Factors", JASA 90(430):773-795, 1995, section 3.2.
    """
    seen = [p for p in points if not p.is_held_out and p.mode != "idle"]
    for direction in DIRECTIONS:
        count = len({p.size_bytes for p in seen if p.direction is direction and p.mode == "new"})
        if count < _MIN_SIZES:
            raise CalibrationError(
                f"{count} sizes {direction.value} on new connections cannot be fitted; measure at "
                f"least {_MIN_SIZES} of them, besides those that are held out."
            )
    fitter = _Fitter(seen, connect_s, name)
    without = fitter.solve(0, fitter.start())
    best = _best_window(fitter, without)
    is_visible = (
        fitter.evidence(without, best) > _VISIBLE_EVIDENCE
        and _largest_stall_share(seen, best.link) > _VISIBLE_SHARE
    )
    link = best.link if is_visible else without.link
    if link.message_s < _NEGLIGIBLE * link.round_trip_s:
        link = replace(link, message_s=0.0)
    unseen = [p for p in points if p.is_held_out and p.mode != "idle"]
    return LinkFit(
        spec=link,
        is_slow_start_visible=is_visible,
        restarts_after_idle=_restarts(points, link) if is_visible else None,
        fitted=_errors(seen, link),
        held_out=_errors(unseen, link),
        held_out_new=_errors([p for p in unseen if p.mode == "new"], link),
        held_out_reused=_errors([p for p in unseen if p.mode == "reused"], link),
    )


@dataclass(frozen=True, slots=True)
class _Solution:
    link: LinkSpec
    parameters: Array
    cost: float


class _Fitter:
    """The smooth parameters for a given window.

    They are the logarithms of round trip and rates, the handshake's round trips, and the cost of a
    message over the round trip that ``connect`` shows.
    """

    def __init__(self, points: Sequence[Observation], connect_s: float, name: str) -> None:
        self._points = points
        self._connect_s = connect_s
        self._name = name
        self._seconds = np.array([p.seconds for p in points])
        first = self.start()
        self._bounds = (
            np.where(_IS_LOGARITHM, first - _REACH, 0.0),
            np.where(_IS_LOGARITHM, first + _REACH, np.array([0.0, 100.0, np.inf, 0.0, 0.0])),
        )

    def start(self) -> Array:
        """From the smallest and the largest messages."""
        smallest = min(p.seconds for p in self._points)
        rates = []
        for direction in DIRECTIONS:
            largest = max(
                (p for p in self._points if p.direction is direction), key=lambda p: p.size_bytes
            )
            rates.append(largest.size_bytes / max(largest.seconds - smallest, largest.seconds / 4))
        cost = max(smallest / self._connect_s - 1.0, 0.01)
        return np.array([np.log(self._connect_s), 1.0, cost, *np.log(rates)])

    def link(self, parameters: Array, window_bytes: int) -> LinkSpec:
        """The link that parameters stand for."""
        log_round_trip, handshake, cost, log_up, log_down = (float(p) for p in parameters)
        return LinkSpec(
            name=self._name,
            uplink_bytes_per_s=float(np.exp(log_up)),
            downlink_bytes_per_s=float(np.exp(log_down)),
            round_trip_s=float(np.exp(log_round_trip)),
            handshake_round_trips=handshake,
            initial_window_bytes=window_bytes,
            payload_fraction=1.0,
            message_s=cost * self._connect_s,
        )

    def solve(self, window_bytes: int, start: Array) -> _Solution:
        """The best parameters with a window, or without one."""

        def residuals(parameters: Array) -> Array:
            link = self.link(parameters, window_bytes)
            by_mode = {"new": link, "reused": _in_mode(link, "reused")}
            predicted = [_priced(p.size_bytes, p.direction, by_mode[p.mode]) for p in self._points]
            relative = (np.array(predicted) + link.round_trip_s / 2) / self._seconds - 1.0
            return np.append(
                relative, _CONNECT_WEIGHT * (link.round_trip_s / self._connect_s - 1.0)
            )

        result = least_squares(
            residuals,
            np.clip(start, *self._bounds),
            bounds=self._bounds,
            loss="huber",
            f_scale=_HUBER,
            xtol=1e-6,
            ftol=1e-7,
            max_nfev=60,
        )
        parameters = np.asarray(result.x, dtype=np.float64)
        return _Solution(self.link(parameters, window_bytes), parameters, float(result.cost))

    def evidence(self, worse: _Solution, better: _Solution) -> float:
        """By how much one explains the times better than another, as a difference in the BIC."""
        count = len(self._points)
        floor = count * _RESOLUTION**2 / 2
        ratio = max(worse.cost, floor) / max(better.cost, floor)
        has_more = bool(better.link.initial_window_bytes) > bool(worse.link.initial_window_bytes)
        return float(count * np.log(ratio) - has_more * np.log(count))


def _best_window(fitter: _Fitter, without: _Solution) -> _Solution:
    num_steps = _WINDOWS_PER_DOUBLING * int(np.log2(_LARGEST_WINDOW_BYTES / _SEGMENT_BYTES))
    grid = [
        round(_SEGMENT_BYTES * 2 ** (step / _WINDOWS_PER_DOUBLING)) for step in range(num_steps)
    ]
    usual = fitter.solve(_USUAL_WINDOW_BYTES, without.parameters)
    solutions = [usual, *(fitter.solve(window, usual.parameters) for window in grid)]
    best = min(solutions, key=lambda solution: solution.cost)
    factor = 2 ** (1 / _WINDOWS_PER_DOUBLING)
    center = best.link.initial_window_bytes
    finer = np.geomspace(center / factor, center * factor, 2 * _REFINEMENTS + 1)
    solutions = [best, *(fitter.solve(round(w), best.parameters) for w in finer)]
    best = min(solutions, key=lambda solution: solution.cost)
    return usual if fitter.evidence(usual, best) < _TIE_EVIDENCE else best


def _in_mode(link: LinkSpec, mode: Mode) -> LinkSpec:
    if mode == "new":
        return link
    if mode == "idle":
        return replace(link, handshake_round_trips=0.0)
    return replace(link, handshake_round_trips=0.0, initial_window_bytes=0)


def _largest_stall_share(points: Sequence[Observation], link: LinkSpec) -> float:
    """Slow start's largest share of a message's time."""
    warm = replace(link, initial_window_bytes=0)
    return max(
        1.0
        - measured_seconds(p.size_bytes, p.direction, warm)
        / measured_seconds(p.size_bytes, p.direction, link)
        for p in points
        if p.mode == "new"
    )


def _restarts(points: Sequence[Observation], link: LinkSpec) -> bool | None:
    """Whether messages after a pause are nearer to slow start than to a warm connection."""
    nearness = []
    for p in points:
        if p.mode == "idle":
            cold = measured_seconds(p.size_bytes, p.direction, link, "idle")
            warm = measured_seconds(p.size_bytes, p.direction, link, "reused")
            if cold > warm * (1 + _VISIBLE_SHARE):
                nearness.append((p.seconds - warm) / (cold - warm))
    return median(nearness) > 0.5 if nearness else None


def _errors(points: Sequence[Observation], link: LinkSpec) -> Errors:
    if not points:
        raise CalibrationError("no size is held out, so that the fit cannot be judged.")
    signed = np.array(
        [
            measured_seconds(p.size_bytes, p.direction, link, p.mode) / p.seconds - 1.0
            for p in points
        ]
    )
    absolute = np.abs(signed)
    return Errors(
        count=len(points),
        median=float(np.median(absolute)),
        p95=float(np.quantile(absolute, 0.95)),
        largest=float(absolute.max()),
        bias=float(np.median(signed)),
    )
