"""Laws of reading Banking77 from a folder and from its hub."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedsim.errors import ScenarioError
from fedsim.runtime.data import load_banking77, load_banking77_from_hub

needs_published_data = pytest.mark.skipif(
    not os.environ.get("FEDSIM_DATA_DIR"),
    reason="needs the published data: set FEDSIM_DATA_DIR to the folder that holds banking77/",
)

TRAIN = 'text,category\nWhere is my card?,card_arrival\n"Two\nlines, ""quoted""",age_limit\n'
TEST = "text,category\nAm I old enough?,age_limit\n"
CATEGORIES = '["card_arrival", "age_limit"]'


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory with a tiny data set in Banking77's format."""
    folder = tmp_path / "banking77"
    folder.mkdir()
    (folder / "train.csv").write_text(TRAIN, encoding="utf-8")
    (folder / "test.csv").write_text(TEST, encoding="utf-8")
    (folder / "categories.json").write_text(CATEGORIES, encoding="utf-8")
    return tmp_path


def loading_error(data_dir: Path) -> str:
    """The message with which loading fails."""
    with pytest.raises(ScenarioError) as caught:
        load_banking77(data_dir)
    return str(caught.value)


@needs_published_data
def test_the_published_files_have_their_published_sizes() -> None:
    """The published data set has 10,003 training rows, 3,080 test rows and 77 intents."""
    train, test = load_banking77()
    assert (train.num_rows, test.num_rows, train.num_labels) == (10_003, 3_080, 77)


@needs_published_data
def test_the_published_test_set_is_balanced() -> None:
    """Every intent has 40 test rows, so that guessing scores 1/77."""
    _, test = load_banking77()
    assert {40} == {test.labels.count(label) for label in range(test.num_labels)}


def test_texts_keep_line_ends_commas_and_quotes(data_dir: Path) -> None:
    """A text comes out of its file unchanged, line ends included."""
    train, _ = load_banking77(data_dir)
    assert train.texts == ("Where is my card?", 'Two\nlines, "quoted"')


def test_labels_number_the_categories_alphabetically(data_dir: Path) -> None:
    """Labels follow the alphabet, whatever the order of categories.json."""
    train, test = load_banking77(data_dir)
    assert ("age_limit", "card_arrival") == train.label_names == test.label_names
    assert (train.labels, test.labels) == ((1, 0), (0,))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """Without a folder banking77 the message says where it was looked for and what to type."""
    message = loading_error(tmp_path)
    assert f"'{tmp_path / 'banking77'}': no such folder" in message
    assert "--data-dir" in message
    assert "--data generated" in message


def test_all_missing_files_are_named_at_once(data_dir: Path) -> None:
    """Every file that is missing appears in the one message."""
    (data_dir / "banking77" / "test.csv").unlink()
    (data_dir / "banking77" / "categories.json").unlink()
    assert "no file test.csv, categories.json" in loading_error(data_dir)


@pytest.mark.parametrize(
    ("content", "header"), [("category,text\na,b\n", "category,text"), ("", "")]
)
def test_a_wrong_header_is_shown_beside_the_right_one(
    content: str, header: str, data_dir: Path
) -> None:
    """A file with another header, or with none, is refused with both headers in the message."""
    path = data_dir / "banking77" / "train.csv"
    path.write_text(content, encoding="utf-8")
    assert loading_error(data_dir) == (
        f"'{path}': the header is '{header}'; it must be 'text,category'"
    )


def test_all_bad_rows_are_reported_at_once(data_dir: Path) -> None:
    """Unknown categories and malformed rows are listed by line, with the nearest category."""
    path = data_dir / "banking77" / "train.csv"
    path.write_text(TRAIN + "Hm?,card_arival\nno category\nHm?,zebra\n", encoding="utf-8")
    assert loading_error(data_dir).splitlines() == [
        f"'{path}': line 5: category 'card_arival' is not among the 2 of categories.json. "
        "Did you mean 'card_arrival'?",
        f"'{path}': line 6: 1 fields; 2 are allowed (text,category)",
        f"'{path}': line 7: category 'zebra' is not among the 2 of categories.json.",
    ]


