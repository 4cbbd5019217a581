"""From a training file and a seed to a real federation and its test rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedsim.draws import client_id
from fedsim.errors import ScenarioError
from fedsim.runtime.build_model import build_model
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
from fedsim.runtime.device import available_device
from fedsim.runtime.federation import Federation, FederationData, build_federation
from fedsim.runtime.options import FedAdamOptions, RunOptions
from fedsim.runtime.staged_model import StagedModel
from fedsim.scenario.file.mistake import Mistake, refusal
from fedsim.spec.batch import TextLengths
from fedsim.spec.model import HeadSpec, ModelSpec
from fedsim.spec.model_config import resolve_model
from fedsim.spec.plan import ClientPlan, Cut, Numerics, TrainingSpec
from fedsim.spec.tuning import FullTuning, LoraTuning
from fedsim.training.file import TrainingDocument
from fedsim.training.translate import mistakes_of

__all__ = ["TextSample", "TrainingSetup"]

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
    num_labels : int
    """

    lengths: NDArray[np.int64]
    num_test: int
    num_labels: int


@dataclass
class TrainingSetup:
    """Builds the federations of a training file.

    Attributes
    ----------
    document : TrainingDocument
    data_dir : Path or None
        Folder of data sets; None asks the environment.
    """

    document: TrainingDocument
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        file = self.document.file
        name = file.model.name
        self.model = self.tried("[model] name", lambda: resolve_model(name, self.document.folder))
        self.device = self.tried("[train]", lambda: available_device(file.train.device))
        self.tried("[split]", self._cut)
        self._check_warm_weights()

    @property
    def weights_source(self) -> str | None:
        """Folder or hub name of the weights; None for random ones."""
        train = self.document.file.train
        if train.weights == "random":
            return None
        named = train.weights_from or self.model.name
        beside = self.document.folder / named
        return str(beside) if beside.is_dir() else named

    def federation(self, seed: int) -> tuple[Federation, EncodedDataset]:
        """A federation at its start, and the test rows.

        Raises
        ------
        ScenarioError
            If data, weights or sizes do not fit; one line.
        """
        file = self.document.file
        data, test, num_labels = self._data(seed)
        training = self.tried("[lora]", lambda: self.training(num_labels))
        framework = self.document.framework
        reads_public = framework.may_read("workload.public_samples")
        federation = self.tried(
            "[workload]" if file.train.weights == "random" else "[train] weights_from",
            lambda: build_federation(
                framework,
                {
                    cid: self.plan(training, rows.text(file.workload.padding))
                    for cid, rows in data.clients.items()
                },
                # Set apart for all frameworks, so that they train on the same rows.
                data if reads_public else replace(data, public=None),
                options=self._options(seed),
                weights="random" if file.train.weights == "random" else "pretrained",
                weights_source=self.weights_source,
                device=self.device,
                attention=file.train.attention,
                # A recomputed block would ask for its masks a second time.
                draws_masks_by_name=not file.model.gradient_checkpointing,
            ),
        )
        return federation, test

    def text_sample(self, seed: int) -> TextSample:
        """Lengths of some of the texts, without making or encoding all of them.

        Raises
        ------
        ScenarioError
            If the data or the tokenizer cannot be loaded.
        """
        file = self.document.file
        num_public = file.workload.public_samples or 0
        needed = file.data.num_clients * file.workload.samples_per_client + num_public
        own_seed = seed if file.data.seed is None else file.data.seed
        train, test = self._texts(file.data.dataset, own_seed, 0, min(needed, _SAMPLED))
        tokenizer = self.tried("[data] tokenizer", lambda: self._tokenizer(train.texts))
        step = max(1, train.num_rows // _SAMPLED)
        some = replace(train, texts=train.texts[::step], labels=train.labels[::step])
        encoded = encode_dataset(some, tokenizer, file.workload.max_tokens)
        num_test = file.data.test_samples or test.num_rows
        return TextSample(encoded.lengths, num_test, train.num_labels)

    @property
    def is_reduced(self) -> bool:
        """Whether products are computed in less than float32."""
        file = self.document.file
        has_tf32 = file.train.tf32 and self.device.type == "cuda"
        return has_tf32 or file.model.compute_dtype != "float32"

    def reference_model(self, federation: Federation, seed: int) -> StagedModel:
        """The federation's model in float32, to see what less costs."""
        train = self.document.file.train
        return build_model(
            replace(federation.training, numerics=Numerics()),
            weights="random" if train.weights == "random" else "pretrained",
            pad_token_id=federation.data.pad_token_id,
            seed=seed,
            device=self.device,
            source=self.weights_source,
            attention=train.attention,
        )

    def tokenizer(self, seed: int) -> Tokenizer:
        """What turns the texts of a seed's run into token ids."""
        file = self.document.file
        num_public = file.workload.public_samples or 0
        is_foreign = file.data.public_dataset not in (None, file.data.dataset)
        own_seed = seed if file.data.seed is None else file.data.seed
        train, _ = self._texts(file.data.dataset, own_seed, 0 if is_foreign else num_public)
        return self.tried("[data] tokenizer", lambda: self._tokenizer(train.texts))

    # --- private -----------------------------------------------------------------------------

    def tried(self, where: str, build: Callable[[], _T]) -> _T:
        """What ``build`` gives, or its mistakes as those of the file's keys."""
        try:
            return build()
        except ScenarioError as error:
            name = self.document.name
            raise refusal(m.line(name) for m in mistakes_of(error, where)) from error

    def _check_warm_weights(self) -> None:
        """Weights of one's own are in a folder: no hub is asked for them."""
        train, source = self.document.file.train, self.weights_source
        if train.weights == "warm" and source is not None and not Path(source).is_dir():
            text = (
                "there is no such folder, from here or from the file; name one with config.json "
                "and model.safetensors."
            )
            mistake = Mistake("[train] weights_from", repr(train.weights_from), text)
            raise refusal([mistake.line(self.document.name)])

    def _cut(self) -> Cut | None:
        file = self.document.file
        if not self.document.framework.may_read("split") or file.split.cut_layer is None:
            return None
        cut = Cut(file.split.cut_layer, file.split.half_block)
        cut.check(self.model)
        return cut

    def plan(
        self, training: TrainingSpec, private: TextLengths, public: TextLengths | None = None
    ) -> ClientPlan:
        """A client's plan, with its texts."""
        file = self.document.file
        workload = file.workload
        return ClientPlan(
            training=training,
            train_epochs=(private,) * workload.local_epochs,
            public_text=public,
            batch_size=workload.batch_size,
            accumulation_steps=workload.accumulation_steps,
            distillation_epochs=workload.distillation_epochs,
            cut=self._cut(),
            server_variant=file.split.server_variant,
            shares_head=file.lora.shares_head if file.lora is not None else True,
        )

    def _options(self, seed: int) -> RunOptions:
        train, learning = self.document.file.train, self.document.file.learning
        adaptive = None
        if train.server_optimizer == "fedadam":
            given = {"beta1": train.beta1, "beta2": train.beta2, "tau": train.tau}
            values = {name: value for name, value in given.items() if value is not None}
            assert train.server_learning_rate is not None
            adaptive = FedAdamOptions(train.server_learning_rate, **values)
        return RunOptions(
            seed=seed,
            learning_rate=learning.learning_rate,
            optimizer_state=learning.optimizer_state,
            distillation_loss=learning.distillation_loss,
            distillation_temperature=learning.distillation_temperature,
            proximal_mu=train.mu or 0.0,
            fed_adam=adaptive,
            dropout_probability=train.dropout_probability,
        )

    def training(self, num_labels: int) -> TrainingSpec:
        """What is trained, with a head for so many labels."""
        file = self.document.file
        table, lora = file.model, file.lora
        tuning = (
            FullTuning()
            if table.tuning == "full" or lora is None
            else LoraTuning(**lora.model_dump(exclude={"shares_head"}))
        )
        return TrainingSpec(
            model=self.model,
            head=HeadSpec(table.head, table.num_classes or max(2, num_labels)),
            tuning=tuning,
            numerics=Numerics(
                table.weights_dtype,
                table.compute_dtype,
                table.payload_dtype,
                table.gradient_checkpointing,
            ),
            model_dropout=table.dropout,
            optimizer=file.workload.optimizer,
        )

    def _data(self, seed: int) -> tuple[FederationData, EncodedDataset, int]:
        file = self.document.file
        own_seed = seed if file.data.seed is None else file.data.seed
        num_public = file.workload.public_samples or 0
        is_foreign = file.data.public_dataset not in (None, file.data.dataset)
        train, test = self._texts(file.data.dataset, own_seed, 0 if is_foreign else num_public)
        tokenizer = self.tried("[data] tokenizer", lambda: self._tokenizer(train.texts))
        encoded = encode_dataset(train, tokenizer, file.workload.max_tokens)
        parts = self.tried(
            "[workload]",
            lambda: partition(
                encoded.spread_labels,
                num_public=0 if is_foreign else num_public,
                num_clients=file.data.num_clients,
                split=file.learning.partition,
                dirichlet_alpha=file.learning.dirichlet_alpha,
                samples_per_client=file.workload.samples_per_client,
                seed=own_seed,
            ),
        )
        public = None if parts.public is None else encoded.take(parts.public)
        if is_foreign:
            public = self._foreign_rows(tokenizer, own_seed, num_public)
        data = FederationData(
            {
                client_id("clients", index, len(parts.clients)): encoded.take(rows)
                for index, rows in enumerate(parts.clients)
            },
            public,
            tokenizer.pad_token_id,
        )
        return data, self._test_rows(test, tokenizer), train.num_labels

    def _texts(
        self, source: str, seed: int, num_public: int, num_private: int | None = None
    ) -> tuple[TextDataset, TextDataset]:
        file = self.document.file
        if num_private is None:
            num_private = file.data.num_clients * file.workload.samples_per_client
        return self.tried(
            "[data] dataset",
            lambda: load_dataset(
                source,
                self.data_dir,
                seed,
                num_train=num_private + num_public,
                num_test=file.data.test_samples or _GENERATED_TEST,
                num_labels=file.model.num_classes or _GENERATED_LABELS,
            ),
        )

    def _foreign_rows(self, tokenizer: Tokenizer, seed: int, num_public: int) -> EncodedDataset:
        file = self.document.file
        assert file.data.public_dataset is not None
        texts, _ = self._texts(file.data.public_dataset, seed, num_public)
        encoded = encode_dataset(texts, tokenizer, file.workload.max_tokens)
        rows = self.tried("[workload]", lambda: _sample(encoded.num_rows, num_public, seed=seed))
        return encoded.take(rows)

    def _test_rows(self, test: TextDataset, tokenizer: Tokenizer) -> EncodedDataset:
        file = self.document.file
        wanted = file.data.test_samples or test.num_rows
        if wanted > test.num_rows:
            text = f"'{test.name}' has {test.num_rows:,} rows; allowed: 1 to that."
            mistake = Mistake("[data] test_samples", f"{wanted:,}", text)
            raise refusal([mistake.line(self.document.name)])
        encoded = encode_dataset(test, tokenizer, file.workload.max_tokens)
        # Published files are sorted by label: the first rows would be those of a few labels.
        return encoded.take(_sample(encoded.num_rows, wanted, seed=0))

    def _tokenizer(self, texts: tuple[str, ...]) -> Tokenizer:
        kind = self.document.file.data.tokenizer or _default_tokenizer(
            self.document.file.train.weights, self.document.file.data.dataset, self.model
        )
        if kind == "pretrained":
            assert self.weights_source is not None
            return pretrained_tokenizer(self.weights_source)
        if kind == "gpt2":
            return gpt2_tokenizer(data_directory(self.data_dir) / "gpt2")
        return word_tokenizer(texts, self.model.vocab_size)


def _default_tokenizer(weights: str, dataset: str, model: ModelSpec) -> str:
    if weights != "random":
        return "pretrained"
    fits = model.family == "gpt2" and model.vocab_size >= 50_257
    return "gpt2" if fits and dataset != "generated" else "word"


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
