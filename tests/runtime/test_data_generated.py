"""Laws of the generated intent data set."""

from collections import Counter

import numpy as np
import pytest

from fedsim.errors import ScenarioError
from fedsim.runtime.data import TextDataset, generated_intents
from fedsim.runtime.data.generated import MAX_GENERATED_LABELS


def naive_bayes_accuracy(train: TextDataset, test: TextDataset) -> float:
    """Fraction of test rows that word counts of the training rows classify rightly."""
    words = sorted({word for text in train.texts for word in text.split()})
    column = {word: index for index, word in enumerate(words)}

    def counts(dataset: TextDataset) -> np.ndarray:
        table = np.zeros((dataset.num_rows, len(words)))
        for row, text in enumerate(dataset.texts):
            for word in text.split():
                if word in column:
                    table[row, column[word]] += 1
        return table

    one_hot = np.eye(train.num_labels)[list(train.labels)]
    smoothed = one_hot.T @ counts(train) + 1.0
    log_likelihood = np.log(smoothed / smoothed.sum(axis=1, keepdims=True))
    predicted = (counts(test) @ log_likelihood.T).argmax(axis=1)
    return float((predicted == np.array(test.labels)).mean())


def test_the_same_seed_gives_the_same_rows() -> None:
    """Generation is a function of its arguments."""
    assert generated_intents(50, 20, 5, seed=3) == generated_intents(50, 20, 5, seed=3)


def test_another_seed_gives_other_rows() -> None:
    """The seed changes the texts."""
    assert generated_intents(50, 20, 5, seed=3)[0].texts != generated_intents(50, 20, 5, 4)[0].texts


def test_training_and_test_rows_are_drawn_apart() -> None:
    """The test set is not a copy of the beginning of the training set."""
    train, test = generated_intents(50, 50, 5, seed=0)
    assert train.texts != test.texts


def test_more_rows_keep_the_first_ones() -> None:
    """A larger data set begins with the smaller one, and the test set stays as it was."""
    small_train, small_test = generated_intents(33, 20, 5, seed=1)
    large_train, large_test = generated_intents(70, 20, 5, seed=1)
    assert small_train.texts == large_train.texts[:33]
    assert small_train.labels == large_train.labels[:33]
    assert small_test == large_test


def test_labels_are_balanced() -> None:
    """Label counts differ by at most one."""
    train, _ = generated_intents(103, 10, 10, seed=0)
    assert {10, 11} == set(Counter(train.labels).values())


@pytest.mark.parametrize("num_labels", [2, 8, MAX_GENERATED_LABELS])
def test_every_label_has_its_own_name(num_labels: int) -> None:
    """Labels are distinct intents up to the largest number of them."""
    train, test = generated_intents(200, 200, num_labels, seed=0)
    assert num_labels == len(set(train.label_names))
    assert train.label_names == test.label_names


def test_the_label_can_be_learned_from_the_words() -> None:
    """Word counts alone classify at least nine test rows in ten."""
    assert naive_bayes_accuracy(*generated_intents(600, 200, 8, seed=0)) >= 0.9


def test_shuffled_labels_cannot_be_learned() -> None:
    """Negative control: with labels torn from their texts the same classifier only guesses."""
    train, test = generated_intents(600, 200, 8, seed=0)
    labels = np.random.default_rng(0).permutation(train.labels).tolist()
    torn = TextDataset(train.name, train.texts, tuple(labels), train.label_names)
    assert naive_bayes_accuracy(torn, test) <= 0.3


def test_lengths_have_a_long_tail() -> None:
    """The longest text is over four times the mean, so that padding to it is mostly padding."""
    train, _ = generated_intents(1000, 1, 8, seed=0)
    lengths = [len(text.split()) for text in train.texts]
    assert max(lengths) > 4 * np.mean(lengths)
    assert np.median(lengths) < np.mean(lengths)


def test_all_wrong_arguments_are_reported_at_once() -> None:
    """Sizes, number of labels and seed are checked together."""
    with pytest.raises(ScenarioError) as caught:
        generated_intents(0, -1, 101, seed=-5)
    assert str(caught.value).splitlines() == [
        "generated data: num_train = 0: at least 1 row is needed",
        "generated data: num_test = -1: at least 1 row is needed",
        "generated data: num_labels = 101: allowed is 2 to 100",
        "generated data: seed = -5: allowed is 0 to 18446744073709551615",
    ]
