"""A CSV file of one's own as data: its columns and rows, every mistake by line, and its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.runtime.data import load_dataset
from fedsim.runtime.data.own_texts import dataset_name
from fedsim.scenario import read_scenario
from fedsim.spec.dataset import OwnTexts
from fedsim.training.file import read_training

ROWS = [("say hello", "greet"), ("pay my bill", "pay"), ("hi there", "greet"), ("pay it", "pay")]
ROWS += [("good day", "greet"), ("transfer money", "pay"), ("hey", "greet"), ("settle up", "pay")]
HEADER = "id,utterance,intent"
BODY = "\n".join(f"{number},{text},{label}" for number, (text, label) in enumerate(ROWS))


def csv(folder: Path, text: str = f"{HEADER}\n{BODY}\n", name: str = "my.csv") -> Path:
    """A file of three columns."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def source(path: Path, **keys: Any) -> OwnTexts:
    """With the columns of that file."""
    return OwnTexts(path, **{"text_column": "utterance", "label_column": "intent", **keys})


def test_rows_are_those_of_the_file(tmp_path: Path) -> None:
    """Labels number the distinct ones in alphabetical order; other columns are not read."""
    test_path = csv(tmp_path, f"{HEADER}\n9,bye,greet\n", "test.csv")
    train, test = load_dataset(source(csv(tmp_path), test_path=test_path))
    assert train.texts == tuple(text for text, _ in ROWS)
    assert train.label_names == test.label_names == ("greet", "pay")
    assert train.labels == (0, 1, 0, 1, 0, 1, 0, 1)
    assert (test.texts, test.labels) == (("bye",), (0,))


def test_a_share_is_held_out_by_the_seed(tmp_path: Path) -> None:
    """Every row is in one of the two; another seed holds others out."""
    own = source(csv(tmp_path), test_share=0.25)
    train, test = load_dataset(own, seed=3)
    assert sorted(train.texts + test.texts) == sorted(text for text, _ in ROWS)
    assert test.num_rows == 2
    assert load_dataset(own, seed=3)[1] == test
    assert len({load_dataset(own, seed=seed)[1].texts for seed in range(6)}) > 1


def test_texts_alone_need_no_labels(tmp_path: Path) -> None:
    """For a language model."""
    train, _ = load_dataset(source(csv(tmp_path), label_column=None))
    assert (train.labels, train.label_names) == ((), ())


