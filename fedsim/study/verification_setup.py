"""The federation that ``fedsim verify`` runs: from what was asked for to models and data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fedsim.draws import client_id
from fedsim.errors import ScenarioError
from fedsim.protocol import Framework
from fedsim.runtime.data import (
    EncodedDataset,
    Tokenizer,
    data_directory,
    encode_dataset,
    gpt2_tokenizer,
    load_dataset,
    partition,
    pretrained_tokenizer,
    word_tokenizer,
)
from fedsim.runtime.device import torch_device
from fedsim.runtime.federation import Federation, FederationData, build_federation
from fedsim.runtime.options import RunOptions
from fedsim.spec.model import HeadSpec, ModelSpec
from fedsim.spec.model_config import resolve_model
from fedsim.spec.plan import ClientPlan, Cut, Numerics, TrainingSpec
from fedsim.spec.tuning import LoraTuning
from fedsim.study.verification_request import VerificationRequest

__all__ = ["VerificationSetup"]

_TINY = "gpt2-tiny"
_GENERATED_LABELS = 8


@dataclass(frozen=True)
class VerificationSetup:
    """Data, model and settings of a verification.

    Attributes
    ----------
    training : TrainingSpec
    data : FederationData
        With the public set; frameworks without one are not given it.
    title : str
        What was run, for the report.
    """

    training: TrainingSpec
    data: FederationData
    request: VerificationRequest
    cut: Cut
    options: RunOptions
    weights: str
    weights_source: str | None
    device_name: str
    title: str

    @classmethod
    def from_request(cls, request: VerificationRequest) -> VerificationSetup:
        """Check a command line and load its data.

        Raises
        ------
        ScenarioError
            Naming the option that cannot be followed.
        """
        is_tiny = request.model == "tiny"
        model = resolve_model(_TINY if is_tiny else request.model, Path.cwd())
        weights = request.weights or ("random" if is_tiny else "")
        if not weights:
            raise ScenarioError(
                f"--model {request.model}: say which weights to start from: --weights pretrained "
                "(from a hub or --weights-from FOLDER) or --weights random."
            )
        max_tokens = request.max_tokens or (24 if is_tiny else 80)
        data, num_labels, tokenizer_name = _data(request, model, max_tokens, weights)
        training = TrainingSpec(
            model=model,
            head=HeadSpec(request.head, num_labels),  # type: ignore[arg-type]
            tuning=LoraTuning(r=request.rank, target_modules=_targets(request, model)),
            numerics=Numerics(
                payload_dtype=request.payload_dtype,  # type: ignore[arg-type]
                is_checkpointed=request.checkpointing,
            ),
        )
        layer = request.cut_layer
        if layer is None:
            layer = max(1, model.num_layers // 3)
        cut = Cut(layer, request.half_block)
        cut.check(model)
        title = (
            f"{model.name} ({model.num_layers} blocks x {model.hidden_size}), {weights} weights, "
            f"{request.head} head, {request.data_source} texts ({tokenizer_name} tokens), "
            f"{request.num_clients} clients x {request.samples_per_client} samples "
            f"({request.split}), "
            f"batch {request.batch_size}, {max_tokens} tokens, padding {request.padding}, "
            f"r = {request.rank}, cut after {layer}{' and a half' if request.half_block else ''} "
            f"blocks, server {request.server_variant}, on {request.device}"
        )
        return cls(
            training,
            data,
            request,
            cut,
            RunOptions(seed=request.seed),
            weights,
            request.weights_from,
            request.device,
            title,
        )

    def builder(self, framework: Framework) -> Callable[[], Federation]:
        """A function that makes a fresh federation of a framework."""
        reads_public = framework.may_read("workload.public_samples")
        public = self.data.public if reads_public else None

        def build() -> Federation:
            return build_federation(
                framework,
                {cid: self._plan(framework, rows) for cid, rows in self.data.clients.items()},
                replace(self.data, public=public),
                options=self.options,
                weights=self.weights,  # type: ignore[arg-type]
                weights_source=self.weights_source,
                device=torch_device(self.device_name),
            )

        return build

    def _plan(self, framework: Framework, rows: EncodedDataset) -> ClientPlan:
        request = self.request
        return ClientPlan(
            training=self.training,
            train_epochs=(rows.text(request.padding),),  # type: ignore[arg-type]
            batch_size=request.batch_size,
            cut=self.cut if framework.may_read("split") else None,
            server_variant=request.server_variant,  # type: ignore[arg-type]
        )


def _targets(request: VerificationRequest, model: ModelSpec) -> tuple[str, ...]:
    if request.target_modules is not None:
        return tuple(name.strip() for name in request.target_modules.split(",") if name.strip())
    if model.traits.has_fused_qkv:
        return ("attn.c_attn",)
    return ("q_proj", "v_proj")


def _data(
    request: VerificationRequest, model: ModelSpec, max_tokens: int, weights: str
) -> tuple[FederationData, int, str]:
    num_private = request.num_clients * request.samples_per_client
    needed = num_private + request.public_samples
    dataset, _ = load_dataset(
        request.data_source,
        request.data_dir,
        request.seed,
        num_train=needed,
        num_test=_GENERATED_LABELS,
        num_labels=_GENERATED_LABELS,
    )
    tokenizer, name = _tokenizer(request, model, dataset.texts, weights)
    encoded = encode_dataset(dataset, tokenizer, max_tokens)
    parts = partition(
        encoded.spread_labels,
        num_public=request.public_samples,
        num_clients=request.num_clients,
        split=request.split,  # type: ignore[arg-type]
        dirichlet_alpha=request.dirichlet_alpha,
        samples_per_client=request.samples_per_client,
        seed=request.seed,
    )
    clients: dict[str, EncodedDataset] = {
        client_id("clients", index, len(parts.clients)): encoded.take(rows)
        for index, rows in enumerate(parts.clients)
    }
    public = None if parts.public is None else encoded.take(parts.public)
    data = FederationData(clients, public, tokenizer.pad_token_id)
    return data, dataset.num_labels, name


def _tokenizer(
    request: VerificationRequest, model: ModelSpec, texts: tuple[str, ...], weights: str
) -> tuple[Tokenizer, str]:
    if request.data_source == "generated" or request.model == "tiny":
        return word_tokenizer(texts, model.vocab_size), "word"
    if weights == "pretrained":
        source = request.weights_from or model.name
        return pretrained_tokenizer(source), source
    if model.family == "gpt2":
        return gpt2_tokenizer(data_directory(request.data_dir) / "gpt2"), "GPT-2"
    return word_tokenizer(texts, model.vocab_size), "word"
