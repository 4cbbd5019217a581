"""Rounds that hide what clients contribute, and what is counted in them step by step."""

from __future__ import annotations

from fedsim.cost.flop import operation_flop
from fedsim.protocol import Framework
from fedsim.protocol.operation import Aggregate, Content, Operation, Part
from fedsim.protocol.payload import Payload, TensorSpec
from fedsim.protocol.privacy import PRIVACY_STEPS, with_privacy
from fedsim.protocol.step import (
    Compute,
    Direction,
    Each,
    Gather,
    Once,
    Protocol,
    Site,
    Transfer,
    leaf_steps,
)
from fedsim.spec.batch import TextLengths
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, TrainingSpec
from fedsim.spec.privacy import PrivacySpec
from fedsim.spec.tuning import LoraTuning

__all__ = [
    "PLAN",
    "SECAGG",
    "SECAGG_PLUS",
    "TRAINING",
    "WHOLE",
    "client_flop",
    "counted",
    "exchanged",
    "framework",
    "protected",
    "server_operations",
    "toy",
]

TRAINING = TrainingSpec(model("gpt2-tiny"), HeadSpec(num_classes=4), LoraTuning(r=2))
PLAN = ClientPlan(TRAINING, (TextLengths(3, 8),), TextLengths(2, 8), batch_size=2, cut=Cut(1))
SECAGG = PrivacySpec(secure_aggregation="secagg")
SECAGG_PLUS = PrivacySpec(secure_aggregation="secagg+")
WHOLE = Part.whole(TRAINING.model.num_layers)


def toy(num_values: int) -> Protocol:
    """One upload of so many values, nothing else."""
    payload = Payload(Content.ADAPTERS, (TensorSpec("x", (num_values,), "float32"),))
    return Protocol(
        "toy",
        setup=(),
        round=(
            Each((Transfer("up", Direction.UP, payload),)),
            Gather("up"),
            Once((Compute("mean", Site.SERVER, Aggregate(Content.ADAPTERS, WHOLE)),)),
        ),
    )


def protected(
    spec: PrivacySpec, n: int, num_values: int = 1000, num_dropouts: int = 0
) -> dict[str, dict[str, int]]:
    """What one client and the server do by step: bytes up and down, operations."""
    protocol = with_privacy(framework(toy(num_values)), spec, n, num_dropouts)(PLAN)
    return counted(protocol)


def counted(protocol: Protocol) -> dict[str, dict[str, int]]:
    """Payload bytes and operations by step."""
    rows: dict[str, dict[str, int]] = {}
    for segment in protocol.round:
        if isinstance(segment, Gather):
            continue
        for times, step in leaf_steps(segment.steps):
            row = rows.setdefault(step.label, {"up": 0, "down": 0, "flop": 0})
            if isinstance(step, Transfer):
                row[step.direction.value] += times * step.payload.payload_bytes
            else:
                row["flop"] += times * operation_flop(step.operation, TRAINING)
    return rows


def client_flop(rows: dict[str, dict[str, int]]) -> int:
    """Operations of one client."""
    return sum(row["flop"] for step, row in rows.items() if step in ("sa1", "sa2", "sa3", "sa4"))


def exchanged(rows: dict[str, dict[str, int]]) -> int:
    """Bytes of keys, shares and survivors, up and down."""
    return sum(row["up"] + row["down"] for step, row in rows.items() if step in PRIVACY_STEPS)


def server_operations(protocol: Protocol, label: str) -> list[Operation]:
    """What the server does once a round under a name."""
    return [
        step.operation
        for segment in protocol.round
        if isinstance(segment, Once)
        for _, step in leaf_steps(segment.steps)
        if isinstance(step, Compute) and step.label == label
    ]


def framework(protocol: Protocol) -> Framework:
    """A framework of one protocol, whatever the plan."""
    return Framework(protocol.name, protocol.name, lambda _: protocol)
