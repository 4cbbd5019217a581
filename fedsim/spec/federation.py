"""A whole federation as numbers: classes of clients, the server, and how many rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fedsim.errors import ScenarioError
from fedsim.spec.availability import AlwaysOn, Availability
from fedsim.spec.device import DeviceSpec
from fedsim.spec.distribution import Distribution
from fedsim.spec.dtype import precision_name
from fedsim.spec.link import LinkSpec
from fedsim.spec.plan import ClientPlan
from fedsim.spec.schedule import Schedule

Discipline = Literal["fcfs", "sharing"]
ServerOrder = Literal["turns", "interleaved"]

__all__ = [
    "ClientClass",
    "Discipline",
    "FederationSpec",
    "ServerOrder",
    "ServerSpec",
    "Spread",
]


@dataclass(frozen=True, slots=True)
class Spread:
    """How clients of one class differ from each other and from round to round.

    Where a figure is None, all clients have the one of their class.

    Attributes
    ----------
    slowdown : Distribution or None
        Factor on the seconds of a client's computing.
    uplink, downlink : Distribution or None
        Rates of the wire [B/s].
    round_trip : Distribution or None
        [s].
    round_sigma : float
        Standard deviation of the logarithm of a round's computing time over the rounds of one
        client; its median factor is 1.
    dropout_probability : float
        That a client fails in its work of a round, at a moment that is uniform over the time which
        this work takes alone.
    """

    slowdown: Distribution | None = None
    uplink: Distribution | None = None
    downlink: Distribution | None = None
    round_trip: Distribution | None = None
    round_sigma: float = 0.0
    dropout_probability: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.round_sigma <= 5:
            raise ScenarioError(
                f"spread of a round's computing time = {self.round_sigma}; allowed: 0 to 5."
            )
        if not 0 <= self.dropout_probability <= 1:
            raise ScenarioError(
                f"dropout_probability = {self.dropout_probability}; allowed: 0 to 1."
            )


@dataclass(frozen=True)
class ClientClass:
    """Clients that are alike.

    Attributes
    ----------
    name : str
    num_clients : int
    plan : ClientPlan
        Of every client; where data sizes differ, of a client of middling size.
    device : DeviceSpec
    link : LinkSpec
    spread : Spread
    availability : Availability
    client_samples : tuple of int or None
        Private samples of each client; None where all have the plan's.
    plans : mapping
        Plan by number of samples, for every number in ``client_samples``.
    """

    name: str
    num_clients: int
    plan: ClientPlan
    device: DeviceSpec
    link: LinkSpec
    spread: Spread = Spread()
    availability: Availability = field(default_factory=AlwaysOn)
    client_samples: tuple[int, ...] | None = field(default=None, hash=False)
    plans: Mapping[int, ClientPlan] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.num_clients < 1:
            raise ScenarioError(
                f"client class '{self.name}': {self.num_clients} clients; at least 1 is needed."
            )
        _check_format(f"client class '{self.name}'", self.plan, self.device)
        if self.client_samples is None:
            return
        if len(self.client_samples) != self.num_clients:
            raise ScenarioError(
                f"client class '{self.name}': {len(self.client_samples)} data sizes for "
                f"{self.num_clients} clients; give one each."
            )
        missing = set(self.client_samples) - set(self.plans)
        if missing:
            raise ScenarioError(
                f"client class '{self.name}': no plan for {sorted(missing)[0]} samples."
            )

    @property
    def is_uniform(self) -> bool:
        """Whether its clients are alike at all times, so that one stands for all."""
        return (
            self.spread == Spread()
            and self.availability == AlwaysOn()
            and self.client_samples is None
            and self.link.trace is None
        )


@dataclass(frozen=True)
class ServerSpec:
    """The server.

    Attributes
    ----------
    device : DeviceSpec
        One accelerator.
    num_accelerators : int
    uplink_bytes_per_s, downlink_bytes_per_s : float or None
        What all clients together can send and receive [B/s]; None where it never limits.
    discipline : {"fcfs", "sharing"}
        Requests of clients wait for a free accelerator in order of arrival, or share all of them
        equally, none getting more than one.
    max_batch : int
        Requests of different clients that one accelerator takes up at once (first come, first
        served only): each kind of work adds up but what is launched and read once.
    order : {"turns", "interleaved"}
        One shared server-side model (Split V2): clients take whole turns in random order, or their
        mini-batches are served as they come, one at a time.
    """

    device: DeviceSpec
    num_accelerators: int = 1
    uplink_bytes_per_s: float | None = None
    downlink_bytes_per_s: float | None = None
    discipline: Discipline = "fcfs"
    max_batch: int = 1
    order: ServerOrder = "turns"

    def __post_init__(self) -> None:
        if self.num_accelerators < 1 or self.max_batch < 1:
            raise ScenarioError(
                f"server: num_accelerators = {self.num_accelerators}, max_batch = "
                f"{self.max_batch}; at least 1 is needed."
            )
        if self.max_batch > 1 and self.discipline != "fcfs":
            raise ScenarioError(
                f"server: max_batch = {self.max_batch} with discipline = '{self.discipline}'; "
                "requests are taken up together only in discipline = 'fcfs'."
            )


@dataclass(frozen=True)
class FederationSpec:
    """Everything that a simulating interpreter needs beside the framework.

    Attributes
    ----------
    classes : tuple of ClientClass
    server : ServerSpec
    server_plan : ClientPlan
        What the server's own work (distillation, aggregation) is built from.
    num_rounds : int
    schedules : tuple of Schedule
        What changes plans by round and client, each on what the ones before made.
    """

    classes: tuple[ClientClass, ...]
    server: ServerSpec
    server_plan: ClientPlan
    num_rounds: int = 1
    schedules: tuple[Schedule, ...] = ()

    def __post_init__(self) -> None:
        if not self.classes:
            raise ScenarioError("a federation needs at least one class of clients.")
        if self.num_rounds < 1:
            raise ScenarioError(f"num_rounds = {self.num_rounds}; at least 1 is needed.")
        _check_format("server", self.server_plan, self.server.device)

    @property
    def num_clients(self) -> int:
        """All clients."""
        return sum(c.num_clients for c in self.classes)


def _check_format(who: str, plan: ClientPlan, device: DeviceSpec) -> None:
    numerics, known = plan.training.numerics, device.precision
    wanted = precision_name(numerics.weights_dtype, numerics.compute_dtype)
    # TF32 is the device's way to multiply 32-bit numbers: plans say float32 all the same.
    if known is not None and {"tf32": "float32"}.get(known, known) != wanted:
        raise ScenarioError(
            f"{who}: is asked to compute in {wanted} (compute_dtype = '{numerics.compute_dtype}', "
            f"weights_dtype = '{numerics.weights_dtype}'), and the figures of its device "
            f"'{device.name}' hold for {known} alone; {_cure(known)}, or name a device known in "
            f"{wanted}."
        )


def _cure(known: str) -> str:
    compute = known.removesuffix("-autocast")
    weights = "float32" if compute != known else compute
    return f"set compute_dtype = '{compute}' and weights_dtype = '{weights}'"
