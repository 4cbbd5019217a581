"""Choices of a real run that cost nothing and decide what is learned; each is in every result.

The article leaves most of them open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim.errors import ScenarioError

__all__ = ["FedAdamOptions", "Mode", "RunOptions"]

#: Clients one by one, or batched together; here, so that a file can be read without torch.
Mode = Literal["sequential", "cohort"]


@dataclass(frozen=True, slots=True)
class FedAdamOptions:
    """Constants of FedAdam; the names are those of its paper (Reddi et al. 2021, Algorithm 2).

    Attributes
    ----------
    learning_rate : float
        eta, of the server's step.
    beta1, beta2 : float
        Decay of the two moments.
    tau : float
        Degree of adaptivity: added to the root of the second moment, which begins at its square.
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("learning_rate", "tau"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ScenarioError(f"{name} = {getattr(self, name)}; allowed: above 0.")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ScenarioError(f"{name} = {getattr(self, name)}; allowed: 0 to below 1.")


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
    proximal_mu : float
        mu of FedProx (Li et al. 2020): every optimizer step of a client also follows the gradient
        of ``mu / 2`` times the squared distance to the parameters that its round began with.
    fed_adam : FedAdamOptions or None
        What the server does with an average; None takes it as it is (FedAvg).
    dropout_probability : float
        That a client drops out of a round: it does nothing in it, and nothing reaches it.
    """

    seed: int = 0
    learning_rate: float = 1e-3
    optimizer_state: Literal["reset", "keep"] = "reset"
    distillation_loss: Literal["kl", "mae"] = "kl"
    distillation_temperature: float = 2.0
    proximal_mu: float = 0.0
    fed_adam: FedAdamOptions | None = None
    dropout_probability: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < float("inf"):
            raise ScenarioError(f"learning_rate = {self.learning_rate}; allowed: above 0.")
        if not 0 < self.distillation_temperature < float("inf"):
            raise ScenarioError(
                f"distillation_temperature = {self.distillation_temperature}; allowed: above 0."
            )
        if not 0 <= self.dropout_probability < 1:
            raise ScenarioError(
                f"dropout_probability = {self.dropout_probability}; allowed: 0 to below 1."
            )
        if not 0 <= self.proximal_mu < float("inf"):
            raise ScenarioError(f"proximal_mu = {self.proximal_mu}; allowed: 0 or more.")
