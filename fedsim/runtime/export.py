"""Write a trained model as a folder from which it, or any library of the field, can be loaded."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

from fedsim.errors import ScenarioError
from fedsim.files import temporary_name
from fedsim.runtime.data import Tokenizer
from fedsim.runtime.staged_model import StagedModel

__all__ = ["export_weights"]


def export_weights(model: StagedModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the body of a model and its tokenizer in transformers' format.

    Adapters are merged into the weights that they adapt. A classification head is left out: it
    belongs to the labels that it was trained on, and whoever loads the folder begins with one of
    their own.

    Raises
    ------
    ScenarioError
        If the folder exists already, or cannot be written; nothing of it is left then.
    """
    if folder.exists():
        raise ScenarioError(f"'{folder}' exists already: name a folder that is new.")
    network: Any = copy.deepcopy(model.module)
    if model.is_peft:
        network = network.merge_and_unload()
    body = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith("score.")
    }
    unfinished = temporary_name(folder)
    try:
        unfinished.mkdir(parents=True)
        network.save_pretrained(str(unfinished), state_dict=body)
        tokenizer.save(unfinished)
        unfinished.rename(folder)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ScenarioError(f"'{folder}' cannot be written ({error}).") from error
