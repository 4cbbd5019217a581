"""From a case and a seed to a real federation and its test rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fedsim.draws import client_id
from fedsim.planning import ClientFacts
from fedsim.runtime.build_model import build_model
from fedsim.runtime.data import EncodedDataset, Tokenizer
from fedsim.runtime.device import available_device
from fedsim.runtime.federation import (
    Federation,
    FederationData,
    build_federation,
)
from fedsim.runtime.options import FedAdamOptions, RunOptions
from fedsim.runtime.staged_model import StagedModel
from fedsim.scenario.file.mistake import Mistake, refusal
from fedsim.spec.batch import TextLengths
from fedsim.spec.federation import FederationSpec
from fedsim.spec.plan import ClientPlan, Numerics
from fedsim.training.data import TextSample, TrainingData, tried
from fedsim.training.file import TrainingDocument

__all__ = ["TextSample", "TrainingSetup"]

_T = TypeVar("_T")


@dataclass
class TrainingSetup:
    """Builds the federations of a case.

    Attributes
    ----------
    document : TrainingDocument
    data_dir : Path or None
        Folder of data sets; None asks the environment.
    """

    document: TrainingDocument
    data_dir: Path | None = None
    _rows: dict[int, tuple[FederationData, EncodedDataset]] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        self.device = self.tried("[train]", lambda: available_device(self.document.train.device))
        self._check_warm_weights()

    @property
    def weights_source(self) -> str | None:
        """Folder or hub name of the weights; None for random ones."""
        if self.document.settings.learning.weights == "random":
            return None
        named = self.document.train.weights_from or self._plans.server_plan.training.model.name
        beside = self.document.folder / named
        return str(beside) if beside.is_dir() else named

    @property
    def reads_public(self) -> bool:
        """Whether the framework uses a public set."""
        return self.document.framework.may_read("workload.public_samples")

    def federation(self, seed: int) -> tuple[Federation, EncodedDataset]:
        """A federation at its start, and the test rows.

        Raises
        ------
        ScenarioError
            If data, weights or sizes do not fit; one line.
        """
        settings = self.document.settings
        if seed not in self._rows:
            # One seed's at a time: several runs of it have the same.
            self._rows = {seed: self._data(seed).rows()}
        data, test = self._rows[seed]
        weights = "random" if settings.learning.weights == "random" else "pretrained"
        federation = self.tried(
            "[workload]" if weights == "random" else "[train] weights_from",
            lambda: build_federation(
                self.document.framework,
                self.plans(),
                # Set apart for all frameworks, so that they train on the same rows.
                data if self.reads_public else replace(data, public=None),
                server_plan=self._unread(self._plans.server_plan),
                schedules=self._plans.schedules,
                policy=self.document.policy,
                facts=self._facts(),
                options=self._options(seed),
                weights=weights,  # type: ignore[arg-type]
                weights_source=self.weights_source,
                device=self.device,
                attention=self.document.train.attention,
                # A recomputed block would ask for its masks a second time.
                draws_masks_by_name=not settings.model.gradient_checkpointing,
            ),
        )
        return federation, test

    def plans(self) -> dict[str, ClientPlan]:
        """Each client's plan, its texts padded as the file says and of no length yet."""
        found = {}
        for each in self._plans.classes:
            own = {size: self._unread(plan) for size, plan in each.plans.items()}
            one = self._unread(each.plan)
            for number in range(each.num_clients):
                samples = each.client_samples
                plan = one if samples is None else own[samples[number]]
                found[client_id(each.name, number, each.num_clients)] = plan
        return found

    def text_sample(self, seed: int) -> TextSample:
        """Lengths of some of the texts, without making or encoding all of them.

        Raises
        ------
        ScenarioError
            If the data or the tokenizer cannot be loaded.
        """
        return self._data(seed).sample()

    @property
    def is_reduced(self) -> bool:
        """Whether products are computed in less than float32."""
        has_tf32 = self.document.train.tf32 and self.device.type == "cuda"
        return has_tf32 or self.document.settings.model.compute_dtype != "float32"

    def reference_model(self, federation: Federation, seed: int) -> StagedModel:
        """The federation's model in float32, to see what less costs."""
        is_random = self.document.settings.learning.weights == "random"
        return build_model(
            replace(federation.training, numerics=Numerics()),
            weights="random" if is_random else "pretrained",
            pad_token_id=federation.data.pad_token_id,
            seed=seed,
            device=self.device,
            source=self.weights_source,
            attention=self.document.train.attention,
        )

    def tokenizer(self, seed: int) -> Tokenizer:
        """What turns the texts of a seed's run into token ids."""
        return self._data(seed).tokenizer()

    def tried(self, where: str, build: Callable[[], _T]) -> _T:
        """What ``build`` gives, or its mistakes as those of the file's keys."""
        return tried(self.document.name, where, build)

    # --- private -----------------------------------------------------------------------------

    @property
    def _plans(self) -> FederationSpec:
        return self.document.federation

    def _data(self, seed: int) -> TrainingData:
        return TrainingData(self.document, seed, self.data_dir, self.weights_source)

    def _unread(self, plan: ClientPlan) -> ClientPlan:
        """A scenario's plan with the file's padding, before any text of it was read."""
        padding = self.document.settings.workload.padding

        def unread(text: TextLengths) -> TextLengths:
            if padding == "max_tokens":
                return replace(text, padding=padding)
            return TextLengths(text.num_samples, text.max_tokens, padding, (1,) * text.num_samples)

        public = plan.public_text if self.reads_public else None
        return replace(
            plan,
            train_epochs=tuple(unread(text) for text in plan.train_epochs),
            public_text=None if public is None else unread(public),
        )

    def _check_warm_weights(self) -> None:
        """Weights of one's own are in a folder: no hub is asked for them."""
        source = self.weights_source
        is_warm = self.document.settings.learning.weights == "warm"
        if is_warm and source is not None and not Path(source).is_dir():
            text = (
                "there is no such folder, from here or from the file; name one with config.json "
                "and model.safetensors."
            )
            given = repr(self.document.train.weights_from)
            mistake = Mistake("[train] weights_from", given, text)
            raise refusal([mistake.line(self.document.name)])

    def _facts(self) -> ClientFacts:
        """What schedules may know of the clients, in their order: what the file says of them."""
        each = self._plans.classes
        counts = [one.num_clients for one in each]

        def column(values: list[float]) -> NDArray[np.float64]:
            return np.repeat(np.array(values, dtype=np.float64), counts)

        samples = [plan.train_epochs[0].num_samples for plan in self.plans().values()]
        return ClientFacts(
            class_names=tuple(one.name for one in each),
            class_index=np.repeat(np.arange(len(each), dtype=np.int32), counts),
            num_samples=np.array(samples, dtype=np.int64),
            slowdown=column([1.0 for _ in each]),
            uplink=column([one.link.uplink_bytes_per_s for one in each]),
            downlink=column([one.link.downlink_bytes_per_s for one in each]),
            round_trip=column([one.link.round_trip_s for one in each]),
        )

    def _options(self, seed: int) -> RunOptions:
        settings, train = self.document.settings, self.document.train
        learning, adaptive = settings.learning, None
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
            dropout_probability=settings.fleet.dropout_probability,
        )
