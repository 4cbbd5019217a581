"""Something is broken on purpose, and what is there to see it sees it."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch")

import torch
from torch import Tensor

from fedsim.agreement import Difference
from fedsim.cli import main
from fedsim.cost.flop import operation_flop
from fedsim.protocol.operation import (
    BackwardFromCut,
    Content,
    Distill,
    ForwardToCut,
    InferLogits,
    Operation,
    Train,
    TrainAboveCut,
)
from fedsim.protocol.payload import Payload, TensorSpec
from fedsim.runtime import client as client_module
from fedsim.runtime.federation import Federation
from fedsim.runtime.server import Server
from fedsim.runtime.trainer import Trainer
from fedsim.spec.plan import Cut, TrainingSpec
from fedsim.spec.tuning import LoraTuning
from fedsim.study.verify import verify
from tiny import RoundSettings, tiny_federation, tiny_training

FRAMEWORKS = ("fedllm", "kd_fedllm", "split_fedllm")


def tiny(framework: str) -> Federation:
    """Two clients of two texts each, in one batch."""
    return tiny_federation(
        framework,
        tiny_training(),
        RoundSettings(batch_size=2, cut=Cut(1) if framework == "split_fedllm" else None),
        clients={"ann": (4, 9), "bob": (2, 3)},
        public=(5, 7) if framework == "kd_fedllm" else None,
    )


def found_by_verify(framework: str) -> tuple[Difference, ...]:
    """Differences that a verification reports."""
    outcome = verify(lambda: tiny(framework), framework, timed_rounds=0)
    assert outcome.agrees == (not outcome.found)
    return outcome.found


def steps_and_fields(found: tuple[Difference, ...]) -> set[tuple[str, str]]:
    return {(difference.key.step, difference.field) for difference in found}


def invoke_verify(framework: str) -> Result:
    """``fedsim verify`` as a user types it."""
    keys = ("workload.samples_per_client=2", "workload.public_samples=2")
    quick = ["--timed-rounds", "0", *(word for key in keys for word in ("--set", key))]
    return CliRunner().invoke(main, ["verify", "--framework", framework, *quick])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_nothing_is_reported_where_nothing_is_broken(framework: str) -> None:
    """The controls below start from agreement."""
    assert found_by_verify(framework) == ()


# --- a wrong formula -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("framework", "operation", "steps"),
    [
        ("fedllm", Train, {"a2"}),
        ("kd_fedllm", Train, {"b1"}),
        ("kd_fedllm", InferLogits, {"b2", "b6"}),
        ("kd_fedllm", Distill, {"b5", "b8"}),
        ("split_fedllm", ForwardToCut, {"c1"}),
        ("split_fedllm", TrainAboveCut, {"c3"}),
        ("split_fedllm", BackwardFromCut, {"c5"}),
    ],
)
def test_one_flop_too_many_in_a_formula_is_named(
    framework: str, operation: type, steps: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps that are costed by it differ by one each, and no other step does."""

    def wrong(found: Operation, training: TrainingSpec) -> int:
        return operation_flop(found, training) + isinstance(found, operation)

    monkeypatch.setattr("fedsim.cost.step_row.operation_flop", wrong)

    found = found_by_verify(framework)

    assert {difference.key.step for difference in found} == steps
    assert {difference.measured - difference.predicted for difference in found} == {-1}
    assert {difference.field for difference in found} <= {"client_flop", "server_flop"}


