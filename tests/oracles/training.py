"""fedsim's real training beside ``hf_trainer``: by how much losses and tensors differ."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from torch import Tensor

from fedsim.runtime.federation import Federation
from fedsim.runtime.options import RunOptions
from fedsim.runtime.training import Mode, round_runner
from fedsim.spec.batch import Padding
from fedsim.spec.tuning import LoraTuning
from oracles.hf_trainer import (
    BATCH_SIZE,
    LEARNING_RATE,
    RANK,
    averaged_by_hand,
    peft_model,
    trained_by_trainer,
    trained_tensors,
)
from tiny import RoundSettings, tiny_federation, tiny_training

__all__ = ["NUM_ROUNDS", "Difference", "average_difference", "training_difference"]

NUM_ROUNDS = 4
#: Texts of many lengths: three batches a round, two with a single row in the last, five.
_LENGTHS = [3, 9, 1, 4, 4, 7, 2, 8]
_ROWS = {"ann": 3 * _LENGTHS, "ben": [*_LENGTHS, 5], "cat": 5 * _LENGTHS}


class Difference(NamedTuple):
    """The largest of each kind, and what shows that there was something to differ in."""

    losses: float
    tensors: float
    num_steps: int
    moved: float


def training_difference(learning_rate: float = LEARNING_RATE) -> Difference:
    """One client over some rounds, beside one run of transformers' Trainer on the same batches."""
    federation = _federation(["ann"], learning_rate)
    losses: list[float] = []

    def on_step(_round: int, _party: str, step: str) -> None:
        if step == "a2":
            losses.append(federation.clients["ann"].trainer.last_loss)

    runner = round_runner("sequential", federation, on_step=on_step)
    runner.run_setup()
    for round_index in range(1, NUM_ROUNDS + 1):
        runner.run_round(round_index)
    theirs, before = peft_model(), trained_tensors(peft_model())
    rows = federation.data.clients["ann"]
    expected = trained_by_trainer(theirs, rows, "ann", range(1, NUM_ROUNDS + 1))
    found = federation.clients["ann"].trainer.adapters(with_head=True)
    assert len(losses) == len(expected)
    return Difference(
        max(abs(one - other) for one, other in zip(losses, expected, strict=True)),
        _largest(found, trained_tensors(theirs)),
        len(losses),
        _largest(found, before),
    )


def average_difference(mode: Mode) -> Difference:
    """The global tensors after one round of three unequal clients, beside an average by hand."""
    # A cohort computes each length apart; what stands behind a text's last token reaches nothing.
    padding: Padding = "none" if mode == "cohort" else "max_tokens"
    federation = _federation(list(_ROWS), padding=padding)
    runner = round_runner(mode, federation)
    runner.run_setup()
    runner.run_round(1)
    found = federation.server.trainer.adapters(with_head=True)
    expected = _average_by_hand()
    before = trained_tensors(peft_model())
    return Difference(0.0, _largest(found, expected), len(_ROWS), _largest(found, before))


@cache
def _average_by_hand() -> dict[str, Tensor]:
    """Each client's model is trained by transformers' Trainer."""
    federation = _federation(list(_ROWS))
    sent = {}
    for client_id, rows in federation.data.clients.items():
        model = peft_model()
        trained_by_trainer(model, rows, client_id, [1])
        sent[client_id] = trained_tensors(model)
    return averaged_by_hand(sent, {name: len(lengths) for name, lengths in _ROWS.items()})


def _federation(
    names: list[str], learning_rate: float = LEARNING_RATE, padding: Padding = "max_tokens"
) -> Federation:
    tuning = LoraTuning(r=RANK, alpha=8.0, target_modules=("attn.c_attn",))
    return tiny_federation(
        "fedllm",
        tiny_training(tuning=tuning),
        RoundSettings(batch_size=BATCH_SIZE, padding=padding),
        clients={name: _ROWS[name] for name in names},
        options=RunOptions(learning_rate=learning_rate, optimizer_state="keep"),
        is_perturbed=False,
    )


def _largest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Difference of any value of any tensor; the names must be the same."""
    assert one.keys() == other.keys()
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)
