"""A protocol that leaves data unused is noticed, although both sides would count alike."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fedsim.errors import ProtocolError
from fedsim.protocol import fedllm, kd_fedllm
from fedsim.protocol.step import Each, Protocol, Repeat, Step
from fedsim.runtime.aggregation import weighted_average
from fedsim.spec.plan import ClientPlan
from fedsim.training.file import TrainingDocument, read_training
from fedsim.training.setup import TrainingSetup


def without_last_batch(protocol: Protocol) -> Protocol:
    """The protocol with one of its mini-batches missing."""
    steps: list[Step] = []
    for step in protocol.round[0].steps:  # type: ignore[union-attr]
        is_batches = isinstance(step, Repeat)
        if is_batches and step.times > 1:
            steps.append(replace(step, times=step.times - 1))
        else:
            steps.append(step)
    return replace(protocol, round=(Each(tuple(steps)), *protocol.round[1:]))


@pytest.mark.parametrize("framework", [fedllm, kd_fedllm])
def test_a_missing_batch_is_an_error(framework) -> None:
    """A round that visits fewer samples than a client has stops with the number left."""
    case = "kd" if framework is kd_fedllm else "fedllm"
    document = read_training("verify_tiny", ["workload.samples_per_client=8"], case)

    def short(plan: ClientPlan) -> Protocol:
        return without_last_batch(framework(plan))

    federation, _ = TrainingSetup(_with_framework(document, short)).federation(0)
    executor = federation.executor(counts_flop=False)
    federation.run_setup(executor)
    with pytest.raises(ProtocolError, match=r"unused|left"):
        federation.run_round(executor, 1)


def _with_framework(
    document: TrainingDocument, build: Callable[[ClientPlan], Protocol]
) -> TrainingDocument:
    case = document.case.case
    changed = replace(case, framework=replace(case.framework, build=build))
    return replace(document, case=replace(document.case, case=changed))


def test_unequal_shapes_are_not_averaged() -> None:
    """Adapters of different ranks have no plain average: an error and no silent choice."""
    import torch

    sent = {"a": {"x": torch.ones(2, 3)}, "b": {"x": torch.ones(4, 3)}}
    with pytest.raises(ProtocolError, match="other names or shapes"):
        weighted_average(sent, {"a": 1.0, "b": 1.0})
