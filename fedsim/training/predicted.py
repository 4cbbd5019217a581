"""What the formulas say of rounds that a federation really runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.analytic import count_client, count_server
from fedsim.cost.duration import operation_regime, operation_seconds
from fedsim.draws import client_id
from fedsim.ledger import SETUP_ROUND, Ledger
from fedsim.protocol.step import Compute, Each, Gather, Once, Site, Step, leaf_steps
from fedsim.runtime.federation import Federation
from fedsim.spec.device import DeviceSpec
from fedsim.spec.plan import ClientPlan
from fedsim.training.file import TrainingDocument

__all__ = ["Devices", "predicted_round", "predicted_seconds"]


def predicted_round(federation: Federation, round_index: int) -> Ledger:
    """Counted rows of one round, or of the set-up, with every client's own plan.

    Raises
    ------
    ScenarioError
        If a schedule looks at losses of rounds that have not been run.
    """
    ledger = Ledger()
    plans = federation.round_plans.plans(round_index)
    for name, plan in plans.items():
        protocol = federation.framework(plan)
        steps = protocol.setup if round_index == SETUP_ROUND else protocol.round
        count_client(ledger, round_index, name, steps, plan.training)
    if round_index != SETUP_ROUND:
        own = federation.round_plans.server_plan(round_index)
        count_server(ledger, round_index, federation.framework(own).round, own.training)
    return ledger


@dataclass(frozen=True)
class Devices:
    """The devices that a file names, to predict seconds of computing with.

    Attributes
    ----------
    clients : mapping of str to DeviceSpec
        By client.
    server : DeviceSpec
    """

    clients: Mapping[str, DeviceSpec]
    server: DeviceSpec

    @classmethod
    def of(cls, document: TrainingDocument) -> Devices | None:
        """Those of a case; None where the file leaves one out."""
        classes = document.settings.fleet.classes
        is_given = "device" in document.given or (
            bool(classes) and all(table.device is not None for table in classes)
        )
        if not is_given or "server" not in document.given:
            return None
        clients = {
            client_id(each.name, number, each.num_clients): each.device
            for each in document.federation.classes
            for number in range(each.num_clients)
        }
        return cls(clients, document.federation.server.device)


def predicted_seconds(
    federation: Federation, round_index: int, devices: Devices
) -> tuple[float, float, float]:
    """Seconds of a round's computing, all parties one after the other, and 95 % of their interval.

    Links, queues and waiting are left out: a real run has everybody in one process.
    """
    if round_index == SETUP_ROUND:
        return 0.0, 0.0, 0.0
    plans = federation.round_plans.plans(round_index)
    own = federation.round_plans.server_plan(round_index)
    work = [(plan, Each, devices.clients[cid]) for cid, plan in plans.items()]
    sums = np.zeros(3)
    for plan, kind, device in [*work, (own, Once, devices.server)]:
        for segment in federation.framework(plan).round:
            if not isinstance(segment, Gather) and isinstance(segment, kind):
                sums += _steps_seconds(segment.steps, plan, device, devices.server, len(plans))
    mean, low, high = sums.tolist()
    return mean, low, high


def _steps_seconds(
    steps: tuple[Step, ...],
    plan: ClientPlan,
    client: DeviceSpec,
    server: DeviceSpec,
    num_clients: int,
) -> NDArray[np.float64]:
    """Seconds of some steps, and both ends of their interval."""
    sums = np.zeros(3)
    for times, step in leaf_steps(steps):
        if isinstance(step, Compute):
            device = client if step.site is Site.CLIENT else server
            one = times * operation_seconds(step.operation, plan.training, device, num_clients)
            # Whatever is wrong about a device is wrong in all steps alike.
            sums += one * np.array([1.0, *device.ratios_95(operation_regime(step.operation))])
    return sums
