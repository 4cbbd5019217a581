"""Laws of the length histogram and of the file that ships it."""

import json
import os
from pathlib import Path

import pytest

import fedsim
from fedsim.errors import ScenarioError
from fedsim.runtime.data import TextDataset, encode_dataset, generated_intents, word_tokenizer
from fedsim.runtime.data import length_histogram as module
from fedsim.runtime.data.length_histogram import length_histogram, main

needs_published_data = pytest.mark.skipif(
    not os.environ.get("FEDSIM_DATA_DIR"),
    reason="needs the published data: set FEDSIM_DATA_DIR to the folder with banking77/ and gpt2/",
)

SHIPPED = Path(fedsim.__file__).parent / "spec" / "data" / "banking77_gpt2_lengths.json"


def test_rows_are_counted_by_length() -> None:
    """Lengths come in rising order and those that no row has are absent."""
    dataset = TextDataset("d", ("a b c", "a", "b", ""), (), ())
    encoded = encode_dataset(dataset, word_tokenizer(dataset.texts, 10), max_tokens=10)
    assert list(length_histogram(encoded).items()) == [(1, 3), (3, 1)]


def test_the_histogram_has_the_sums_of_the_rows() -> None:
    """Number of rows, tokens and squared lengths can be had from the histogram alone."""
    train, _ = generated_intents(200, 1, 5, seed=0)
    encoded = encode_dataset(train, word_tokenizer(train.texts, 1000), max_tokens=500)
    histogram = length_histogram(encoded)
    for power in (0, 1, 2):
        assert (encoded.lengths**power).sum() == sum(
            length**power * count for length, count in histogram.items()
        )


def test_the_shipped_file_has_the_known_statistics() -> None:
    """10,003 rows, 138,045 tokens (mean 13.80), longest 94, three over 80."""
    content = json.loads(SHIPPED.read_text(encoding="utf-8"))
    histogram = {int(length): count for length, count in content["histogram"].items()}
    assert {"source", "tokenizer", "num_rows", "histogram"} == set(content)
    assert 10_003 == content["num_rows"] == sum(histogram.values())
    assert sum(length * count for length, count in histogram.items()) == 138_045
    assert max(histogram) == 94
    assert sum(count for length, count in histogram.items() if length > 80) == 3


@needs_published_data
def test_the_command_writes_the_shipped_file(tmp_path: Path) -> None:
    """The shipped file is what the command makes of the published data, byte for byte."""
    main(["--data-dir", os.environ["FEDSIM_DATA_DIR"], "--out", str(tmp_path / "lengths.json")])
    assert SHIPPED.read_bytes() == (tmp_path / "lengths.json").read_bytes()


def test_a_row_that_reaches_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lengths that may have been cut are not written down as true ones."""
    train, test = generated_intents(200, 1, 5, seed=0)
    monkeypatch.setattr(module, "load_banking77", lambda _: (train, test))
    monkeypatch.setattr(module, "gpt2_tokenizer", lambda _: word_tokenizer(train.texts, 1000))
    monkeypatch.setattr(module, "_MAX_TOKENS", 20)
    with pytest.raises(ScenarioError, match="a row reaches 20 tokens"):
        main(["--data-dir", str(tmp_path), "--out", str(tmp_path / "lengths.json")])
