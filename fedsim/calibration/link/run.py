"""Measure a link from the first look to the profile; continue a sweep that was interrupted."""

from __future__ import annotations

import contextlib
import csv
import datetime
import hashlib
import io
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final, Literal

import numpy as np

from fedsim.calibration.link.address import Address
from fedsim.calibration.link.connector import Connector
from fedsim.calibration.link.fit import LinkFit, fit_link, observations, pass_noise
from fedsim.calibration.link.partial import PARTIAL_FILE, Partial, visit_key
from fedsim.calibration.link.profile import (
    MEASUREMENTS_FILE,
    LinkCoefficients,
    LinkEndpoint,
    LinkProfileFile,
    LinkProvenance,
    LinkQuality,
    LinkRaw,
    write_link_profile,
)
from fedsim.calibration.link.sweep import (
    Sample,
    SweepPlan,
    affordable_sizes,
    measure_visit,
    pilot,
    plan_visits,
)
from fedsim.errors import FedsimError
from fedsim.units import format_bytes
from fedsim.version import __version__

__all__ = ["LinkCalibration", "calibrate_link"]

_RESTARTS: Final[dict[bool | None, Literal["yes", "no", "not seen"]]] = {
    True: "yes",
    False: "no",
    None: "not seen",
}


@dataclass(frozen=True)
class LinkCalibration:
    """What a calibration of a link found.

    Attributes
    ----------
    path : Path
        Of ``link.toml``.
    file : LinkProfileFile
    fit : LinkFit
    samples : tuple of Sample
    largest_planned_bytes : int
        The sweep would have gone so far with a larger time budget [B].
    num_resumed : int
        Visits that an interrupted run had left.
    """

    path: Path
    file: LinkProfileFile
    fit: LinkFit
    samples: tuple[Sample, ...]
    largest_planned_bytes: int
    num_resumed: int


def calibrate_link(
    address: Address,
    plan: SweepPlan,
    out: Path,
    *,
    name: str,
    command: str,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> LinkCalibration:
    """Measure the link to a listener, fit, and write the profile.

    After each visit the measurements are on disk; a run with the same plan, address and endpoints
    continues where an interrupted one was.

    Raises
    ------
    ScenarioError
        If nobody listens there, or the time budget is too small.
    CalibrationError
        If the link fails for good, or the folder cannot be written.
    """
    start_s = time.perf_counter()
    connector = Connector(address)
    is_complete = False
    try:
        partial = Partial(out / PARTIAL_FILE, _key(address, plan, connector))
        num_resumed = len(partial.done)
        _sweep(connector, plan, partial, on_progress or _ignore)
        samples = tuple(sorted(partial.samples, key=_order))
        connects = [s.connect_s for s in samples if s.mode == "new"]
        fit = fit_link(observations(samples, plan.held_out_sizes), median(connects), name)
        text = _csv(samples, plan.held_out_sizes)
        file = LinkProfileFile(
            schema=1,
            fedsim=__version__,
            name=name,
            here=LinkEndpoint(**connector.here),
            there=LinkEndpoint(**connector.there),
            provenance=LinkProvenance(
                command=command,
                date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
                plan=plan.hash,
                num_passes=plan.num_passes,
                largest_bytes=max(s.size_bytes for s in samples),
                num_messages=len(samples),
                duration_s=round(time.perf_counter() - start_s, 1),
            ),
            fit=_coefficients(fit),
            quality=_quality(fit, samples),
            raw=LinkRaw(file=MEASUREMENTS_FILE, sha256=hashlib.sha256(text.encode()).hexdigest()),
        )
        path = write_link_profile(out, file, text)
        partial.remove()
        is_complete = True
    finally:
        # Whatever happened, the listener need not wait; that it is gone is said elsewhere.
        with contextlib.suppress(FedsimError):
            connector.leave(is_complete=is_complete)
    return LinkCalibration(path, file, fit, samples, plan.sizes[-1], num_resumed)


def _ignore(_done: int, _total: int, _what: str) -> None:
    """Show nothing."""


def _key(address: Address, plan: SweepPlan, connector: Connector) -> dict[str, str]:
    return {
        "plan": plan.hash,
        "address": str(address),
        **{f"here_{name}": value for name, value in connector.here.items()},
        **{f"there_{name}": value for name, value in connector.there.items()},
    }


def _sweep(
    connector: Connector,
    plan: SweepPlan,
    partial: Partial,
    on_progress: Callable[[int, int, str], None],
) -> None:
    on_progress(0, 0, "a first look")
    if partial.pilot is None:
        partial.note_pilot(pilot(connector, plan))
    look = partial.pilot
    assert look is not None
    visits = plan_visits(plan, affordable_sizes(plan, look), look)
    for index, visit in enumerate(visits):
        if visit_key(visit) in partial.done:
            continue
        what = f"{format_bytes(visit.size_bytes)} {visit.direction.value}"
        on_progress(index, len(visits), f"pass {visit.pass_index + 1}: {what}")
        partial.note_visit(visit, measure_visit(connector, visit))
    on_progress(len(visits), len(visits), "fitting")


def _coefficients(fit: LinkFit) -> LinkCoefficients:
    spec = fit.spec
    return LinkCoefficients(
        uplink_bytes_per_s=spec.uplink_bytes_per_s,
        downlink_bytes_per_s=spec.downlink_bytes_per_s,
        round_trip_s=spec.round_trip_s,
        handshake_round_trips=spec.handshake_round_trips,
        initial_window_bytes=spec.initial_window_bytes,
        message_s=spec.message_s,
        slow_start_visible=fit.is_slow_start_visible,
        restarts_after_idle=_RESTARTS[fit.restarts_after_idle],
    )


def _quality(fit: LinkFit, samples: tuple[Sample, ...]) -> LinkQuality:
    noise, held_out = pass_noise(samples), fit.held_out
    return LinkQuality(
        num_points=held_out.count,
        noise_median=float(np.median(noise)),
        noise_p95=float(np.quantile(noise, 0.95)),
        held_out_by="size",
        held_out_median=held_out.median,
        held_out_p95=held_out.p95,
        held_out_max=held_out.largest,
        held_out_bias=held_out.bias,
        held_out_new_median=fit.held_out_new.median,
        held_out_new_max=fit.held_out_new.largest,
        held_out_reused_median=fit.held_out_reused.median,
        held_out_reused_max=fit.held_out_reused.largest,
    )


def _order(sample: Sample) -> tuple[str, str, int, int]:
    return sample.mode, sample.direction, sample.size_bytes, sample.pass_index


def _csv(samples: Iterable[Sample], held_out_sizes: frozenset[int]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    fields = ("mode", "direction", "size_bytes", "held_out", "pass_index", "seconds", "connect_s")
    writer.writerow(fields)
    for s in samples:
        held_out = int(s.size_bytes in held_out_sizes)
        times = (f"{s.seconds:.9g}", f"{s.connect_s:.9g}")
        writer.writerow((s.mode, s.direction, s.size_bytes, held_out, s.pass_index, *times))
    return stream.getvalue()
