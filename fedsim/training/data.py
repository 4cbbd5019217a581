"""From a case and a seed to who holds which texts: data set, tokenizer, partition, test rows.

One builder for training and verification.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedsim.draws import client_id
from fedsim.errors import ScenarioError
from fedsim.runtime.data import (
    EncodedDataset,
    TextDataset,
    Tokenizer,
    data_directory,
    encode_dataset,
    gpt2_tokenizer,
    load_dataset,
    partition,
    pretrained_tokenizer,
    word_tokenizer,
)
from fedsim.runtime.federation import FederationData
from fedsim.scenario.file.mistake import Mistake, refusal
from fedsim.scenario.file.settings import Settings
from fedsim.spec.dataset import TextSource
from fedsim.spec.federation import FederationSpec
from fedsim.spec.model import ModelSpec
from fedsim.training.file import TrainingDocument
from fedsim.training.translate import mistakes_of

__all__ = ["TextSample", "TrainingData", "client_sizes", "tried"]

_T = TypeVar("_T")
_GENERATED_LABELS: Final = 8
_GENERATED_TEST: Final = 200
#: Texts that stand for the lengths of all.
_SAMPLED: Final = 500


@dataclass(frozen=True)
class TextSample:
    """Some texts' lengths, and what they were drawn from.

    Attributes
    ----------
    lengths : ndarray
        ``(n,)`` [tokens].
    num_test : int
        Test rows that are judged on.
    """

    lengths: NDArray[np.int64]
    num_test: int


def tried(name: str, where: str, build: Callable[[], _T]) -> _T:
    """What ``build`` gives, or its mistakes as those of a file's keys.

    Parameters
    ----------
    name : str
        The file's.
    where : str
        Key that a message is about which names none.
    """
    try:
        return build()
    except ScenarioError as error:
        raise refusal(m.line(name) for m in mistakes_of(error, where)) from error


def client_sizes(federation: FederationSpec) -> dict[str, int]:
    """Private samples of each client, by name, class by class."""
    found = {}
    for each in federation.classes:
        middle = each.plan.train_epochs[0].num_samples
        sizes = each.client_samples or (middle,) * each.num_clients
        for number, size in enumerate(sizes):
            found[client_id(each.name, number, each.num_clients)] = size
    return found


@dataclass(frozen=True)
class TrainingData:
    """Texts of one seed's run.

    Attributes
    ----------
    document : TrainingDocument
    seed : int
        Of the run; ``[data] seed`` stands for it where it is given.
    data_dir : Path or None
        Folder of data sets; None asks the environment.
    weights_source : str or None
        Whose tokenizer ``pretrained`` is.
    """

    document: TrainingDocument
    seed: int
    data_dir: Path | None = None
    weights_source: str | None = None

    def rows(self) -> tuple[FederationData, EncodedDataset]:
        """Rows of every client, the public set whoever uses it, and the test rows.

        Raises
        ------
        ScenarioError
            If data and sizes do not fit; one line.
        """
        settings, sizes = self._settings, client_sizes(self.document.federation)
        foreign, num_public = self.document.public_source, settings.workload.public_samples or 0
        train, test = self._texts(self.document.source, sum(sizes.values()) + self._num_own_public)
        tokenizer = self._tokenizer(train.texts)
        encoded = encode_dataset(train, tokenizer, settings.workload.max_tokens)
        parts = self._tried(
            "[workload]",
            lambda: partition(
                encoded.spread_labels,
                num_public=self._num_own_public,
                num_clients=len(sizes),
                split=settings.learning.partition,
                dirichlet_alpha=settings.learning.dirichlet_alpha,
                samples_per_client=list(sizes.values()),
                seed=self._own_seed,
            ),
        )
        public = None if parts.public is None else encoded.take(parts.public)
        if foreign is not None:
            public = self._foreign_rows(foreign, tokenizer, num_public)
        clients = {
            name: encoded.take(rows) for name, rows in zip(sizes, parts.clients, strict=True)
        }
        data = FederationData(clients, public, tokenizer.pad_token_id)
        return data, self._test_rows(test, tokenizer)

    def sample(self) -> TextSample:
        """Lengths of some of the texts, without making or encoding all of them.

        Raises
        ------
        ScenarioError
            If the data or the tokenizer cannot be loaded.
        """
        needed = sum(client_sizes(self.document.federation).values()) + self._num_own_public
        train, test = self._texts(self.document.source, min(needed, _SAMPLED))
        tokenizer = self._tokenizer(train.texts)
        step = max(1, train.num_rows // _SAMPLED)
        some = replace(train, texts=train.texts[::step], labels=train.labels[::step])
        encoded = encode_dataset(some, tokenizer, self._settings.workload.max_tokens)
        return TextSample(encoded.lengths, self.document.data.test_samples or test.num_rows)

    def tokenizer(self) -> Tokenizer:
        """What turns the texts into token ids."""
        needed = sum(client_sizes(self.document.federation).values()) + self._num_own_public
        train, _ = self._texts(self.document.source, needed)
        return self._tokenizer(train.texts)

    # --- private -----------------------------------------------------------------------------

    @property
    def _settings(self) -> Settings:
        return self.document.settings

    @property
    def _own_seed(self) -> int:
        given = self.document.data.seed
        return self.seed if given is None else given

    @property
    def _num_own_public(self) -> int:
        """Public rows that the clients' own data set gives."""
        is_own = self.document.public_source is None
        return (self._settings.workload.public_samples or 0) if is_own else 0

    def _tried(self, where: str, build: Callable[[], _T]) -> _T:
        return tried(self.document.name, where, build)

    def _texts(self, source: TextSource, num_train: int) -> tuple[TextDataset, TextDataset]:
        return self._tried(
            "[data] dataset",
            lambda: load_dataset(
                source,
                self.data_dir,
                self._own_seed,
                num_train=num_train,
                num_test=self.document.data.test_samples or _GENERATED_TEST,
                num_labels=self._settings.model.num_classes or _GENERATED_LABELS,
            ),
        )

    def _foreign_rows(
        self, source: TextSource, tokenizer: Tokenizer, num_public: int
    ) -> EncodedDataset:
        num_private = sum(client_sizes(self.document.federation).values())
        texts, _ = self._texts(source, num_private + num_public)
        encoded = encode_dataset(texts, tokenizer, self._settings.workload.max_tokens)
        rows = self._tried(
            "[workload]", lambda: _sample(encoded.num_rows, num_public, seed=self._own_seed)
        )
        return encoded.take(rows)

    def _test_rows(self, test: TextDataset, tokenizer: Tokenizer) -> EncodedDataset:
        wanted = self.document.data.test_samples or test.num_rows
        if wanted > test.num_rows:
            text = f"'{test.name}' has {test.num_rows:,} rows; allowed: 1 to that."
            mistake = Mistake("[data] test_samples", f"{wanted:,}", text)
            raise refusal([mistake.line(self.document.name)])
        encoded = encode_dataset(test, tokenizer, self._settings.workload.max_tokens)
        # Published files are sorted by label: the first rows would be those of a few labels.
        return encoded.take(_sample(encoded.num_rows, wanted, seed=0))

    def _tokenizer(self, texts: tuple[str, ...]) -> Tokenizer:
        model = self.document.federation.server_plan.training.model
        kind = self.document.data.tokenizer or _default_tokenizer(self.document, model)
        return self._tried("[data] tokenizer", lambda: self._tokenizer_of(kind, texts, model))

    def _tokenizer_of(self, kind: str, texts: tuple[str, ...], model: ModelSpec) -> Tokenizer:
        if kind == "pretrained":
            assert self.weights_source is not None
            return pretrained_tokenizer(self.weights_source)
        if kind == "gpt2":
            return gpt2_tokenizer(data_directory(self.data_dir) / "gpt2")
        return word_tokenizer(texts, model.vocab_size)


def _default_tokenizer(document: TrainingDocument, model: ModelSpec) -> str:
    if document.settings.learning.weights != "random":
        return "pretrained"
    fits = model.family == "gpt2" and model.vocab_size >= 50_257
    return "gpt2" if fits and document.source != "generated" else "word"


def _sample(num_rows: int, num_wanted: int, *, seed: int) -> list[int]:
    """Rows drawn without replacement; more of them only add rows at the end."""
    if num_wanted > num_rows:
        raise ScenarioError(f"num_public = {num_wanted}: the data set has only {num_rows} rows.")
    drawn = partition(
        np.zeros(num_rows, dtype=np.int64),
        num_public=0,
        num_clients=1,
        samples_per_client=num_wanted,
        seed=seed,
    )
    return [int(row) for row in drawn.clients[0]]
