"""A whole federation as numbers: classes of clients, the server, and how many rounds."""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.errors import ScenarioError
from fedsim.spec.device import DeviceSpec
from fedsim.spec.dtype import precision_name
from fedsim.spec.link import LinkSpec
from fedsim.spec.plan import ClientPlan

__all__ = ["ClientClass", "FederationSpec", "ServerSpec"]


@dataclass(frozen=True)
class ClientClass:
    """Clients that are alike.

    Attributes
    ----------
    name : str
    num_clients : int
    plan : ClientPlan
    device : DeviceSpec
    link : LinkSpec
    """

    name: str
    num_clients: int
    plan: ClientPlan
    device: DeviceSpec
    link: LinkSpec

    def __post_init__(self) -> None:
        if self.num_clients < 1:
            raise ScenarioError(
                f"client class '{self.name}': {self.num_clients} clients; at least 1 is needed."
            )
        _check_format(f"client class '{self.name}'", self.plan, self.device)


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
    """

    device: DeviceSpec
    num_accelerators: int = 1
    uplink_bytes_per_s: float | None = None
    downlink_bytes_per_s: float | None = None


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
    """

    classes: tuple[ClientClass, ...]
    server: ServerSpec
    server_plan: ClientPlan
    num_rounds: int = 1

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
            f"{who}: compute_dtype = '{numerics.compute_dtype}' with weights_dtype = "
            f"'{numerics.weights_dtype}' and device '{device.name}' was measured in {known}; "
            f"{_cure(known)}, or name a device that is known in {wanted}."
        )


def _cure(known: str) -> str:
    compute = known.removesuffix("-autocast")
    weights = "float32" if compute != known else compute
    return f"set compute_dtype = '{compute}' and weights_dtype = '{weights}'"
