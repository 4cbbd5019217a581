"""Checkpoints survive kills, full disks and other people's files; evaluation and fingerprints."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fedsim.errors import ScenarioError, TrainingError
from fedsim.protocol.operation import Part
from fedsim.runtime.federation import FederationData
from fedsim.runtime.options import RunOptions
from fedsim.runtime.training import (
    Checkpoints,
    Evaluator,
    RoundRunner,
    data_sha256,
    round_runner,
    weights_sha256,
)
from fedsim.spec.plan import Cut
from tiny import (
    LANGUAGE_MODEL,
    PAD,
    RoundSettings,
    tiny_federation,
    tiny_model,
    tiny_rows,
    tiny_training,
)

IDENTITY = {"configuration": "abc", "weights": "def"}


def state(value: float) -> dict[str, Tensor]:
    """Two tensors, one without a dimension."""
    return {
        "server/parameter/w": torch.full((2, 3), float(value)),
        "step": torch.tensor(float(value)),
    }


def checkpoints(folder: Path, **changes: str) -> Checkpoints:
    """Of one run."""
    return Checkpoints(folder, {**IDENTITY, **changes})


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Bit by bit, the newest of two."""
    checkpoints(tmp_path).write(1, state(0.1))
    checkpoints(tmp_path).write(2, state(0.2))
    found = checkpoints(tmp_path).latest()
    assert found is not None
    assert found.round_index == 2
    assert found.tensors.keys() == state(0.2).keys()
    assert all(torch.equal(found.tensors[name], t) for name, t in state(0.2).items())


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    """Older ones go, with their tensors."""
    for index in range(1, 5):
        checkpoints(tmp_path).write(index, state(index))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "round-000003.json",
        "round-000003.safetensors",
        "round-000004.json",
        "round-000004.safetensors",
    ]


