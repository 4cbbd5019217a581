"""Banking77, the data set of the article: from a folder, or from its hub.

Decides how the files are read and which number a category gets. Refuses to download anything that
the user did not ask for, and to repair a file: every mistake in it is reported instead.

References
----------
Casanueva et al. 2020, "Efficient Intent Detection with Dual Sentence Encoders", arXiv 2003.04807.
Published at PolyAI-LDN/task-specific-datasets (commit 57ec275) under CC BY 4.0.
"""

import csv
import importlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fedsim.errors import ScenarioError, nearest
from fedsim.runtime.data.data_directory import WAYS_TO_GIVE_DATA, data_directory
from fedsim.runtime.data.text_dataset import TextDataset
from fedsim.text_file import read_text

BANKING77_HUB_NAME = "PolyAI/banking77"
# The hub's main branch holds a loading script, which the datasets library refuses to run since
# version 4. This branch is the hub's own conversion of the same rows to plain tables.
BANKING77_HUB_REVISION = "refs/convert/parquet"

_FOLDER = "banking77"
_SPLITS = ("train", "test")
_CATEGORIES_FILE = "categories.json"
_HEADER = ["text", "category"]
_MAX_MISTAKES_SHOWN = 10


def load_banking77(data_dir: Path | None = None) -> tuple[TextDataset, TextDataset]:
    """Training and test queries of Banking77 from a folder of the user.

    Parameters
    ----------
    data_dir
        Folder that holds ``banking77/{train,test}.csv`` and ``banking77/categories.json``;
        ``None`` asks the environment variable ``FEDSIM_DATA_DIR``.

    Returns
    -------
    tuple of TextDataset
        Training set and test set (10,003 and 3,080 rows as published), texts unchanged.

    Raises
    ------
    ScenarioError
        If the folder or a file is missing, a header is not ``text,category``, or a row is
        malformed or of a category that ``categories.json`` does not list.

    Notes
    -----
    Labels number the categories in alphabetical order, not in the order of ``categories.json``,
    so that a row has the same label whether it came from a folder or from the hub.
    """
    folder = data_directory(data_dir) / _FOLDER
    _check_files(folder)
    label_names = _category_names(folder / _CATEGORIES_FILE)
    train, test = (_split(folder / f"{split}.csv", split, label_names) for split in _SPLITS)
    return train, test


def load_banking77_from_hub() -> tuple[TextDataset, TextDataset]:
    """Training and test queries of Banking77, downloaded by the ``datasets`` library.

    Returns
    -------
    tuple of TextDataset
        The same rows and labels as `load_banking77` gives.

    Raises
    ------
    ScenarioError
        If the library is not installed, the hub cannot be reached, or its answer has no
        column ``text`` and no named column ``label``.
    """
    where = f"hub data set '{BANKING77_HUB_NAME}' (revision '{BANKING77_HUB_REVISION}')"
    try:
        # Here, not above: the import takes over a second and every other source goes without it.
        datasets = importlib.import_module("datasets")
        splits = datasets.load_dataset(BANKING77_HUB_NAME, revision=BANKING77_HUB_REVISION)
        train, test = (_hub_split(splits[split], split) for split in _SPLITS)
    except (ImportError, OSError, RuntimeError, ValueError, KeyError, AttributeError) as error:
        # The library lets network, cache and format failures through as any of these.
        raise ScenarioError(
            f"{where}: cannot be loaded ({type(error).__name__}: {error}); "
            f"without a network, {WAYS_TO_GIVE_DATA}"
        ) from error
    return train, test


def _check_files(folder: Path) -> None:
    names = [f"{split}.csv" for split in _SPLITS] + [_CATEGORIES_FILE]
    if not folder.is_dir():
        raise ScenarioError(
            f"'{folder}': no such folder; Banking77 needs it with the files "
            f"{', '.join(names)}; {WAYS_TO_GIVE_DATA}"
        )
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ScenarioError(
            f"'{folder}': no file {', '.join(missing)}; Banking77 needs "
            f"{', '.join(names)}; {WAYS_TO_GIVE_DATA}"
        )


def _category_names(path: Path) -> tuple[str, ...]:
    try:
        found: object = json.loads(read_text(path, f"'{path}'"))
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"'{path}': not JSON ({error})") from error
    names = found if isinstance(found, list) else []
    distinct = {name for name in names if isinstance(name, str)}
    if not names or len(distinct) != len(names):
        raise ScenarioError(
            f"'{path}': not a list of distinct category names; "
            'write one JSON list of strings, for example ["card_arrival", "card_linking"]'
        )
    return tuple(sorted(distinct))


def _split(path: Path, split: str, label_names: tuple[str, ...]) -> TextDataset:
    rows = _rows(path)
    label_of = {name: label for label, name in enumerate(label_names)}
    mistakes = list(_row_mistakes(rows, label_of))
    if mistakes:
        shown = mistakes[:_MAX_MISTAKES_SHOWN]
        if len(mistakes) > len(shown):
            shown.append(f"and {len(mistakes) - len(shown)} more rows like these")
        raise ScenarioError("\n".join(f"'{path}': {mistake}" for mistake in shown))
    return TextDataset(
        name=f"{_FOLDER}/{split}",
        texts=tuple(row[0] for _, row in rows),
        labels=tuple(label_of[row[1]] for _, row in rows),
        label_names=label_names,
    )


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Rows below the header, each with the number of the line on which it ends."""
    try:
        # newline="" leaves the line ends inside quoted texts to the csv reader.
        reader = csv.reader(io.StringIO(read_text(path, f"'{path}'"), newline=""), strict=True)
        header = next(reader, [])
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ScenarioError(
            f"'{path}', line {reader.line_num}: not a CSV file ({error})"
        ) from error
    if header != _HEADER:
        raise ScenarioError(
            f"'{path}': the header is '{','.join(header)}'; it must be '{','.join(_HEADER)}'"
        )
    if not rows:
        raise ScenarioError(f"'{path}': no row below the header; at least one is needed")
    return rows


def _row_mistakes(rows: Sequence[tuple[int, list[str]]], label_of: dict[str, int]) -> Iterator[str]:
    for line, row in rows:
        if len(row) != len(_HEADER):
            yield f"line {line}: {len(row)} fields; {len(_HEADER)} are allowed (text,category)"
        elif row[1] not in label_of:
            yield (
                f"line {line}: category '{row[1]}' is not among the {len(label_of)} of "
                f"{_CATEGORIES_FILE}.{nearest(row[1], label_of)}"
            )


def _hub_split(rows: Any, split: str) -> TextDataset:
    hub_names: list[str] = rows.features["label"].names
    label_names = tuple(sorted(hub_names))
    label_of = {name: label for label, name in enumerate(label_names)}
    return TextDataset(
        name=f"{_FOLDER}/{split}",
        texts=tuple(rows["text"]),
        labels=tuple(label_of[hub_names[hub_label]] for hub_label in rows["label"]),
        label_names=label_names,
    )
