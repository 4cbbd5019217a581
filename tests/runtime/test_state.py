"""Whatever a party keeps between rounds is in the registry, and a run that was stopped goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from fedsim.errors import ProtocolError
from fedsim.runtime.client import Client
from fedsim.runtime.federation import Federation
from fedsim.runtime.options import RunOptions
from fedsim.runtime.state import NamedTensors, StateRegistry
from fedsim.runtime.text_batch import TextBatch
from fedsim.runtime.training import Checkpoints
from fedsim.runtime.training.rounds import FederatedRounds
from fedsim.spec.plan import Cut
from tiny import RoundSettings, tiny_federation, tiny_training
from toy_codecs import named_codecs

NUM_ROUNDS = 4
NUM_MOMENTS = 20
LENGTHS = {"ann": (4, 9, 1, 7), "bob": (3, 8)}
OPTIONS = RunOptions(learning_rate=0.05, optimizer_state="keep", seed=2)
State = dict[str, Tensor]
_CODED = ("adapters", "logits", "activations", "activation_gradients")


class StoppedError(Exception):
    """As a user's Ctrl-C would, somewhere within a round."""


@dataclass
class RememberingClient(Client):
    """A party with a buffer: it sees a sample of the round before again, as rehearsal does."""

    buffer: NamedTensors = field(default_factory=NamedTensors)

    def next_batch(self, num_samples: int) -> TextBatch:
        """The batch, with its first sample replaced by the one that is remembered."""
        batch = super().next_batch(num_samples)
        ids, last, labels = batch.token_ids.clone(), batch.last_index.clone(), batch.labels
        assert labels is not None
        labels = labels.clone()
        fresh = {"ids": ids[-1].clone(), "last": last[-1].clone(), "label": labels[-1].clone()}
        if self.buffer:
            ids[0], last[0] = self.buffer["ids"], self.buffer["last"]
            labels[0] = self.buffer["label"]
        self.buffer.update(fresh)
        return TextBatch(ids, last, labels, batch.is_padded)


def federation(
    framework: str,
    *,
    has_buffers: bool = True,
    is_entered: bool = True,
    has_codecs: bool = True,
    are_codecs_entered: bool = True,
) -> Federation:
    """Two clients, with a buffer and codecs that keep the last message where they should have them.

    Batches across the cut have two samples or one, so those messages change their shapes too.
    """
    ways = dict.fromkeys(_CODED, ("delta", "delta") if has_codecs else (None, None))
    settings = RoundSettings(
        batch_size=2,
        cut=Cut(1) if framework == "split_fedllm" else None,
        codecs=named_codecs(**ways),
    )
    found = tiny_federation(
        framework,
        tiny_training(),
        settings,
        clients=LENGTHS,
        public=(3, 4, 5) if framework == "kd_fedllm" else None,
        options=OPTIONS,
        draws_masks_by_name=True,
    )
    if has_buffers:
        for client_id, client in list(found.clients.items()):
            own = RememberingClient(
                client_id,
                client.trainer,
                client.private,
                client.plan,
                client.public,
                codecs=client.codecs,
            )
            found.clients[client_id] = own
            if is_entered:
                found.state.enter(f"buffer/{client_id}", own.buffer)
    if not are_codecs_entered:
        for name in found.state.names():
            if name.startswith("codecs/"):
                found.state.remove(name)
    return found


def rounds(found: Federation) -> FederatedRounds:
    """The federation's rounds, one client after the other."""
    return FederatedRounds(found, found.executor(counts_flop=False))


def copied(state: State) -> State:
    return {name: tensor.clone() for name, tensor in state.items()}


def whole(framework: str, **choices: Any) -> tuple[State, int]:
    """The last state of a run that nobody stopped, and how many steps its rounds had."""
    runner, steps = rounds(federation(framework, **choices)), []
    runner.run_setup()
    runner.executor.on_step = lambda *step: steps.append(step)
    for index in range(1, NUM_ROUNDS + 1):
        runner.run_round(index)
    return copied(runner.tensors()), len(steps)


def interrupted(framework: str, moments: Iterable[int], **choices: Any) -> State:
    """The last state of a run that is stopped within each of some steps, counted over all rounds.

    Each time another process would go on, so a federation made anew does, from the last round.
    """
    runner = rounds(federation(framework, **choices))
    runner.run_setup()
    kept, passed = [copied(runner.tensors())], [0]
    for moment in [*sorted(moments), 0]:
        left = [moment - passed[-1]]
        runner = rounds(federation(framework, **choices))
        runner.load(kept[-1])
        runner.executor.on_step = _stop_within(left)
        try:
            for index in range(len(kept), NUM_ROUNDS + 1):
                before = left[0]
                runner.run_round(index)
                kept.append(copied(runner.tensors()))
                passed.append(passed[-1] + before - left[0])
        except StoppedError:
            continue
    return kept[-1]


