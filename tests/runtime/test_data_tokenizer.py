"""Laws of the tokenizers."""

import json
import os
from pathlib import Path

import pytest

from fedsim.errors import ScenarioError
from fedsim.runtime.data import (
    Tokenizer,
    data_directory,
    encode_dataset,
    gpt2_tokenizer,
    load_banking77,
    pretrained_tokenizer,
    word_tokenizer,
)

needs_published_data = pytest.mark.skipif(
    not os.environ.get("FEDSIM_DATA_DIR"),
    reason="needs the published data: set FEDSIM_DATA_DIR to the folder with banking77/ and gpt2/",
)


@pytest.fixture
def byte_pair_folder(tmp_path: Path) -> Path:
    """A folder with a byte-pair vocabulary of eight tokens in GPT-2's format."""
    tokens = ["a", "b", "c", "Ġ", "ab", "Ġab", "abc", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = "#version: 0.2\na b\nab c\nĠ ab\n"
    (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
    return tmp_path


def save_pretrained(folder: Path, **special_tokens: str) -> Path:
    """Save a word-level tokenizer as transformers saves the one of a pretrained model."""
    tokenizers = pytest.importorskip("tokenizers", reason="needs the runtime's extra")
    transformers = pytest.importorskip("transformers", reason="needs the runtime's extra")
    vocabulary = {"[unk]": 0, "[pad]": 1, "[eos]": 2, "hello": 3, "world": 4}
    encoder = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[unk]"))
    encoder.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=encoder, unk_token="[unk]", **special_tokens
    ).save_pretrained(folder)
    return folder


class TestGpt2:
    """GPT-2's byte-pair encoding."""

    @needs_published_data
    @pytest.mark.parametrize(
        ("max_tokens", "mean", "mean_square", "longest"),
        [(1024, 13.8004, 271.9425, 94), (80, 13.7971, 271.3766, 80)],
    )
    def test_banking77_has_its_known_lengths(
        self, max_tokens: int, mean: float, mean_square: float, longest: int
    ) -> None:
        """Training rows average 13.80 tokens; FLOPs need the mean square, whole and cut at 80."""
        train, _ = load_banking77()
        tokenizer = gpt2_tokenizer(data_directory() / "gpt2")
        lengths = encode_dataset(train, tokenizer, max_tokens).lengths
        assert longest == lengths.max()
        assert mean == pytest.approx(lengths.mean(), abs=1e-4)
        assert mean_square == pytest.approx((lengths**2).mean(), abs=1e-4)

    @needs_published_data
    def test_three_banking77_rows_exceed_80_tokens(self) -> None:
        """Cutting at 80 tokens touches 3 of the 10,003 training rows."""
        train, _ = load_banking77()
        tokenizer = gpt2_tokenizer(data_directory() / "gpt2")
        assert (encode_dataset(train, tokenizer, 1024).lengths > 80).sum() == 3

    @needs_published_data
    def test_ids_are_gpt2s_own(self) -> None:
        """Published ids come out: 'Hello world' is 15496 995, and the pad id is 50256."""
        tokenizer = gpt2_tokenizer(data_directory() / "gpt2")
        assert tokenizer.encode("Hello world") == [15496, 995]
        assert (tokenizer.vocab_size, tokenizer.pad_token_id) == (50_257, 50_256)

    def test_merges_apply_by_rank(self, byte_pair_folder: Path) -> None:
        """'abc ab' merges to the tokens abc (6) and space-ab (5)."""
        assert gpt2_tokenizer(byte_pair_folder).encode("abc ab") == [6, 5]

    def test_the_end_of_text_pads(self, byte_pair_folder: Path) -> None:
        """The pad id is that of the end-of-text token, which stays one token in a text."""
        tokenizer = gpt2_tokenizer(byte_pair_folder)
        assert (tokenizer.vocab_size, tokenizer.pad_token_id) == (8, 7)
        assert tokenizer.encode("a<|endoftext|>") == [0, 7]

    def test_all_missing_files_are_named(self, tmp_path: Path) -> None:
        """An empty folder is answered with both file names and the place."""
        with pytest.raises(ScenarioError, match=r"no file vocab\.json, merges\.txt.*gpt2/"):
            gpt2_tokenizer(tmp_path)

    def test_a_malformed_vocabulary_is_refused(self, byte_pair_folder: Path) -> None:
        """A file that the library cannot read is named with the library's own reason."""
        (byte_pair_folder / "vocab.json").write_text("no json", encoding="utf-8")
        with pytest.raises(ScenarioError, match="no byte-pair vocabulary"):
            gpt2_tokenizer(byte_pair_folder)

    def test_a_vocabulary_without_end_of_text_is_refused(self, byte_pair_folder: Path) -> None:
        """Without the token that pads there is no tokenizer, and no other token takes its place."""
        path = byte_pair_folder / "vocab.json"
        vocabulary = json.loads(path.read_text(encoding="utf-8"))
        del vocabulary["<|endoftext|>"]
        path.write_text(json.dumps(vocabulary), encoding="utf-8")
        with pytest.raises(ScenarioError, match=r"7 tokens but no '<\|endoftext\|>'"):
            gpt2_tokenizer(byte_pair_folder)


class TestPretrained:
    """Tokenizers that were saved with a model."""

    def test_a_saved_tokenizer_encodes_as_it_did(self, tmp_path: Path) -> None:
        """Ids, vocabulary and pad id are those that were saved."""
        folder = save_pretrained(tmp_path, pad_token="[pad]", eos_token="[eos]")
        tokenizer = pretrained_tokenizer(folder)
        assert tokenizer.encode("hello world again") == [3, 4, 0]
        assert (tokenizer.vocab_size, tokenizer.pad_token_id) == (5, 1)

    def test_the_end_of_sequence_pads_where_no_pad_exists(self, tmp_path: Path) -> None:
        """Without a pad token the end-of-sequence token pads."""
        folder = save_pretrained(tmp_path, eos_token="[eos]")
        assert pretrained_tokenizer(folder).pad_token_id == 2

    def test_a_tokenizer_that_cannot_pad_is_refused(self, tmp_path: Path) -> None:
        """Without a pad and an end-of-sequence token there is no pad id to be guessed."""
        folder = save_pretrained(tmp_path)
        with pytest.raises(ScenarioError, match="neither a pad nor an end-of-sequence token"):
            pretrained_tokenizer(folder)

    def test_an_unknown_folder_is_named(self, tmp_path: Path) -> None:
        """A folder that does not exist is named, with what may be given instead."""
        pytest.importorskip("transformers", reason="needs the runtime's extra")
        with pytest.raises(ScenarioError, match=r"tokenizer '.*gone': cannot be loaded"):
            pretrained_tokenizer(tmp_path / "gone")


class TestWords:
    """The plain vocabulary of words."""

    def test_words_are_numbered_by_frequency_then_alphabet(self) -> None:
        """Frequent words come first and ties are alphabetical, so that ids are deterministic."""
        tokenizer = word_tokenizer(["b c a", "b\tc\n", "b"], max_vocab=10)
        assert tokenizer.encode("b c a") == [2, 3, 4]
        assert (tokenizer.vocab_size, tokenizer.pad_token_id) == (5, 0)

    def test_a_word_outside_the_vocabulary_is_unknown(self) -> None:
        """Words that were not seen, or that did not fit, share one id that does not pad."""
        tokenizer = word_tokenizer(["a a b"], max_vocab=3)
        assert tokenizer.encode("a b z") == [2, 1, 1]

    @pytest.mark.parametrize("max_vocab", [3, 4, 100])
    def test_ids_stay_below_the_vocabulary_size(self, max_vocab: int) -> None:
        """The vocabulary never exceeds its limit, and every id is below its size."""
        tokenizer: Tokenizer = word_tokenizer(["a b c d e f"], max_vocab)
        assert tokenizer.vocab_size <= max_vocab
        assert max(tokenizer.encode("a b c d e f g")) < tokenizer.vocab_size

    def test_a_text_without_words_has_no_tokens(self) -> None:
        """White space alone encodes to nothing."""
        assert word_tokenizer(["a"], 5).encode(" \n") == []

    def test_a_vocabulary_without_room_for_a_word_is_refused(self) -> None:
        """Two ids are reserved, so that three are the least."""
        with pytest.raises(ScenarioError, match="max_vocab = 2: at least 3 are needed"):
            word_tokenizer(["a"], 2)
