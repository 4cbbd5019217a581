"""Configurations run for real and held against the formulas. Needs the extra ``runtime``."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedsim.agreement import differences
from fedsim.protocol.operation import Distill, Train, TrainAboveCut
from fedsim.protocol.step import Compute, Each, Gather, Protocol, Repeat, Transfer, leaf_steps
from fedsim.runtime.federation import Federation
from fedsim.runtime.options import RunOptions
from fedsim.study.verify import predicted_ledger
from strategies import Configuration
from tiny import RoundSettings, tiny_federation
from toy_codecs import named_codecs

__all__ = ["Reached", "differences_of", "federation_of"]

_CODED = ("adapters", "logits", "activations", "activation_gradients")


@dataclass
class Reached:
    """What the configurations of a test file came to, so that a test can count it.

    Attributes
    ----------
    configurations : list of Configuration
        Those that were run to the end.
    situations : set of str
        What happened in them; see :func:`situations`.
    """

    configurations: list[Configuration] = field(default_factory=list)
    situations: set[str] = field(default_factory=set)

    def run(self, configuration: Configuration) -> list[str]:
        """Run a set-up and a round; return what was counted otherwise than predicted."""
        federation = federation_of(configuration)
        found = differences_of(federation)
        self.configurations.append(configuration)
        for protocol in federation.protocols(1).values():
            self.situations |= situations(protocol)
        return found


def federation_of(configuration: Configuration) -> Federation:
    """Two clients with texts of their own, 1 to 9 tokens long."""
    num_samples = configuration["num_samples"]
    num_public = configuration.get("num_public", None)
    return tiny_federation(
        configuration.framework,
        configuration.training,
        RoundSettings(
            batch_size=configuration["batch_size"],
            accumulation_steps=configuration["accumulation_steps"],
            local_epochs=configuration["local_epochs"],
            distillation_epochs=configuration.get("distillation_epochs", 1),
            padding=configuration["padding"],
            cut=configuration.cut,
            server_variant=configuration.get("server_variant", "v1"),
            shares_head=configuration.get("shares_head", True),
            codecs=named_codecs(**dict.fromkeys(_CODED, configuration["codecs"])),
        ),
        clients={
            # One sample less, so that no count of one client is the other's by accident.
            "ann": configuration.lengths(1, num_samples),
            "bob": configuration.lengths(2, max(2, num_samples - 1)),
        },
        public=None if num_public is None else configuration.lengths(3, num_public),
        options=RunOptions(
            seed=configuration.seed,
            distillation_loss=configuration.get("distillation_loss", "kl"),
        ),
        seed=configuration.seed,
    )


def differences_of(federation: Federation, num_rounds: int = 1) -> list[str]:
    """What a real set-up and real rounds count otherwise than the formulas say."""
    executor = federation.executor()
    federation.run_setup(executor)
    for round_index in range(1, num_rounds + 1):
        federation.run_round(executor, round_index)
    return [
        str(difference)
        for difference in differences(predicted_ledger(federation, num_rounds), executor.ledger)
    ]


def situations(protocol: Protocol) -> set[str]:
    """By name, what a protocol comes to: an axis may have a value and still never matter."""
    found = set()
    batches: dict[str, list[object]] = {}
    for segment in (*protocol.setup, *protocol.round):
        if isinstance(segment, Gather):
            continue
        if any(isinstance(step, Repeat) for step in segment.steps):
            found.add("equal batches are written once")
        for _, step in leaf_steps(segment.steps):
            if isinstance(step, Transfer) and not step.payload.tensors:
                found.add(f"{step.label} carries nothing")
            if not isinstance(step, Compute):
                continue
            if isinstance(step.operation, (Train, Distill, TrainAboveCut)):
                batches.setdefault(step.label, []).append(step.operation.batch)
                if not step.operation.is_update:
                    found.add(f"{step.label} accumulates")
    for label, shapes in batches.items():
        if len(set(shapes)) > 1:
            found.add(f"{label} has unequal batches")
    labels = {
        step.label
        for segment in protocol.round
        if isinstance(segment, Each)
        for _, step in leaf_steps(segment.steps)
    }
    if protocol.name == "split_fedllm":
        found.add("the client trains" if "c4" in labels else "the client trains nothing")
    return found
