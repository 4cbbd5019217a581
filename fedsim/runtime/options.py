"""Choices of a real run that cost nothing and decide what is learned; each is in every result.

The article leaves most of them open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim.errors import ScenarioError

__all__ = ["RunOptions"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run trains.

    Attributes
    ----------
    seed : int
        Of everything that is drawn.
    learning_rate : float
    optimizer_state : {"reset", "keep"}
        Whether a client's optimizer state survives a round.
    distillation_loss : {"kl", "mae"}
        ``temperature^2 * KL(teacher || student)`` (Hinton et al. 2015), or the mean absolute
        difference of logits (FedMD).
    distillation_temperature : float
    """

    seed: int = 0
    learning_rate: float = 1e-3
    optimizer_state: Literal["reset", "keep"] = "reset"
    distillation_loss: Literal["kl", "mae"] = "kl"
    distillation_temperature: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < float("inf"):
            raise ScenarioError(f"learning_rate = {self.learning_rate}; allowed: above 0.")
        if not 0 < self.distillation_temperature < float("inf"):
            raise ScenarioError(
                f"distillation_temperature = {self.distillation_temperature}; allowed: above 0."
            )
