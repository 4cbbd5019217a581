"""One client of a cohort: what may differ between clients that are computed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from fedsim.errors import ScenarioError
from fedsim.runtime.options import RunOptions
from fedsim.spec.plan import TrainingSpec
from fedsim.spec.tuning import LoraTuning

__all__ = ["CohortClient", "check_clients"]


@dataclass(frozen=True, slots=True)
class CohortClient:
    """A client, or the same client under another seed or rank.

    Attributes
    ----------
    client_id : str
        Names its dropout masks.
    tuning : LoraTuning
        Its rank, scaling and dropout rate are its own; which layers are adapted is the cohort's.
    options : RunOptions
        Its learning rate and seed are its own; losses and optimizer state are the cohort's.
    """

    client_id: str
    tuning: LoraTuning
    options: RunOptions = field(default_factory=RunOptions)


def check_clients(clients: Sequence[CohortClient], training: TrainingSpec) -> None:
    """Raise ``ScenarioError`` where a client cannot be computed with the others."""
    if not clients:
        raise ScenarioError("a cohort has no clients; give it at least one.")
    model_tuning = training.lora
    assert model_tuning is not None
    for place, client in enumerate(clients):
        client.tuning.check(training.model)
        where = f"client {place} of the cohort ('{client.client_id}')"
        same_layers = replace(
            model_tuning,
            r=client.tuning.r,
            alpha=client.tuning.alpha,
            dropout=client.tuning.dropout,
            use_rslora=client.tuning.use_rslora,
            init_lora_weights=client.tuning.init_lora_weights,
        )
        if client.tuning != same_layers:
            raise ScenarioError(
                f"{where} has {client.tuning} and the model {model_tuning}: allowed to differ are "
                "r, alpha, dropout, use_rslora and init_lora_weights. Put clients that adapt other "
                "layers in a cohort of their own."
            )
        first = clients[0].options
        shared = replace(
            first, seed=client.options.seed, learning_rate=client.options.learning_rate
        )
        if client.options != shared:
            raise ScenarioError(
                f"{where} has {client.options} and the first one {first}: allowed to differ are "
                "seed and learning_rate. Put clients with other options in a cohort of their own."
            )
