"""Train every seed of a file from where it stands to its last round.

After each round the metrics and the ledger are on disk; a checkpoint follows when it is due. A run
that is killed goes on from its last checkpoint and forgets what was written behind it, so that it
ends with the bits of an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fedsim.calibration.machine import software_versions
from fedsim.errors import ScenarioError, TrainingError
from fedsim.ledger import SETUP_ROUND
from fedsim.runtime.device import tf32_products
from fedsim.runtime.federation import Federation
from fedsim.runtime.training import (
    Checkpoint,
    Checkpoints,
    Evaluator,
    RoundOutcome,
    RoundRunner,
    data_sha256,
    round_runner,
    weights_sha256,
)
from fedsim.training.folder import RunFolder
from fedsim.training.predicted import Devices, predicted_round, predicted_seconds
from fedsim.training.record import (
    Judgement,
    LossSteps,
    checked_ledger,
    evaluation_rows,
    ledger_records,
    metrics_record,
    prediction_record,
)
from fedsim.training.setup import TrainingSetup
from fedsim.training.summary import written_summary

__all__ = ["Observer", "run_training"]

_VERSIONS = ("torch", "transformers", "peft")


class Observer(Protocol):
    """Hears how a run goes on."""

    def on_start(self, seed: int, num_done: int) -> None:
        """A seed begins, with so many of its rounds done earlier."""

    def on_step(self, round_index: int, party: str, step: str) -> None:
        """A step of a round is done."""

    def on_round(self, record: Mapping[str, Any]) -> None:
        """A round is on disk: its line of metrics."""

    def on_note(self, text: str) -> None:
        """Something the user should read."""


def run_training(
    setup: TrainingSetup, out: Path, observer: Observer, *, is_fresh: bool, command: str
) -> dict[str, Any]:
    """Train, or go on training, and return the summary.

    Parameters
    ----------
    setup : TrainingSetup
    out : Path
        The run's folder.
    observer : Observer
    is_fresh : bool
        Replace what the folder holds, once data and weights are there.
    command : str
        What the user typed, for the record.

    Raises
    ------
    ScenarioError
        If something of the user's does not fit; earlier results stay.
    TrainingError
        If training diverges; the last good checkpoint stays.
    AgreementError
        If a round's counts are not those of the formulas.
    """
    folder = RunFolder(out, setup.document)
    with folder.locked(), tf32_products(setup.document.train.tf32):
        if not is_fresh:
            folder.check()
        run = _Run(setup, folder, observer, is_fresh)
        for seed in setup.document.seeds:
            run.train(seed)
            summary = written_summary(setup, folder, run.identities, command)
    return summary


@dataclass
class _Run:
    setup: TrainingSetup
    folder: RunFolder
    observer: Observer
    must_clear: bool
    identities: dict[int, Mapping[str, str]] = field(default_factory=dict)

    def train(self, seed: int) -> None:
        """Bring one seed to its last round."""
        num_rounds = self.setup.document.settings.workload.num_rounds
        identity = self._identity(seed)
        done = None if self.must_clear else self._latest(seed, identity)
        if done is not None and done.round_index > num_rounds:
            raise ScenarioError(
                f"--output {self.folder.path}: seed {seed} has {done.round_index} rounds and "
                f"num_rounds is {num_rounds}; write at least as many, or give --fresh."
            )
        if done is not None and done.round_index == num_rounds:
            self._cut(seed, num_rounds)
            self.identities[seed] = done.identity
            self.observer.on_start(seed, num_rounds)
            return
        federation, test = self.setup.federation(seed)
        identity["weights"] = weights_sha256(federation.server.trainer.model)
        identity["data"] = data_sha256(federation.data, test)
        checkpoints = self.folder.checkpoints(seed, identity)
        if self.must_clear:
            self.folder.clear()
            self.must_clear = False
        elif done is not None:
            done = checkpoints.latest()
        self.folder.begin()
        devices = Devices.of(self.setup.document)
        seed_run = _SeedRun(self, seed, federation, checkpoints, devices=devices)
        pad = federation.data.pad_token_id
        seed_run.evaluator = Evaluator(
            federation.server.trainer.model,
            test,
            pad,
            counts_flop=self.setup.document.train.count_flop,
        )
        if self.setup.is_reduced:
            reference = self.setup.reference_model(federation, seed)
            seed_run.reference = Evaluator(reference, test, pad)
        self._cut(seed, -1 if done is None else done.round_index)
        seed_run.go_on(done, num_rounds)
        self.identities[seed] = identity

    def _identity(self, seed: int) -> dict[str, str]:
        versions = software_versions()
        return {
            "configuration": self.setup.document.sha256(),
            "seed": str(seed),
            "device": self.setup.device.type,
            **{name: versions[name] for name in _VERSIONS},
        }

    def _latest(self, seed: int, identity: Mapping[str, str]) -> Checkpoint | None:
        checkpoints = self.folder.checkpoints(seed, identity)
        found = checkpoints.latest()
        for text in checkpoints.damaged:
            self.observer.on_note(f"{text}: passed over")
        return found

    def _cut(self, seed: int, last_round: int) -> None:
        self.folder.ledger.cut(seed, last_round)
        kept = self.folder.metrics.cut(seed, last_round)
        if [record["round"] for record in kept] != list(range(last_round + 1)):
            raise ScenarioError(
                f"{self.folder.metrics.path}: lacks rounds of seed {seed} ahead of its checkpoint "
                f"of round {last_round}; give --fresh to start over."
            )


@dataclass
class _SeedRun:
    run: _Run
    seed: int
    federation: Federation
    checkpoints: Checkpoints
    evaluator: Evaluator = field(init=False)
    reference: Evaluator | None = None
    steps: LossSteps = field(init=False)
    devices: Devices | None = None

    def go_on(self, done: Checkpoint | None, num_rounds: int) -> None:
        """Run the rounds that are missing."""
        train = self.run.setup.document.train
        runner = round_runner(
            train.mode,
            self.federation,
            counts_flop=train.count_flop,
            on_step=self.run.observer.on_step,
        )
        self.steps = LossSteps.of(next(iter(self.federation.protocols(SETUP_ROUND).values())))
        last = 0 if done is None else done.round_index
        self.run.observer.on_start(self.seed, last)
        if done is None:
            self._record(SETUP_ROUND, runner.run_setup())
        else:
            runner.load(done.tensors)
        for round_index in range(last + 1, num_rounds + 1):
            try:
                self._round(runner, round_index, num_rounds)
            except TrainingError as error:
                raise self._diverged(error) from error

    def _round(self, runner: RoundRunner, round_index: int, num_rounds: int) -> None:
        is_last = round_index == num_rounds
        self._record(round_index, runner.run_round(round_index), is_last=is_last)
        every = self.run.setup.document.train.checkpoint_every
        if is_last or round_index % every == 0:
            self.checkpoints.write(round_index, runner.tensors())

    def _record(self, round_index: int, outcome: RoundOutcome, *, is_last: bool = False) -> None:
        train = self.run.setup.document.train
        counts = train.count_flop
        predicted = predicted_round(self.federation, round_index)
        ledger = checked_ledger(predicted, outcome, counts_flop=counts)
        seconds = None
        if self.devices is not None:
            seconds = predicted_seconds(self.federation, round_index, self.devices)
        judgement = Judgement()
        if is_last or round_index % train.evaluate_every == 0:
            judgement = self._judgement(outcome, round_index)
        evaluation = evaluation_rows(self.federation, self.evaluator, judgement, round_index)
        record = metrics_record(
            self.seed,
            round_index,
            outcome,
            ledger,
            self.steps,
            judgement,
            evaluation,
            prediction_record(predicted, seconds),
            counts_flop=counts,
        )
        # The ledger first: a round whose metrics are there is whole.
        folder = self.run.folder
        folder.ledger.append(ledger_records(self.seed, ledger, evaluation))
        folder.metrics.append([record])
        self.run.observer.on_round(record)

    def _judgement(self, outcome: RoundOutcome, round_index: int) -> Judgement:
        judged = self.run.setup.document.train.evaluate
        clients = global_model = reference = None
        if "global" in judged:
            global_model = self.evaluator.evaluate(outcome.global_parameters)
            if self.reference is not None:
                with tf32_products(False):
                    reference = self.reference.evaluate(outcome.global_parameters)
        # Ahead of the first round every client has the global model.
        if "clients" in judged and round_index != SETUP_ROUND:
            clients = {
                client_id: self.evaluator.evaluate(parameters)
                for client_id, parameters in outcome.own_parameters.items()
            }
        found = {**(clients or {}), **({"global model": global_model} if global_model else {})}
        for name, evaluation in found.items():
            if not math.isfinite(evaluation.loss):
                raise TrainingError(
                    f"round {round_index}, {name}, evaluation: the loss is {evaluation.loss}"
                )
        return Judgement(global_model, clients, reference)

    def _diverged(self, error: TrainingError) -> TrainingError:
        settings = self.run.setup.document.settings
        rate = settings.learning.learning_rate
        cure = f"Lower learning.learning_rate ({rate:g} here)"
        if settings.lora is not None and settings.lora.init_lora_weights == "gaussian":
            cure += (
                f'; or set lora.init_lora_weights = "default": Adam\'s first step under '
                f"'gaussian' moves a weight by about alpha * learning_rate * r^-1.5 = "
                f"{settings.lora.alpha * rate * settings.lora.r**-1.5:.2g}, which is large for r = "
                f"{settings.lora.r}"
            )
        try:
            kept = self.checkpoints.latest()
        except ScenarioError:
            kept = None
        where = "no checkpoint was written yet"
        if kept is not None:
            where = f"the checkpoint of round {kept.round_index} in {self.checkpoints.folder} stays"
        return TrainingError(f"{error}: training diverged. {cure}; {where}.")
