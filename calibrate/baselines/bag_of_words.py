"""What a bag of words reaches on Banking77: the line under every accuracy on it.

Unigrams weighted by TF-IDF and logistic regression, on the 5,001 private rows that the case study's
three clients hold together, tested on all 3,080 test rows. The strength of the regularization is
chosen on a fifth of the training rows that is held out for it; test rows choose nothing.

Run from the top of the checkout::

    python calibrate/baselines/bag_of_words.py --data-dir DATA
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import sklearn
import tomli_w
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from fedsim.runtime.data import TextDataset, article_partition, load_banking77

__all__ = ["Baseline", "chosen_c", "main", "measured", "study_rows"]

#: Inverse strengths of regularization that are tried.
_CS: Final = (1.0, 3.0, 10.0, 30.0, 100.0)
#: Every fifth training row is held out to choose among them.
_HELD_OUT: Final = 5
_MAX_ITERATIONS: Final = 1000
_FILE: Final = Path(__file__).with_name("banking77.toml")


@dataclass(frozen=True)
class Baseline:
    """What was reached.

    Attributes
    ----------
    accuracy : float
        Share of test rows.
    num_train, num_test, num_words : int
        Rows, and words that occur in training rows.
    c : float
        scikit-learn's ``C``, the inverse strength of regularization.
    """

    accuracy: float
    num_train: int
    num_test: int
    num_words: int
    c: float


def study_rows(train: TextDataset) -> TextDataset:
    """The rows that the article's three clients hold, in the data set's order."""
    clients = article_partition(seed=0).clients
    return _taken(train, np.sort(np.concatenate(clients)).tolist())


def chosen_c(train: TextDataset) -> float:
    """The strength that is best on every fifth training row, learned from the others."""
    held_out = [row for row in range(train.num_rows) if row % _HELD_OUT == 0]
    others = [row for row in range(train.num_rows) if row % _HELD_OUT != 0]
    tried = {c: measured(_taken(train, others), _taken(train, held_out), c).accuracy for c in _CS}
    return max(tried, key=lambda c: tried[c])


def measured(train: TextDataset, test: TextDataset, c: float) -> Baseline:
    """Learn from one data set and test on the other.

    Parameters
    ----------
    train, test : TextDataset
    c : float
        Inverse strength of regularization.
    """
    words = TfidfVectorizer()
    learned = LogisticRegression(C=c, max_iter=_MAX_ITERATIONS)
    learned.fit(words.fit_transform(train.texts), train.labels)
    accuracy = learned.score(words.transform(test.texts), test.labels)
    return Baseline(float(accuracy), train.num_rows, test.num_rows, len(words.vocabulary_), c)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file beside this script.

    Parameters
    ----------
    arguments
        Command line; ``None`` reads that of the process.
    """
    parser = argparse.ArgumentParser(description="A bag of words on Banking77.")
    parser.add_argument("--data-dir", type=Path, help="default: FEDSIM_DATA_DIR")
    parser.add_argument("--out", type=Path, default=_FILE, help="default: beside this script")
    options = parser.parse_args(arguments)
    train, test = load_banking77(options.data_dir)
    rows = study_rows(train)
    found = measured(rows, test, chosen_c(rows))
    options.out.write_text(tomli_w.dumps(_record(found)), encoding="utf-8")


def _record(found: Baseline) -> dict[str, Any]:
    return {
        "dataset": "banking77",
        "method": "unigram TF-IDF, logistic regression",
        "accuracy": found.accuracy,
        "num_train": found.num_train,
        "num_test": found.num_test,
        "num_words": found.num_words,
        "c": found.c,
        "command": "python calibrate/baselines/bag_of_words.py --data-dir DATA",
        "date": datetime.now(UTC).date(),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def _taken(data: TextDataset, rows: Sequence[int]) -> TextDataset:
    return TextDataset(
        data.name,
        tuple(data.texts[row] for row in rows),
        tuple(data.labels[row] for row in rows),
        data.label_names,
    )


if __name__ == "__main__":
    main()
