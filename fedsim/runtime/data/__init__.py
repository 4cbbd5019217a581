"""Data of a real run: texts, tokens, and which client holds which rows.

`length_histogram` is not re-exported: it is also a command (``python -m``), and a package that
imports its command's module makes Python load that module twice.
"""

from fedsim.runtime.data.data_directory import DATA_DIR_VARIABLE, data_directory
from fedsim.runtime.data.dataset import (
    DATA_SOURCES,
    DataSource,
    TextDataset,
    check_dataset,
    data_source,
    generated_intents,
    load_banking77,
    load_banking77_from_hub,
    load_dataset,
)
from fedsim.runtime.data.encode import EncodedDataset, encode_dataset
from fedsim.runtime.data.partition import SPLITS, Partition, Split, article_partition, partition
from fedsim.runtime.data.tokenizer import (
    Tokenizer,
    gpt2_tokenizer,
    pretrained_tokenizer,
    word_tokenizer,
)

__all__ = [
    "DATA_DIR_VARIABLE",
    "DATA_SOURCES",
    "SPLITS",
    "DataSource",
    "EncodedDataset",
    "Partition",
    "Split",
    "TextDataset",
    "Tokenizer",
    "article_partition",
    "check_dataset",
    "data_directory",
    "data_source",
    "encode_dataset",
    "generated_intents",
    "gpt2_tokenizer",
    "load_banking77",
    "load_banking77_from_hub",
    "load_dataset",
    "partition",
    "pretrained_tokenizer",
    "word_tokenizer",
]