@pytest.mark.parametrize(
    ("framework", "function", "steps"),
    [
        ("fedllm", "adapter_payload", {"a1", "a3"}),
        ("fedllm", "base_weights_payload", {"setup"}),
        ("kd_fedllm", "logits_payload", {"b3", "b7"}),
        ("kd_fedllm", "public_text_payload", {"setup"}),
        ("split_fedllm", "activation_payload", {"c2"}),
        ("split_fedllm", "activation_gradient_payload", {"c4"}),
        ("split_fedllm", "adapter_payload", {"setup", "cc1", "cc3"}),
    ],
)
def test_a_payload_that_forgets_a_tensor_is_named(
    framework: str, function: str, steps: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message that it describes is longer than said, and no other."""
    module = importlib.import_module(f"fedsim.protocol.{framework}")
    right: Callable[..., Payload] = getattr(module, function)

    def wrong(*arguments: Any) -> Payload:
        payload = right(*arguments)
        return Payload(payload.content, payload.tensors[:-1])

    monkeypatch.setattr(module, function, wrong)

    found = found_by_verify(framework)

    assert {difference.key.step for difference in found} == steps
    assert all(difference.measured > difference.predicted for difference in found)


def test_a_wrong_name_in_a_header_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The payload is right and the message is not: a longer name makes a longer header."""
    module = importlib.import_module("fedsim.protocol.split_fedllm")
    right = module.activation_gradient_payload

    def wrong(*arguments: Any) -> Payload:
        payload = right(*arguments)
        tensors = tuple(
            TensorSpec(f"{t.name}_of_the_batch", t.shape, t.dtype) for t in payload.tensors
        )
        return Payload(payload.content, tensors)

    monkeypatch.setattr(module, "activation_gradient_payload", wrong)

    assert steps_and_fields(found_by_verify("split_fedllm")) == {("c4", "downlink_message_bytes")}


# --- a wrong run ---------------------------------------------------------------------------------


def send_one_tensor_more(monkeypatch: pytest.MonkeyPatch) -> None:
    right = client_module.activation_message

    def wrong(*arguments: Any) -> dict[str, Tensor]:
        return right(*arguments) | {"extra": torch.zeros(1)}

    monkeypatch.setattr(client_module, "activation_message", wrong)


def multiply_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Trainer.train

    def wrong(self: Trainer, *arguments: Any, **options: Any) -> None:
        torch.ones(2, 3) @ torch.ones(3, 4)
        right(self, *arguments, **options)

    monkeypatch.setattr(Trainer, "train", wrong)


def test_one_tensor_more_in_a_message_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four bytes more in c2, and a longer header: neither hides in 2 kB of activations."""
    send_one_tensor_more(monkeypatch)

    found = found_by_verify("split_fedllm")

    assert steps_and_fields(found) == {
        ("c2", "uplink_payload_bytes"),
        ("c2", "uplink_message_bytes"),
    }
    payload = [d for d in found if d.field == "uplink_payload_bytes"]
    assert [d.measured - d.predicted for d in payload] == [4, 4]


def test_one_matrix_product_more_in_a_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 x 2 x 3 x 4 = 48 FLOPs more in a2, of a million."""
    multiply_once_more(monkeypatch)

    found = found_by_verify("fedllm")

    assert steps_and_fields(found) == {("a2", "client_flop")}
    assert {d.measured - d.predicted for d in found} == {48}


def test_a_message_in_another_format_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that widens its parameters to 64 bits sends twice as much in a1."""
    right = Server._outgoing

    def wrong(self: Server, content: Content, client_id: str) -> dict[str, Tensor]:
        message = right(self, content, client_id)
        if content is not Content.ADAPTERS:
            return message
        return {name: tensor.double() for name, tensor in message.items()}

    monkeypatch.setattr(Server, "_outgoing", wrong)

    found = found_by_verify("fedllm")

    assert {d.key.step for d in found} == {"a1"}
    payload = [d for d in found if d.field == "downlink_payload_bytes"]
    assert [d.measured for d in payload] == [2 * d.predicted for d in payload] != []


def test_a_gradient_that_nobody_waits_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that asks for the cut's gradient of a client that trains nothing wastes products."""

    def tiny_frozen_client() -> Federation:
        lora = LoraTuning(r=2, num_top_layers=1)
        settings = RoundSettings(batch_size=2, cut=Cut(2))
        clients = {"ann": (4, 9), "bob": (2, 3)}
        return tiny_federation(
            "split_fedllm", tiny_training(tuning=lora), settings, clients=clients
        )

    assert verify(tiny_frozen_client, "split_fedllm", timed_rounds=0).agrees
    monkeypatch.setattr(Server, "client_trains", lambda self, client_id: True)

    found = verify(tiny_frozen_client, "split_fedllm", timed_rounds=0).found

    # T = 18 tokens, d = 16, r = 2: 6 T d^2 + 2 T d r of the lowest adapted block a client.
    assert steps_and_fields(found) == {("c3", "server_flop")}
    assert {d.measured - d.predicted for d in found} == {6 * 18 * 16**2 + 2 * 18 * 16 * 2}


@pytest.mark.parametrize(
    ("framework", "breaks", "step"),
    [("split_fedllm", send_one_tensor_more, "c2"), ("fedllm", multiply_once_more, "a2")],
)
def test_the_command_ends_with_three_and_names_the_step(
    framework: str,
    breaks: Callable[[pytest.MonkeyPatch], None],
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Agreement ends with 0; a difference with 3, the first step that differs, and no traceback."""
    assert invoke_verify(framework).exit_code == 0
    breaks(monkeypatch)

    result = invoke_verify(framework)

    assert result.exit_code == 3, result.output
    assert f"step {step}" in " ".join(result.output.split())
    assert "Traceback" not in result.output