def test_nothing_there_is_no_checkpoint(tmp_path: Path) -> None:
    """Nor is a file of another name, or tensors whose JSON a kill prevented."""
    assert checkpoints(tmp_path / "none").latest() is None
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "round-000001.safetensors").write_bytes(b"half")
    assert checkpoints(tmp_path).latest() is None


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "json"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(damage: str, tmp_path: Path) -> None:
    """And is named; when both are damaged the error says what to type."""
    for index in (1, 2):
        checkpoints(tmp_path).write(index, state(index))

    def harm(index: int) -> None:
        tensors = tmp_path / f"round-{index:06}.safetensors"
        body = tensors.read_bytes()
        if damage == "truncated":
            tensors.write_bytes(body[:-3])
        elif damage == "changed":
            tensors.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
        elif damage == "missing":
            tensors.unlink()
        else:
            tensors.with_suffix(".json").write_text("{")

    harm(2)
    kept = checkpoints(tmp_path)
    found = kept.latest()
    assert found is not None
    assert found.round_index == 1
    assert "round-000002" in kept.damaged[0]
    harm(1)
    with pytest.raises(ScenarioError, match=r"no good checkpoint is left. Give --fresh"):
        kept.latest()


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    """Naming what differs, and how to go on."""
    checkpoints(tmp_path).write(1, state(1.0))
    with pytest.raises(ScenarioError, match=r"weights was def and is xyz.*--fresh"):
        checkpoints(tmp_path, weights="xyz").latest()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_state_that_is_not_finite_is_never_kept(value: float, tmp_path: Path) -> None:
    """The last good checkpoint stays."""
    checkpoints(tmp_path).write(1, state(1.0))
    with pytest.raises(TrainingError, match="round 2: server/parameter/w"):
        checkpoints(tmp_path).write(2, state(value))
    found = checkpoints(tmp_path).latest()
    assert found is not None
    assert found.round_index == 1


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_full_disk_leaves_earlier_checkpoints(
    fails_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether there is no room for the tensors or for the JSON behind them; no rest stays."""
    checkpoints(tmp_path).write(1, state(1.0))
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == fails_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ScenarioError, match="No space left on device"):
            checkpoints(tmp_path).write(2, state(2.0))
    assert not list(tmp_path.glob("*.part"))
    found = checkpoints(tmp_path).latest()
    assert found is not None
    assert found.round_index == 1
    checkpoints(tmp_path).write(2, state(2.0))
    assert checkpoints(tmp_path).latest() is not None


def test_the_json_beside_it_says_what_it_belongs_to(tmp_path: Path) -> None:
    """Round, identity, size and hash."""
    checkpoints(tmp_path).write(7, state(1.0))
    sidecar = json.loads((tmp_path / "round-000007.json").read_text())
    body = (tmp_path / "round-000007.safetensors").read_bytes()
    assert (sidecar["round"], sidecar["identity"]) == (7, IDENTITY)
    assert sidecar["num_bytes"] == len(body)


@pytest.mark.parametrize("framework", ["fedllm", "kd_fedllm", "split_fedllm"])
@pytest.mark.parametrize("optimizer_state", ["reset", "keep"])
def test_a_state_holds_all_that_the_next_round_depends_on(
    framework: str, optimizer_state: str, tmp_path: Path
) -> None:
    """A fresh federation that takes it goes on bit by bit, with dropout and a kept head."""

    def runner() -> RoundRunner:
        training = tiny_training(model_dropout=0.2)
        federation = tiny_federation(
            framework,
            training,
            RoundSettings(
                batch_size=2,
                padding="none",
                cut=Cut(1) if framework == "split_fedllm" else None,
                shares_head=framework == "split_fedllm",
            ),
            clients={"client-0": (5, 7, 3), "client-1": (4, 8)},
            public=(3, 4, 5) if framework == "kd_fedllm" else None,
            options=RunOptions(optimizer_state=optimizer_state),  # type: ignore[arg-type]
        )
        return round_runner("sequential", federation)

    whole = runner()
    whole.run_setup()
    whole.run_round(1)
    checkpoints(tmp_path).write(1, whole.tensors())
    whole.run_round(2)
    resumed = runner()
    found = checkpoints(tmp_path).latest()
    assert found is not None
    resumed.load(found.tensors)
    resumed.run_round(2)
    expected, actual = whole.tensors(), resumed.tensors()
    assert expected.keys() == actual.keys()
    assert all(torch.equal(tensor, actual[name]) for name, tensor in expected.items())


def test_clients_own_parameters_are_those_ahead_of_the_average() -> None:
    """In Split-FedLLM V1 as in FedLLM, and the same in both."""
    found = []
    for framework, cut in (("fedllm", None), ("split_fedllm", Cut(1))):
        federation = tiny_federation(
            framework,
            tiny_training(),
            RoundSettings(batch_size=2, cut=cut),
            clients={"client-0": (5, 7), "client-1": (4, 8)},
        )
        runner = round_runner("sequential", federation)
        runner.run_setup()
        outcome = runner.run_round(1)
        own = outcome.own_parameters
        assert any(
            not torch.equal(own["client-0"][name], own["client-1"][name])
            for name in own["client-0"]
        )
        found.append(own)
    for client_id, tensors in found[0].items():
        assert tensors.keys() == found[1][client_id].keys()
        assert all(torch.equal(t, found[1][client_id][n]) for n, t in tensors.items())


@torch.no_grad()
def test_evaluation_is_the_librarys_own_loss() -> None:
    """Every row through the plain model alone gives the same mean loss and accuracy."""
    training = tiny_training()
    model, rows = tiny_model(training), tiny_rows([5, 3, 8, 5, 5, 1, 8])
    evaluation = Evaluator(model, rows, PAD).evaluate(_parameters(model))
    model.train(False)
    losses, right = [], 0
    for ids, label in zip(rows.token_ids, rows.labels.tolist(), strict=True):
        logits = model.module(input_ids=torch.from_numpy(ids)[None]).logits
        losses.append(float(functional.cross_entropy(logits, torch.tensor([label]))))
        right += int(logits.argmax(-1)[0]) == label
    assert evaluation.loss == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert evaluation.accuracy == right / 7
    assert evaluation.num_targets == 7


@torch.no_grad()
def test_a_language_models_loss_is_a_mean_over_next_tokens() -> None:
    """Of all rows together; rows of one token have none."""
    training = tiny_training(head=LANGUAGE_MODEL)
    model = tiny_model(training)
    rows = tiny_rows([5, 3, 1, 5], num_classes=0)
    evaluation = Evaluator(model, rows, PAD).evaluate(_parameters(model))
    model.train(False)
    total = 0.0
    for ids in rows.token_ids:
        tokens = torch.from_numpy(ids)[None]
        logits = model.module(input_ids=tokens).logits[0, :-1]
        total += float(functional.cross_entropy(logits, tokens[0, 1:], reduction="sum"))
    assert evaluation.num_targets == 4 + 2 + 0 + 4
    assert evaluation.loss == pytest.approx(total / 10, rel=1e-6)


def test_evaluation_leaves_the_model_alone() -> None:
    """It works on a copy of what is trained."""
    model = tiny_model(tiny_training())
    before = {name: t.clone() for name, t in _parameters(model).items()}
    evaluator = Evaluator(model, tiny_rows([3, 4]), PAD)
    evaluator.evaluate({name: torch.zeros_like(t) for name, t in before.items()})
    assert all(torch.equal(t, before[name]) for name, t in _parameters(model).items())


def test_fingerprints_see_one_bit() -> None:
    """Of a weight, of a token and of a label; and the same things give the same hash."""
    training = tiny_training()
    model = tiny_model(training)
    first = weights_sha256(model)
    assert first == weights_sha256(tiny_model(training))
    with torch.no_grad():
        next(model.module.parameters())[0, 0] += 1e-3
    assert weights_sha256(model) != first
    rows, test = tiny_rows([3, 4]), tiny_rows([2])
    one = data_sha256(FederationData({"client-0": rows}, None, PAD), test)
    assert one == data_sha256(FederationData({"client-0": tiny_rows([3, 4])}, None, PAD), test)
    rows.labels[0] ^= 1
    assert one != data_sha256(FederationData({"client-0": rows}, None, PAD), test)


def _parameters(model: object) -> dict[str, Tensor]:
    whole = Part.whole(model.training.model.num_layers)  # type: ignore[attr-defined]
    return dict(model.trained(whole))  # type: ignore[attr-defined]