def test_a_long_list_of_bad_rows_is_cut(data_dir: Path) -> None:
    """Of many bad rows ten are shown and the others counted."""
    path = data_dir / "banking77" / "train.csv"
    path.write_text(TRAIN + "Hm?,zebra\n" * 25, encoding="utf-8")
    lines = loading_error(data_dir).splitlines()
    assert len(lines) == 11
    assert lines[-1].endswith("and 15 more rows like these")


def test_a_file_without_rows_is_refused(data_dir: Path) -> None:
    """A header alone is no data set."""
    (data_dir / "banking77" / "test.csv").write_text("text,category\n", encoding="utf-8")
    assert "no row below the header" in loading_error(data_dir)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'text,category\n"open,a\n', "test.csv', line 2: not a CSV file"),
        (b"text,category\n\xff\xfe,a\n", "test.csv', line 2: not UTF-8 text (byte 0xff"),
    ],
)
def test_a_file_that_is_no_csv_is_refused(content: bytes, message: str, data_dir: Path) -> None:
    """An open quote and bytes that are not UTF-8 are the user's to mend, without a traceback."""
    (data_dir / "banking77" / "test.csv").write_bytes(content)
    assert message in loading_error(data_dir)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{not json", "not JSON"),
        ("[]", "not a list of distinct"),
        ('{"a": 1}', "not a list of distinct"),
        ('["a", "a"]', "not a list of distinct"),
        ('["a", 1]', "not a list of distinct"),
        ('["a", ["b"]]', "not a list of distinct"),
    ],
)
def test_categories_must_be_distinct_names(content: str, complaint: str, data_dir: Path) -> None:
    """categories.json is one JSON list of distinct strings and nothing else."""
    (data_dir / "banking77" / "categories.json").write_text(content, encoding="utf-8")
    assert complaint in loading_error(data_dir)


class HubSplit(dict[str, list[object]]):
    """A split as the datasets library gives it: columns, and a label column with names."""

    features = {"label": SimpleNamespace(names=["card_arrival", "age_limit"])}  # noqa: RUF012


def put_hub(monkeypatch: pytest.MonkeyPatch, load_dataset: object) -> None:
    """Let the datasets library be one with this loader."""
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))


def test_the_hub_gives_the_same_rows_as_the_folder(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and labels do not depend on whether they came from a folder or from the hub."""
    splits = {
        "train": HubSplit(text=["Where is my card?", 'Two\nlines, "quoted"'], label=[0, 1]),
        "test": HubSplit(text=["Am I old enough?"], label=[1]),
    }
    put_hub(monkeypatch, lambda *_, **__: splits)
    assert load_banking77(data_dir) == load_banking77_from_hub()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("no route"),
        RuntimeError("scripts are not supported"),
        ValueError("bad file"),
    ],
)
def test_a_hub_that_fails_tells_where_it_looked_and_what_to_type(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stops the download becomes one message that names the hub and the other ways."""

    def fail(*_: object, **__: object) -> object:
        raise error

    put_hub(monkeypatch, fail)
    with pytest.raises(ScenarioError) as caught:
        load_banking77_from_hub()
    assert caught.value.__cause__ is error
    expected = ("PolyAI/banking77", str(error), "--data-dir", "FEDSIM_DATA_DIR", "--data generated")
    assert [part for part in expected if part not in str(caught.value)] == []


def test_a_missing_datasets_library_is_the_users_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the datasets library the message names it."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ScenarioError, match=r"ModuleNotFoundError: .*datasets"):
        load_banking77_from_hub()


def test_a_hub_without_a_named_label_column_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer in another format is an error and not a data set with other labels."""
    put_hub(monkeypatch, lambda *_, **__: {"train": {"text": ["a"]}, "test": {"text": ["b"]}})
    with pytest.raises(ScenarioError, match="cannot be loaded"):
        load_banking77_from_hub()
