"""Federations whose seconds can be added up in the head: one call takes what its device says."""

from __future__ import annotations

from dataclasses import replace

from fedsim.fleet import Simulation, prepare
from fedsim.protocol.operation import Content, InferLogits, Part
from fedsim.protocol.payload import Payload, TensorSpec
from fedsim.protocol.step import (
    Compute,
    Direction,
    Each,
    Gather,
    Once,
    Protocol,
    Site,
    Step,
    Transfer,
)
from fedsim.spec.availability import AlwaysOn, Availability
from fedsim.spec.batch import BatchShape, TextLengths
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import ClientClass, FederationSpec, ServerSpec, Spread
from fedsim.spec.link import LinkSpec, RateTrace
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, TrainingSpec
from fedsim.spec.policy import PolicySpec
from fedsim.spec.tuning import LoraTuning

__all__ = ["ASK", "BYTES", "DOWN", "UP", "WORK", "toy_class", "toy_server", "toy_simulation"]

_CALL = InferLogits(Part.whole(3), BatchShape.padded(1, 4))
_PAYLOAD = Payload(Content.ADAPTERS, (TensorSpec("x", (2000,), "float32"),))

#: One call at the client, one at the server, a message each way.
WORK = Compute("work", Site.CLIENT, _CALL)
ASK = Compute("ask", Site.SERVER, _CALL)
UP = Transfer("up", Direction.UP, _PAYLOAD)
DOWN = Transfer("down", Direction.DOWN, _PAYLOAD)
#: Of one message.
BYTES = _PAYLOAD.message_bytes

_TRAINING = TrainingSpec(model("gpt2-tiny"), HeadSpec(num_classes=4), LoraTuning(r=2))
_PLAN = ClientPlan(_TRAINING, (TextLengths(8, 16),))


def _calls(name: str, seconds: float) -> DeviceSpec:
    return DeviceSpec(name, {"num_calls": seconds}, relative_sigma=0.0)


def toy_class(
    name: str,
    work_s: float = 1.0,
    message_s: float = 1.0,
    num: int = 1,
    *,
    availability: Availability | None = None,
    dropout: float = 0.0,
    trace: RateTrace | None = None,
) -> ClientClass:
    """Clients with so many seconds a call and a message."""
    link = LinkSpec(
        name,
        BYTES / message_s,
        BYTES / message_s,
        0.0,
        handshake_round_trips=0,
        initial_window_bytes=0,
        payload_fraction=1.0,
        trace=trace,
    )
    return ClientClass(
        name,
        num,
        _PLAN,
        _calls(name, work_s),
        link,
        Spread(dropout_probability=dropout),
        availability or AlwaysOn(),
    )


def toy_server(call_s: float = 0.5, **changes: object) -> ServerSpec:
    """A server with so many seconds a call."""
    return replace(ServerSpec(_calls("server", call_s)), **changes)  # type: ignore[arg-type]


def toy_simulation(
    *classes: ClientClass,
    steps: tuple[Step, ...] = (WORK, UP),
    behind: tuple[Step, ...] = (),
    policy: PolicySpec | None = None,
    server: ServerSpec | None = None,
    num_rounds: int = 1,
    seed: int = 0,
    is_exclusive: bool = False,
) -> Simulation:
    """Everybody goes through some steps, the server makes one call, and more steps may follow."""
    steps = tuple(
        replace(step, is_exclusive=is_exclusive)
        if isinstance(step, Compute) and step.site is Site.SERVER
        else step
        for step in steps
    )
    merge = Once((replace(ASK, label="merge"),))
    protocol = Protocol(
        "toy",
        setup=(Each((replace(DOWN, label="setup"),)),),
        round=(Each(steps), Gather("up"), merge, *((Each(behind),) if behind else ())),
    )
    federation = FederationSpec(classes, server or toy_server(), _PLAN, num_rounds)
    return prepare(federation, lambda _: protocol, policy or PolicySpec(), seed)
