"""Texts for a language model, from a folder: E2E (data to text) and WikiText-2.

Decides what one row is. Neither data set's training split is among the files that are read: E2E
trains on its development set and WikiText-2 on its validation text, and both are tested on their
test set, so results compare with each other and with nobody else's.

References
----------
Novikova, Dusek, Rieser 2017, "The E2E Dataset: New Challenges For End-to-End Generation",
SIGDIAL (tuetschek/e2e-dataset, commit ab0d967, CC BY-SA 4.0).
Merity, Xiong, Bradbury, Socher 2016, "Pointer Sentinel Mixture Models", arXiv 1609.07843
(CC BY-SA).
"""

import csv
import io
from pathlib import Path

from fedsim.errors import ScenarioError
from fedsim.runtime.data.data_directory import WAYS_TO_GIVE_DATA, data_directory
from fedsim.runtime.data.text_dataset import TextDataset
from fedsim.text_file import read_text

_E2E_HEADER = ["mr", "ref"]


def load_e2e(data_dir: Path | None = None) -> tuple[TextDataset, TextDataset]:
    """Meaning and text of E2E as one row: ``name[...], food[...] || There is ...``.

    Parameters
    ----------
    data_dir
        Folder that holds ``e2e/devset.csv`` (4,672 rows as published) and
        ``e2e/testset_w_refs.csv`` (4,693); ``None`` asks ``FEDSIM_DATA_DIR``.

    Raises
    ------
    ScenarioError
        If a file is missing or is not CSV with the columns ``mr,ref``.

    Notes
    -----
    The loss is over all tokens, those of the meaning included.
    """
    folder = data_directory(data_dir) / "e2e"
    return (
        _unlabeled("e2e/train", _e2e_rows(folder / "devset.csv")),
        _unlabeled("e2e/test", _e2e_rows(folder / "testset_w_refs.csv")),
    )


def load_wikitext2(data_dir: Path | None = None) -> tuple[TextDataset, TextDataset]:
    """Paragraphs of WikiText-2; headings and empty lines are left out.

    Parameters
    ----------
    data_dir
        Folder that holds ``wikitext2/valid.txt`` and ``wikitext2/test.txt``; ``None`` asks
        ``FEDSIM_DATA_DIR``.

    Raises
    ------
    ScenarioError
        If a file is missing or holds no paragraph.
    """
    folder = data_directory(data_dir) / "wikitext2"
    return (
        _unlabeled("wikitext2/train", _paragraphs(folder / "valid.txt")),
        _unlabeled("wikitext2/test", _paragraphs(folder / "test.txt")),
    )


def _unlabeled(name: str, texts: list[str]) -> TextDataset:
    return TextDataset(name=name, texts=tuple(texts), labels=(), label_names=())


def _e2e_rows(path: Path) -> list[str]:
    try:
        reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
        rows = list(reader)
    except csv.Error as error:
        raise ScenarioError(
            f"'{path}', line {reader.line_num}: not a CSV file ({error})"
        ) from error
    if not rows or rows[0] != _E2E_HEADER or any(len(row) != len(_E2E_HEADER) for row in rows):
        raise ScenarioError(f"'{path}': not two columns under the header 'mr,ref'")
    if len(rows) == 1:
        raise ScenarioError(f"'{path}': no row below the header; at least one is needed")
    return [f"{meaning} || {text}" for meaning, text in rows[1:]]


def _paragraphs(path: Path) -> list[str]:
    stripped = (line.strip() for line in _text(path).splitlines())
    found = [line for line in stripped if line and not (line[0] == "=" and line[-1] == "=")]
    if not found:
        raise ScenarioError(f"'{path}': no paragraph in it; at least one is needed")
    return found


def _text(path: Path) -> str:
    if not path.is_file():
        raise ScenarioError(f"'{path}': no such file; {WAYS_TO_GIVE_DATA}")
    return read_text(path, f"'{path}'")