def _stop_within(left: list[int]) -> Callable[..., None]:
    def stop(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise StoppedError

    return stop


def is_same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("framework", ["fedllm", "split_fedllm", "kd_fedllm"])
def test_a_run_stopped_at_any_moment_ends_with_the_same_bits(framework: str) -> None:
    """At twenty moments over all its steps, optimizers and buffers included."""
    expected, num_steps = whole(framework)
    moments = {1 + place * (num_steps - 1) // (NUM_MOMENTS - 1) for place in range(NUM_MOMENTS)}
    assert len(moments) == NUM_MOMENTS
    assert is_same(interrupted(framework, moments), expected)


def test_a_buffer_that_is_not_entered_is_missed() -> None:
    """The test above fails without the entry, and a buffer changes what is learned."""
    expected, num_steps = whole("fedllm")
    plain, _ = whole("fedllm", has_buffers=False)
    lost = interrupted("fedllm", [num_steps // 2], is_entered=False)
    own = {name: tensor for name, tensor in expected.items() if not name.startswith("buffer/")}
    assert not is_same(lost, own)
    assert not is_same(plain, own)


def test_codecs_that_are_not_entered_are_missed() -> None:
    """As buffers are: a receiver would add a difference to nothing."""
    expected, num_steps = whole("fedllm")
    plain, _ = whole("fedllm", has_codecs=False)
    lost = interrupted("fedllm", [num_steps // 2], are_codecs_entered=False)
    own = {name: tensor for name, tensor in expected.items() if not name.startswith("codecs/")}
    assert len(own) < len(expected)
    assert not is_same(lost, own)
    assert plain.keys() == own.keys()


KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[4:]
import test_state
from pathlib import Path
framework, folder, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
test_state.go_on(framework, folder, kill_at=last)
"""


def go_on(framework: str, folder: Path, kill_at: int = 0) -> State:
    """Go on from the last checkpoint of a folder, and be killed at a step where one is named."""
    checkpoints = Checkpoints(folder, {"test": framework})
    runner = rounds(federation(framework))
    done = checkpoints.latest()
    calls: list[object] = []

    def kill(*step: object) -> None:
        calls.append(step)
        if len(calls) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    last = 0
    if done is None:
        runner.run_setup()
        checkpoints.write(0, runner.tensors())
    else:
        runner.load(done.tensors)
        last = done.round_index
    runner.executor.on_step = kill
    for index in range(last + 1, NUM_ROUNDS + 1):
        runner.run_round(index)
        checkpoints.write(index, runner.tensors())
    return copied(runner.tensors())


def test_a_run_killed_twice_ends_with_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL, each time in a process of its own; checkpoints are files."""
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    for kill_at, last in ((20, 2), (11, 3)):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, "fedllm", str(tmp_path), str(kill_at), *paths],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        found = Checkpoints(tmp_path, {"test": "fedllm"}).latest()
        assert found is not None
        assert found.round_index == last
    expected, _ = whole("fedllm")
    assert is_same(go_on("fedllm", tmp_path), expected)


# --- the registry itself -------------------------------------------------------------------------


def test_a_name_is_entered_once() -> None:
    """Nor may one name be the beginning of another: nobody could tell their tensors apart."""
    registry = StateRegistry()
    registry.enter("client/ann", NamedTensors())
    registry.enter("client/anna", NamedTensors())
    for name in ("client/ann", "client", "client/ann/buffer"):
        with pytest.raises(ProtocolError, match=f"state '{name}'"):
            registry.enter(name, NamedTensors())
    assert registry.names() == ("client/ann", "client/anna")


def test_tensors_that_belong_to_nobody_are_refused() -> None:
    """A state of a run with a buffer does not load without one; what is taken out is not stored."""
    registry, own = StateRegistry(), NamedTensors(x=torch.ones(2))
    registry.enter("buffer", own)
    state = copied(registry.tensors())
    assert set(state) == {"buffer/x"}
    own["x"] = torch.zeros(2)
    registry.load(state)
    assert torch.equal(own["x"], torch.ones(2))
    registry.remove("buffer")
    assert registry.tensors() == {}
    with pytest.raises(ProtocolError, match=r"1 tensors.*'buffer/x'"):
        registry.load(state)