@pytest.mark.parametrize(
    ("text", "keys", "words"),
    [
        ("id,utterence,intent\n1,a,b\n", {}, "'my.csv', line 1: no column 'utterance'; there are"),
        ("id,utterence,intent\n1,a,b\n", {}, "Did you mean 'utterence'?"),
        (f"{HEADER}\n{BODY}\n", {"label_column": "lable"}, 'write label_column = "NAME"'),
        ("utterance,utterance,intent\n1,a,b\n", {}, "line 1: 2 columns 'utterance'"),
        (f"{HEADER}\n1,a,b\n2,,c\n", {}, "'my.csv', line 3: utterance is empty"),
        (f"{HEADER}\n1,a, \n2,x,c\n", {}, "'my.csv', line 2: intent is empty"),
        (f"{HEADER}\n1,a,b\n2,c\n", {}, "'my.csv', line 3: 2 cells; the header has 3 columns"),
        (f'{HEADER}\n1,"a\n', {}, "not a CSV file"),
        (f"{HEADER}\n", {}, "no row below the header"),
        (f"{HEADER}\n1,a,b\n2,c,b\n", {}, "every row has the label 'b'"),
        (f"{HEADER}\n1,a,b\n2,c,d\n", {"test_share": 0.1}, "too few rows (2) to hold 0.1 of them"),
    ],
)
def test_a_mistake_is_told_with_its_line(
    text: str, keys: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_dataset(source(csv(tmp_path, text), **keys))
    assert words in str(caught.value)


def test_all_rows_with_a_mistake_are_told(tmp_path: Path) -> None:
    """Up to ten, and how many more."""
    rows = "".join(f"{number},,x\n" for number in range(13))
    with pytest.raises(ScenarioError) as caught:
        load_dataset(source(csv(tmp_path, f"{HEADER}\n{rows}")))
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == [
        "'my.csv', line 2",
        "'my.csv', line 3",
    ]
    assert lines[-1] == "'my.csv': and 3 more lines like these."


def test_another_encoding_and_an_unknown_test_label_are_told(tmp_path: Path) -> None:
    path = csv(tmp_path)
    (tmp_path / "latin.csv").write_bytes(f"{HEADER}\n1,Grüße,greet\n".encode("latin-1"))
    with pytest.raises(ScenarioError, match=r"'latin.csv', line 2: not UTF-8 text"):
        load_dataset(source(tmp_path / "latin.csv"))
    test_path = csv(tmp_path, f"{HEADER}\n1,a,gret\n", "test.csv")
    with pytest.raises(ScenarioError, match=r"line 2: label 'gret' is none of the 2.*'greet'"):
        load_dataset(source(path, test_path=test_path))
    with pytest.raises(ScenarioError, match=r"'none.csv': there is no such file in"):
        load_dataset(source(tmp_path / "none.csv"))


def test_its_name_is_of_its_content(tmp_path: Path) -> None:
    """Another row, column or split is another data set, whatever the file is called."""
    path = csv(tmp_path)
    names = [dataset_name(source(path)), dataset_name(source(path, test_share=0.5))]
    names.append(dataset_name(source(path, label_column="id")))
    assert dataset_name(source(path)) == names[0]
    csv(tmp_path, f"{HEADER}\n{BODY}\n8,more,pay\n")
    names.append(dataset_name(source(path)))
    assert len(set(names)) == 4
    assert all(name.startswith("my.csv ") for name in names)


CSV_KEYS = ["data.dataset.path=my.csv", "data.dataset.text_column=utterance"]
LABELS = "data.dataset.label_column=intent"


def test_a_law_of_a_published_data_set_is_not_quoted_for_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the file bears its name."""
    monkeypatch.chdir(tmp_path)
    csv(tmp_path, name="banking77")
    keys = ['workload.dataset=""', "data.dataset.path=banking77", *CSV_KEYS[1:], LABELS]
    answer = read_scenario("small_study", keys).answer()
    for result in answer.results:
        assert result["accuracy"] is None
        assert "workload.dataset: measured banking77, here banking77 " in result["no_accuracy"]


def test_both_heads_take_a_file_and_labels_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A classification counts its labels, where the file does not; texts alone do for text."""
    monkeypatch.chdir(tmp_path)
    csv(tmp_path)
    file = tmp_path / "x.toml"
    file.write_text(
        'extends = "verify_tiny"\nquestion = "?"\n[data]\n'
        'dataset = { path = "my.csv", text_column = "utterance", label_column = "intent" }\n'
        '[[case]]\nname = "a"\nframework = "fedllm"\n'
    )
    text = file.read_text()
    document = read_training(str(file))
    assert document.settings.model.num_classes == 8  # as verify_tiny says
    assert document.settings.workload.dataset.startswith("my.csv ")
    file.write_text(text.replace(', label_column = "intent"', ""))
    with pytest.raises(ScenarioError, match=r"\[data\] dataset.label_column is missing"):
        read_training(str(file))
    assert read_training(str(file), ["model.head=language_model"]).source.label_column is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["data.dataset={}"], "[data] dataset is missing; name a data set, or a CSV file"),
        (
            ['data.dataset={name="e2e", path="x.csv"}'],
            "x.csv': a data set and a file are both named",
        ),
        (
            ['data.dataset={name="clinc150", test_share=0.5}'],
            "dataset.test_share: belongs to CSV files",
        ),
        ([*CSV_KEYS, LABELS, "data.dataset.path=none.csv"], "'none.csv': there is no such file"),
        (
            [*CSV_KEYS, LABELS, "data.dataset.test_path=my.csv", "data.dataset.test_share=0.5"],
            "nothing is held out, for test_path has the test rows",
        ),
        ([*CSV_KEYS, LABELS, "workload.dataset=mine"], "[workload] dataset = 'mine': [data] reads"),
    ],
)
def test_tables_that_do_not_go_together(
    keys: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by both who answer a scenario and who run it."""
    monkeypatch.chdir(tmp_path)
    csv(tmp_path)
    for read in (
        lambda: read_scenario("verify_tiny", keys),
        lambda: read_training("verify_tiny", keys, "fedllm"),
    ):
        with pytest.raises(ScenarioError) as caught:
            read()
        assert words in str(caught.value)
