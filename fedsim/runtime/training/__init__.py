"""Real training over many rounds: one round at a time, judged, and kept on disk."""

from fedsim.runtime.training.checkpoint import Checkpoint, Checkpoints, checkpoint_name
from fedsim.runtime.training.evaluation import Evaluation, Evaluator
from fedsim.runtime.training.fingerprint import data_sha256, weights_sha256
from fedsim.runtime.training.rounds import (
    FederatedRounds,
    Mode,
    RoundOutcome,
    RoundRunner,
    round_runner,
)

__all__ = [
    "Checkpoint",
    "Checkpoints",
    "Evaluation",
    "Evaluator",
    "FederatedRounds",
    "Mode",
    "RoundOutcome",
    "RoundRunner",
    "checkpoint_name",
    "data_sha256",
    "round_runner",
    "weights_sha256",
]
