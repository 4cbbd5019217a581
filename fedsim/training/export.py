"""The global model that a run ended with, as weights for another run."""

from __future__ import annotations

from pathlib import Path

from fedsim.errors import ScenarioError
from fedsim.runtime.export import export_weights
from fedsim.runtime.training import round_runner
from fedsim.training.folder import RunFolder
from fedsim.training.setup import TrainingSetup

__all__ = ["export_run"]


def export_run(setup: TrainingSetup, out: Path, folder: Path) -> int:
    """Write the global model of the last seed's last checkpoint; its round.

    Parameters
    ----------
    setup : TrainingSetup
    out : Path
        The run's folder.
    folder : Path
        What is written; must not exist.

    Raises
    ------
    ScenarioError
        If there is no checkpoint, or the folder cannot be made.
    """
    seed = setup.document.seeds[-1]
    federation, _ = setup.federation(seed)
    identity = {"configuration": setup.document.sha256(), "seed": str(seed)}
    done = RunFolder(out, setup.document).checkpoints(seed, identity).latest()
    if done is None:
        raise ScenarioError(f"{out}: has no checkpoint of seed {seed} yet: train first.")
    runner = round_runner("sequential", federation)
    runner.load(done.tensors)
    export_weights(federation.server.trainer.model, setup.tokenizer(seed), folder)
    return done.round_index
