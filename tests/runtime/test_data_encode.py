"""Laws of encoded data sets."""

import numpy as np
import pytest

from fedsim.errors import ScenarioError
from fedsim.runtime.data import TextDataset, encode_dataset, generated_intents, word_tokenizer

DATASET = TextDataset("d", ("a b c d", "", "b"), (1, 0, 1), ("no", "yes"))
TOKENIZER = word_tokenizer(DATASET.texts, max_vocab=10)


def test_rows_keep_their_order_and_are_not_padded() -> None:
    """Every row has its own length, in the order of the data set."""
    encoded = encode_dataset(DATASET, TOKENIZER, max_tokens=10)
    assert encoded.lengths.tolist() == [4, 1, 1]
    assert encoded.labels.tolist() == [1, 0, 1]
    assert (encoded.num_rows, encoded.num_labels, encoded.max_tokens) == (3, 2, 10)
    assert TOKENIZER.vocab_size == encoded.vocab_size


def test_ids_and_labels_are_64_bit_integers() -> None:
    """Arrays have the type that embedding look-ups and losses take."""
    encoded = encode_dataset(DATASET, TOKENIZER, max_tokens=10)
    assert {np.dtype(np.int64)} == {array.dtype for array in (*encoded.token_ids, encoded.labels)}


def test_truncation_keeps_the_first_tokens() -> None:
    """A row that is too long loses its end."""
    whole = encode_dataset(DATASET, TOKENIZER, max_tokens=10)
    cut = encode_dataset(DATASET, TOKENIZER, max_tokens=2)
    assert whole.token_ids[0][:2].tolist() == cut.token_ids[0].tolist()


@pytest.mark.parametrize("max_tokens", [1, 5, 30, 1000])
def test_every_length_is_between_one_and_the_limit(max_tokens: int) -> None:
    """No row is empty and none exceeds the limit."""
    train, _ = generated_intents(100, 1, 5, seed=0)
    lengths = encode_dataset(train, word_tokenizer(train.texts, 1000), max_tokens).lengths
    assert lengths.min() >= 1
    assert lengths.max() <= max_tokens


def test_an_empty_text_becomes_one_pad_token() -> None:
    """A row without tokens still has one position to run on."""
    encoded = encode_dataset(DATASET, TOKENIZER, max_tokens=10)
    assert [TOKENIZER.pad_token_id] == encoded.token_ids[1].tolist()


def test_taken_rows_come_in_the_order_of_the_indices() -> None:
    """Rows may be taken in any order and more than once, each with its label."""
    encoded = encode_dataset(DATASET, TOKENIZER, max_tokens=10)
    taken = encoded.take([2, 0, 2])
    assert taken.lengths.tolist() == [1, 4, 1]
    assert taken.labels.tolist() == [1, 1, 1]
    assert (encoded.vocab_size, encoded.num_labels, encoded.max_tokens) == (
        taken.vocab_size,
        taken.num_labels,
        taken.max_tokens,
    )


def test_nothing_can_be_taken() -> None:
    """An empty selection is an empty data set."""
    taken = encode_dataset(DATASET, TOKENIZER, max_tokens=10).take([])
    assert (taken.num_rows, taken.labels.size, taken.lengths.size) == (0, 0, 0)


def test_rows_without_labels_can_be_taken() -> None:
    """Data for language modeling have no labels before and none after."""
    unlabeled = TextDataset("d", DATASET.texts, (), ())
    taken = encode_dataset(unlabeled, TOKENIZER, max_tokens=10).take([0, 2])
    assert (taken.num_rows, taken.labels.size, taken.num_labels) == (2, 0, 0)


def test_a_limit_below_one_token_is_refused() -> None:
    """A model cannot run on rows without positions."""
    with pytest.raises(ScenarioError, match="max_tokens = 0: a row needs at least 1 token"):
        encode_dataset(DATASET, TOKENIZER, max_tokens=0)
