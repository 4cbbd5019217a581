"""CLINC150: 150 intents in 10 domains, from a folder.

Decides the labels' numbers and which splits are read: ``train`` and ``test``, in scope.
Out-of-scope queries have no intent and are left out.

References
----------
Larson et al. 2019, "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction",
EMNLP. Published at clinc/oos-eval (commit 828f809) under CC BY 3.0.
"""

import json
from pathlib import Path
from typing import Any

from fedsim.errors import ScenarioError
from fedsim.runtime.data.data_directory import WAYS_TO_GIVE_DATA, data_directory
from fedsim.runtime.data.text_dataset import TextDataset
from fedsim.text_file import read_text

_FILE = "data_full.json"


def load_clinc150(data_dir: Path | None = None) -> tuple[TextDataset, TextDataset]:
    """Training and test queries of CLINC150 (15,000 and 4,500 rows as published).

    Parameters
    ----------
    data_dir
        Folder that holds ``clinc150/data_full.json``; ``None`` asks ``FEDSIM_DATA_DIR``.

    Raises
    ------
    ScenarioError
        If the file is missing, or is not lists of pairs (text, intent).

    Notes
    -----
    Labels number the intents of the training set in alphabetical order.
    """
    path = data_directory(data_dir) / "clinc150" / _FILE
    if not path.is_file():
        raise ScenarioError(f"'{path}': no such file; CLINC150 needs it; {WAYS_TO_GIVE_DATA}")
    try:
        splits = json.loads(read_text(path, f"'{path}'"))
        pairs = {split: _pairs(splits[split]) for split in ("train", "test")}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ScenarioError(
            f"'{path}': not CLINC150's file ({error}); it holds lists 'train' and 'test' of pairs "
            "[text, intent]"
        ) from error
    names = tuple(sorted({intent for _, intent in pairs["train"]}))
    label_of = {name: label for label, name in enumerate(names)}
    unknown = sorted({intent for _, intent in pairs["test"]} - set(names))
    if unknown:
        raise ScenarioError(f"'{path}': intents {unknown[:5]} are in 'test' and not in 'train'")
    train, test = (
        TextDataset(
            name=f"clinc150/{split}",
            texts=tuple(text for text, _ in rows),
            labels=tuple(label_of[intent] for _, intent in rows),
            label_names=names,
        )
        for split, rows in pairs.items()
    )
    return train, test


def _pairs(rows: Any) -> list[tuple[str, str]]:
    found = [(text, intent) for text, intent in rows]
    if not found or not all(isinstance(text, str) and isinstance(i, str) for text, i in found):
        raise ValueError("a row is no pair of texts")
    return found
