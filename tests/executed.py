"""Run a configuration for real and hold it against the formulas. Needs the extra ``runtime``."""

from __future__ import annotations

from dataclasses import replace

from fedsim.agreement import differences
from fedsim.protocol.operation import ForwardToCut, Train
from fedsim.protocol.step import Compute, Each, Repeat, Step
from fedsim.runtime.federation import Federation, RoundSettings
from fedsim.runtime.options import RunOptions
from fedsim.study.verify import predicted_ledger
from strategies import Configuration
from tiny import tiny_federation

__all__ = ["Executed", "execute", "federation_of"]


def federation_of(configuration: Configuration) -> Federation:
    """Two clients with texts of their own, of 1 to 9 tokens."""
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
        ),
        lengths={
            # The second client has one sample less, so that the two rounds differ in every count.
            "ann": configuration.lengths(1, num_samples),
            "bob": configuration.lengths(2, max(2, num_samples - 1)),
        },
        public_lengths=None if num_public is None else configuration.lengths(3, num_public),
        options=RunOptions(
            seed=configuration.seed,
            distillation_loss=configuration.get("distillation_loss", "kl"),
        ),
        seed=configuration.seed,
    )


def differences_of(configuration: Configuration, num_rounds: int = 1) -> list[str]:
    """What a real set-up and real rounds count otherwise than the formulas say."""
    federation = federation_of(configuration)
    executor = federation.executor()
    federation.run_setup(executor)
    for round_index in range(1, num_rounds + 1):
        federation.run_round(executor, round_index)
    predicted = predicted_ledger(federation, num_rounds)
    assert predicted.rows
    return [str(found) for found in differences(predicted, executor.ledger)]
