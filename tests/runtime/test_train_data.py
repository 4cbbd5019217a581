"""Data sets read from a folder of the user: CLINC150, E2E and WikiText-2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedsim.errors import ScenarioError
from fedsim.runtime.data import encode_dataset, load_dataset, word_tokenizer


def write(folder: Path, name: str, text: str) -> None:
    """A file of a data directory."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_clinc150_numbers_intents_in_alphabetical_order(tmp_path: Path) -> None:
    """Out-of-scope splits are not read."""
    splits = {
        "train": [["say hello in french", "translate"], ["pay my bill", "pay_bill"]],
        "test": [["pay it", "pay_bill"]],
        "oos_test": [["how deep is the sea", "oos"]],
    }
    write(tmp_path, "clinc150/data_full.json", json.dumps(splits))
    train, test = load_dataset("clinc150", tmp_path)
    assert train.label_names == test.label_names == ("pay_bill", "translate")
    assert (train.labels, test.labels) == ((1, 0), (0,))
    assert test.texts == ("pay it",)


def test_a_row_of_e2e_is_meaning_and_text(tmp_path: Path) -> None:
    """Joined by two bars, without a label."""
    write(tmp_path, "e2e/devset.csv", 'mr,ref\n"name[A], food[B]","A has B."\n')
    write(tmp_path, "e2e/testset_w_refs.csv", "mr,ref\nname[C],C.\n")
    train, test = load_dataset("e2e", tmp_path)
    assert train.texts == ("name[A], food[B] || A has B.",)
    assert test.texts == ("name[C] || C.",)
    assert train.labels == ()


def test_a_row_of_wikitext2_is_a_paragraph(tmp_path: Path) -> None:
    """Headings of any level and empty lines are none."""
    write(tmp_path, "wikitext2/valid.txt", " \n = A = \n \n First . \n = = B = = \n Second . \n")
    write(tmp_path, "wikitext2/test.txt", " Third . \n")
    train, test = load_dataset("wikitext2", tmp_path)
    assert train.texts == ("First .", "Second .")
    assert test.texts == ("Third .",)


def test_rows_without_labels_are_spread_as_if_all_were_alike(tmp_path: Path) -> None:
    """One label each, so that an IID split has rows to count."""
    write(tmp_path, "wikitext2/valid.txt", "one\ntwo\n")
    write(tmp_path, "wikitext2/test.txt", "three\n")
    train, _ = load_dataset("wikitext2", tmp_path)
    rows = encode_dataset(train, word_tokenizer(train.texts, 10), 4)
    assert rows.labels.size == 0
    assert rows.spread_labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("source", "name", "text", "message"),
    [
        ("clinc150", "clinc150/data_full.json", "{", "not CLINC150's file"),
        ("clinc150", "clinc150/data_full.json", '{"train": [[1, 2]]}', "no pair of texts"),
        ("e2e", "e2e/devset.csv", "a,b\n1,2\n", "under the header 'mr,ref'"),
        ("e2e", "e2e/devset.csv", "mr,ref\n", "no row below the header"),
        ("wikitext2", "wikitext2/valid.txt", "= A =\n", "no paragraph"),
    ],
)
def test_a_damaged_file_is_named(
    source: str, name: str, text: str, message: str, tmp_path: Path
) -> None:
    """With what it should hold."""
    write(tmp_path, name, text)
    with pytest.raises(ScenarioError, match=message) as found:
        load_dataset(source, tmp_path)
    assert Path(name).name in str(found.value)


@pytest.mark.parametrize("source", ["clinc150", "e2e", "wikitext2"])
def test_a_missing_file_says_how_to_give_data(source: str, tmp_path: Path) -> None:
    """An option and an environment variable."""
    with pytest.raises(ScenarioError, match="FEDSIM_DATA_DIR"):
        load_dataset(source, tmp_path)
