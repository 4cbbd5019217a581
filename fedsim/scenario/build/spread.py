"""How the clients of a class differ: from medians and 95 % quantiles, or from a table of clients.

Decides what each key means to the laws that the clients are drawn from, and how many samples each
client has. Nothing is drawn here but the numbers of samples, from which plans are built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from fedsim.cost.duration import operation_seconds
from fedsim.draws import client_keys, purpose_key, uniforms
from fedsim.errors import ScenarioError
from fedsim.protocol.fedllm import fedllm
from fedsim.protocol.step import Compute, Each, Site, leaf_steps
from fedsim.scenario.file.client_files import ClientFigures
from fedsim.scenario.file.hardware_tables import DeviceTable, LinkTable
from fedsim.scenario.file.work_tables import WorkloadTable
from fedsim.spec.device import DeviceSpec
from fedsim.spec.distribution import Distribution, LogNormal, Table, values_at
from fedsim.spec.federation import Spread
from fedsim.spec.link import LinkSpec
from fedsim.spec.plan import ClientPlan

__all__ = ["ClassFigures", "client_samples", "has_unequal_data", "spread"]

#: Each number of samples is a plan of its own.
_MAX_SIZES: Final = 2000
_MAX_SAMPLES: Final = 1_000_000


@dataclass(frozen=True)
class ClassFigures:
    """What a class's keys say about its clients, resolved.

    Attributes
    ----------
    device, link : tables or None
    device_spec, link_spec : specs
        Of the class's median client.
    file : ClientFigures or None
    dropout_probability : float
    """

    device: DeviceTable | None
    link: LinkTable | None
    device_spec: DeviceSpec
    link_spec: LinkSpec
    file: ClientFigures | None
    dropout_probability: float


def spread(figures: ClassFigures, plan: ClientPlan) -> Spread:
    """The laws of a class.

    Raises
    ------
    ScenarioError
        If a quantile is below its median, or two keys say the same thing.
    """
    device, spec = figures.device, figures.link_spec
    link = figures.link or LinkTable()
    slowdown = _slowdown(figures, plan)
    return Spread(
        slowdown=slowdown,
        uplink=_law(figures.file, "uplink", spec.uplink_bytes_per_s, link.uplink_p95),
        downlink=_law(figures.file, "downlink", spec.downlink_bytes_per_s, link.downlink_p95),
        round_trip=_law(figures.file, "round_trip", spec.round_trip_s, link.round_trip_p95),
        round_sigma=device.round_variation if device is not None else 0.0,
        dropout_probability=figures.dropout_probability,
    )


def _law(
    file: ClientFigures | None, name: str, median: float, p95: float | None
) -> Distribution | None:
    column = file.table(name) if file is not None else None
    if column is not None and p95 is not None:
        raise ScenarioError(f"{name}_p95: the table of clients gives {name}; leave one out.")
    if p95 is None:
        return column
    try:
        return LogNormal.through(median, p95)
    except ScenarioError as error:
        raise ScenarioError(f"{name}_p95: {error}") from error


def _slowdown(figures: ClassFigures, plan: ClientPlan) -> Distribution | None:
    device, file = figures.device, figures.file
    p95 = device.slowdown_p95 if device is not None else None
    column = file.table("slowdown") if file is not None else None
    seconds = file.table("sample_s") if file is not None else None
    if p95 is not None and (column is not None or seconds is not None):
        raise ScenarioError(
            "slowdown_p95: the table of clients says how fast each is; leave one out."
        )
    if seconds is not None:
        own_s = _sample_seconds(plan, figures.device_spec)
        if own_s <= 0:
            raise ScenarioError("computation_ms_per_sample: the plan trains on no samples.")
        return Table(tuple(value / own_s for value in seconds.values))
    if p95 is None:
        return column
    assert device is not None
    # The median itself is in the device's seconds already.
    try:
        return LogNormal.through(1.0, p95 / device.slowdown)
    except ScenarioError as error:
        raise ScenarioError(
            f"slowdown = {device.slowdown:g}, slowdown_p95 = {p95:g}: the 95 % quantile is at "
            "least the median."
        ) from error


def _sample_seconds(plan: ClientPlan, device: DeviceSpec) -> float:
    """Seconds of training a sample on the class's device [s]."""
    seconds = 0.0
    for segment in fedllm(plan).round:
        for times, step in leaf_steps(segment.steps) if isinstance(segment, Each) else ():
            if isinstance(step, Compute) and step.site is Site.CLIENT:
                seconds += times * operation_seconds(step.operation, plan.training, device)
    num_samples = sum(epoch.num_samples for epoch in plan.train_epochs)
    return seconds / num_samples if num_samples else 0.0


def has_unequal_data(workload: WorkloadTable, file: ClientFigures | None) -> bool:
    """Whether clients of a class have numbers of samples of their own."""
    is_spread = workload.samples_p95 is not None or workload.samples_alpha is not None
    return is_spread or (file is not None and "samples" in file.columns)


def client_samples(
    name: str,
    num_clients: int,
    middle: int,
    workload: WorkloadTable,
    file: ClientFigures | None,
    seed: int,
) -> tuple[int, ...] | None:
    """Private samples of each client of a class; None where all have the same.

    Raises
    ------
    ScenarioError
        If more than one key says how they spread, or a quantile is below the median.

    Notes
    -----
    A log-normal law goes through the median and the 95 % quantile. A Dirichlet draw with
    concentration alpha is independent Gamma(alpha) draws over their sum, and its mean is
    ``samples_per_client``. More than 2,000 different numbers are rounded to multiples.
    """
    column = file.columns.get("samples") if file is not None else None
    given = [
        key
        for key, value in (
            ("the table of clients", column),
            ("samples_p95", workload.samples_p95),
            ("samples_alpha", workload.samples_alpha),
        )
        if value is not None
    ]
    if len(given) > 1:
        raise ScenarioError(f"{' and '.join(given)} both say how many samples clients have.")
    if not given:
        return None
    keys = client_keys(name, num_clients)
    if column is not None:
        draws = uniforms(purpose_key(seed, "table"), 0, keys)
        return _whole(values_at(Table(column), draws))
    draws = uniforms(purpose_key(seed, "samples"), 0, keys)
    if workload.samples_p95 is not None:
        try:
            law = LogNormal.through(float(middle), float(workload.samples_p95))
        except ScenarioError as error:
            raise ScenarioError(f"samples_p95: {error}") from error
        return _whole(values_at(law, draws))
    shares = gammaincinv(float(workload.samples_alpha or 0.0), draws)
    total = float(shares.sum())
    if not total > 0:
        raise ScenarioError(
            f"samples_alpha = {workload.samples_alpha}: so uneven that no client has samples; use "
            "a larger one."
        )
    return _whole(np.asarray(shares / total * middle * num_clients, dtype=np.float64))


def _whole(values: NDArray[np.float64]) -> tuple[int, ...]:
    step = 1.0
    while True:
        rounded = np.clip(np.rint(values / step) * step, 1, _MAX_SAMPLES).astype(np.int64)
        if len(np.unique(rounded)) <= _MAX_SIZES:
            return tuple(rounded.tolist())
        step *= 2
