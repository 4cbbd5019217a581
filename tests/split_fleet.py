"""Fleets of Split-FedLLM between the regimes: what bounds a round is chosen by the server."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedsim.fleet import Simulation, prepare
from fedsim.protocol import split_fedllm
from fedsim.spec.batch import TextLengths
from fedsim.spec.device_catalogue import device
from fedsim.spec.distribution import LogNormal
from fedsim.spec.federation import ClientClass, Discipline, FederationSpec, ServerSpec, Spread
from fedsim.spec.link_catalogue import link
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, TrainingSpec
from fedsim.spec.policy import PolicySpec
from fedsim.spec.tuning import LoraTuning

__all__ = ["REGIMES", "Regime", "split_simulation"]


@dataclass(frozen=True)
class Regime:
    """What a server of 2,000 clients is like; larger fleets have as much more of it.

    Attributes
    ----------
    service_factor : float
        Seconds of the server's device, as a multiple of the catalogue's.
    capacity_bytes_per_s : float or None
        Of each side of the server's link [B/s].
    discipline : {"fcfs", "sharing"}
    """

    service_factor: float = 1e-3
    capacity_bytes_per_s: float | None = None
    discipline: Discipline = "fcfs"


#: Where the accelerator or the link would be busy all the time lies near 1 and 3e8 B/s.
REGIMES = {
    "client-bound": Regime(),
    "server knee": Regime(0.5),
    "server knee, sharing": Regime(0.5, discipline="sharing"),
    "server saturates": Regime(1.0),
    "server-bound": Regime(10.0),
    "server-bound, sharing": Regime(10.0, discipline="sharing"),
    "link knee": Regime(1e-3, 1e9),
    "link saturates": Regime(1e-3, 3e8),
    "link-bound": Regime(1e-3, 1e8),
    "link and server": Regime(1.0, 3e8),
}


def split_simulation(
    regime: Regime,
    *,
    num_clients: int = 2000,
    num_batches: int = 7,
    sigma: float = 0.5,
    num_rounds: int = 1,
    policy: PolicySpec | None = None,
    dropout_probability: float = 0.0,
) -> Simulation:
    """Boards at home that train GPT-2 cut at block 4.

    Parameters
    ----------
    regime : Regime
    num_clients, num_batches : int
    sigma : float
        Of the logarithms of slowdowns and rates; at 0 all clients are equal.
    num_rounds : int
    policy : PolicySpec, optional
    dropout_probability : float
    """
    training = TrainingSpec(model("gpt2"), HeadSpec(num_classes=77), LoraTuning(r=8))
    plan = ClientPlan(training, (TextLengths(16 * num_batches, 80),), batch_size=16, cut=Cut(4))
    spread = Spread(
        slowdown=LogNormal(1.0, sigma) if sigma else None,
        uplink=LogNormal(5e6, sigma) if sigma else None,
        downlink=LogNormal(2e7, sigma) if sigma else None,
        round_sigma=0.2 if sigma else 0.0,
        dropout_probability=dropout_probability,
    )
    fleet = ClientClass("boards", num_clients, plan, device("rpi5-8g"), link("home-global"), spread)
    accelerator = device("h100-sxm")
    slower = 2000 / num_clients * regime.service_factor
    seconds = {name: slower * value for name, value in accelerator.seconds_per_unit.items()}
    capacity = regime.capacity_bytes_per_s
    if capacity is not None:
        capacity *= num_clients / 2000
    server = ServerSpec(
        replace(accelerator, seconds_per_unit=seconds), 1, capacity, capacity, regime.discipline
    )
    federation = FederationSpec((fleet,), server, plan, num_rounds)
    return prepare(federation, split_fedllm, policy or PolicySpec(), seed=1)
