"""Text to token ids.

Decides what a tokenizer must offer and builds three: GPT-2's from its two files, any pretrained
one by name, and a plain vocabulary of words for tiny models. Refuses to pad or to truncate: a
batch decides the one and `encode_dataset` the other.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fedsim.errors import ScenarioError
from fedsim.runtime.data.data_directory import WAYS_TO_GIVE_DATA

GPT2_END_OF_TEXT = "<|endoftext|>"
_GPT2_FILES = ("vocab.json", "merges.txt")

_WORD = re.compile(r"\S+")
_WORD_PAD_ID, _WORD_UNKNOWN_ID = 0, 1
_NUM_RESERVED_IDS = 2


class Tokenizer(Protocol):
    """What the runtime asks of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids, special ones included: ids run from 0 to one less."""
        ...

    @property
    def pad_token_id(self) -> int:
        """Id that fills a batch up. A model finds the last real token by it."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of one text, neither padded nor truncated."""
        ...

    def save(self, folder: Path) -> None:
        """Write files from which :func:`pretrained_tokenizer` makes the same tokenizer."""
        ...


def gpt2_tokenizer(folder: Path) -> Tokenizer:
    """GPT-2's byte-level byte-pair encoding, from its published files.

    Parameters
    ----------
    folder
        Folder that holds ``vocab.json`` and ``merges.txt``.

    Returns
    -------
    Tokenizer
        50,257 ids; the pad id is the end-of-text id 50256, since GPT-2 has no pad token.

    Raises
    ------
    ScenarioError
        If a file is missing or malformed, or the vocabulary has no end-of-text token.

    References
    ----------
    Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2.
    """
    # Here, not above: the library comes with the runtime's extra and only this tokenizer needs it.
    import tokenizers

    missing = [name for name in _GPT2_FILES if not (folder / name).is_file()]
    if missing:
        raise ScenarioError(
            f"'{folder}': no file {', '.join(missing)}; GPT-2's tokenizer needs "
            f"{' and '.join(_GPT2_FILES)} in a folder gpt2/ of the data directory; "
            f"{WAYS_TO_GIVE_DATA}"
        )
    try:
        model = tokenizers.models.BPE.from_file(*(str(folder / name) for name in _GPT2_FILES))
    except Exception as error:  # the library raises nothing narrower
        raise ScenarioError(
            f"'{folder}': {' and '.join(_GPT2_FILES)} are no byte-pair vocabulary and merges "
            f"({error})"
        ) from error
    encoder = tokenizers.Tokenizer(model)
    encoder.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    end_of_text = encoder.token_to_id(GPT2_END_OF_TEXT)
    if end_of_text is None:
        raise ScenarioError(
            f"'{folder}': vocab.json has {encoder.get_vocab_size()} tokens but no "
            f"'{GPT2_END_OF_TEXT}', which GPT-2 pads with; use GPT-2's own vocab.json"
        )
    encoder.add_special_tokens([GPT2_END_OF_TEXT])
    return _Gpt2Tokenizer(encoder, encoder.get_vocab_size(), end_of_text)


def pretrained_tokenizer(name_or_folder: str | Path) -> Tokenizer:
    """The tokenizer that belongs to a pretrained model.

    Parameters
    ----------
    name_or_folder
        A model's name on its hub, or a folder into which a tokenizer was saved.

    Returns
    -------
    Tokenizer
        Encodes with the special tokens that the model expects. Where the tokenizer has no pad
        token, its end-of-sequence token pads.

    Raises
    ------
    ScenarioError
        If nothing can be loaded under that name, or the tokenizer has neither a pad nor an
        end-of-sequence token.
    """
    # Here, not above: the import takes seconds and pulls torch in.
    import transformers

    try:
        loaded: Any = transformers.AutoTokenizer.from_pretrained(str(name_or_folder))
    except (OSError, ValueError) as error:
        raise ScenarioError(
            f"tokenizer '{name_or_folder}': cannot be loaded ({error}); give a folder with a "
            "saved tokenizer, or the name of a model that can be downloaded from here"
        ) from error
    pad_token_id = loaded.eos_token_id if loaded.pad_token_id is None else loaded.pad_token_id
    if pad_token_id is None:
        raise ScenarioError(
            f"tokenizer '{name_or_folder}': it has neither a pad nor an end-of-sequence token, "
            "so no batch can be padded; save it with one of the two"
        )
    return _PretrainedTokenizer(loaded, len(loaded), pad_token_id)


def word_tokenizer(texts: Iterable[str], max_vocab: int) -> Tokenizer:
    """Vocabulary of the most frequent words, for generated data and tiny models.

    Parameters
    ----------
    texts
        Texts to take the words from. Use the training texts: a word that only the test set has
        is unknown, as it would be in the field.
    max_vocab
        Largest number of ids, the pad and the unknown id included.

    Returns
    -------
    Tokenizer
        Splits at white space. Id 0 pads, id 1 is any word outside the vocabulary, the words
        follow by falling frequency and, where that is equal, in alphabetical order.

    Raises
    ------
    ScenarioError
        If `max_vocab` leaves no room for a word.
    """
    if max_vocab <= _NUM_RESERVED_IDS:
        raise ScenarioError(
            f"max_vocab = {max_vocab}: at least {_NUM_RESERVED_IDS + 1} are needed, "
            "for the pad id, the unknown id and one word"
        )
    counts = Counter(word for text in texts for word in _WORD.findall(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    kept = ranked[: max_vocab - _NUM_RESERVED_IDS]
    return _WordTokenizer({word: rank for rank, word in enumerate(kept, start=_NUM_RESERVED_IDS)})


@dataclass(frozen=True)
class _Gpt2Tokenizer:
    encoder: Any
    vocab_size: int
    pad_token_id: int

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.encoder.encode(text).ids
        return ids

    def save(self, folder: Path) -> None:
        _save(self.encoder, folder, eos_token=GPT2_END_OF_TEXT)


@dataclass(frozen=True)
class _PretrainedTokenizer:
    loaded: Any
    vocab_size: int
    pad_token_id: int

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.loaded(text)["input_ids"]
        return ids

    def save(self, folder: Path) -> None:
        self.loaded.save_pretrained(str(folder))


@dataclass(frozen=True)
class _WordTokenizer:
    id_of: dict[str, int]
    pad_token_id: int = _WORD_PAD_ID

    @property
    def vocab_size(self) -> int:
        return len(self.id_of) + _NUM_RESERVED_IDS

    def encode(self, text: str) -> list[int]:
        return [self.id_of.get(word, _WORD_UNKNOWN_ID) for word in _WORD.findall(text)]

    def save(self, folder: Path) -> None:
        import tokenizers

        # Written with spaces, which no word contains.
        reserved = {"<pad >": _WORD_PAD_ID, "<unknown >": _WORD_UNKNOWN_ID}
        model = tokenizers.models.WordLevel({**reserved, **self.id_of}, unk_token="<unknown >")
        encoder = tokenizers.Tokenizer(model)
        encoder.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        _save(encoder, folder, pad_token="<pad >", unk_token="<unknown >")


def _save(encoder: Any, folder: Path, **special: str) -> None:
    import transformers

    fast: Any = transformers.PreTrainedTokenizerFast
    fast(tokenizer_object=encoder, **special).save_pretrained(str(folder))
