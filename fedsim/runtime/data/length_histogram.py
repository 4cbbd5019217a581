"""How long the rows of a data set are, as a statistic that can be shipped without the data.

Decides the format of the shipped file. Refuses to truncate: whoever pads or cuts rows derives the
lengths that follow from the true ones.

A developer's command rewrites the shipped file of Banking77 from the data set itself::

    python -m fedsim.runtime.data.length_histogram --data-dir DIR --out FILE
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fedsim.errors import ScenarioError
from fedsim.runtime.data.banking77 import load_banking77
from fedsim.runtime.data.data_directory import data_directory
from fedsim.runtime.data.encode import EncodedDataset, encode_dataset
from fedsim.runtime.data.tokenizer import gpt2_tokenizer

_BANKING77_SOURCE = (
    "Banking77 training set, PolyAI-LDN/task-specific-datasets @ 57ec275, CC BY 4.0, "
    "Casanueva et al. 2020, arXiv 2003.04807; number of rows by untruncated length in tokens"
)
# GPT-2's context: more than ten times the longest row (94), and checked not to have cut any.
_MAX_TOKENS = 1024


def length_histogram(dataset: EncodedDataset) -> dict[int, int]:
    """Number of rows of each length.

    Parameters
    ----------
    dataset
        Encoded rows; lengths are as truncated there.

    Returns
    -------
    dict
        Length [tokens] to number of rows, by rising length; lengths that no row has are absent.
    """
    return dict(sorted(Counter(dataset.lengths.tolist()).items()))


def banking77_gpt2_lengths(data_dir: Path | None = None) -> dict[str, object]:
    """Content of the shipped file: the lengths of Banking77's training rows in GPT-2's tokens.

    Parameters
    ----------
    data_dir
        Folder that holds ``banking77/`` and ``gpt2/``; ``None`` asks ``FEDSIM_DATA_DIR``.

    Returns
    -------
    dict
        ``source``, ``tokenizer``, ``num_rows`` and ``histogram`` (length as text to count).

    Raises
    ------
    ScenarioError
        If the data or the tokenizer's files are missing, or a row had to be truncated.
    """
    train, _ = load_banking77(data_dir)
    tokenizer = gpt2_tokenizer(data_directory(data_dir) / "gpt2")
    histogram = length_histogram(encode_dataset(train, tokenizer, _MAX_TOKENS))
    if max(histogram) >= _MAX_TOKENS:
        raise ScenarioError(
            f"data set '{train.name}': a row reaches {_MAX_TOKENS} tokens and may have been "
            "truncated; true lengths are needed, so check the file's quotes"
        )
    return {
        "source": _BANKING77_SOURCE,
        "tokenizer": "gpt2",
        "num_rows": train.num_rows,
        "histogram": {str(length): count for length, count in histogram.items()},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the shipped file.

    Parameters
    ----------
    arguments
        Command line; ``None`` reads that of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m fedsim.runtime.data.length_histogram",
        description="Count Banking77's training rows by their length in GPT-2's tokens.",
    )
    parser.add_argument("--data-dir", type=Path, help="default: FEDSIM_DATA_DIR")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args(arguments)
    content = banking77_gpt2_lengths(options.data_dir)
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
