"""Build the real model: transformers' classes, weights by explicit choice, adapters by peft."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import torch
from peft import LoraConfig, TaskType, get_peft_model
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
)

from fedsim.errors import ScenarioError
from fedsim.runtime.staged_model import StagedModel
from fedsim.spec.model import ModelSpec
from fedsim.spec.model_config import read_model_config
from fedsim.spec.plan import TrainingSpec

__all__ = ["Weights", "build_model", "transformers_config"]

Weights = Literal["random", "pretrained"]

#: What counts depend on. A longest sequence or an activation of another name changes none.
_SHAPE: Final = (
    "family",
    "num_layers",
    "hidden_size",
    "num_heads",
    "num_kv_heads",
    "head_size",
    "intermediate_size",
    "vocab_size",
    "is_tied",
    "has_attention_bias",
    "has_mlp_bias",
)


def build_model(
    training: TrainingSpec,
    *,
    weights: Weights,
    pad_token_id: int,
    seed: int,
    device: torch.device,
    source: str | Path | None = None,
    attention: Literal["eager", "sdpa"] = "eager",
) -> StagedModel:
    """A model ready to be trained.

    Parameters
    ----------
    training : TrainingSpec
    weights : {"random", "pretrained"}
        Random initialization is never a fallback: it is asked for by name.
    pad_token_id : int
    seed : int
        Of the random weights, the head and the adapters.
    device : torch.device
    source : str or Path, optional
        Hub name or folder of the pre-trained weights; the model's name by default.
    attention : {"eager", "sdpa"}
        Counts are exact for eager attention; fused attention computes the same and is there to be
        timed.

    Raises
    ------
    ScenarioError
        If pre-trained weights cannot be loaded or have another shape.
    """
    torch.manual_seed(seed)
    if weights == "random":
        network = _random(training, pad_token_id, attention)
    else:
        name = str(source or training.model.name)
        network = _pretrained(training, pad_token_id, name, attention)
    network.to(getattr(torch, training.numerics.weights_dtype))
    module: Any = network
    if training.lora is not None:
        with warnings.catch_warnings():
            # peft asks transformers for a name that it is about to rename.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            module = get_peft_model(network, _lora_config(training))
    return StagedModel(module.to(device), training)


def transformers_config(
    model: ModelSpec, *, num_classes: int, pad_token_id: int, dropout: float
) -> PretrainedConfig:
    """The ``config.json`` of a shape."""
    common: dict[str, Any] = {
        "vocab_size": model.vocab_size,
        "num_labels": num_classes,
        "pad_token_id": pad_token_id,
        "bos_token_id": None,
        "eos_token_id": None,
        "tie_word_embeddings": model.is_tied,
        "use_cache": False,
    }
    if model.family == "gpt2":
        own: dict[str, Any] = {
            "n_positions": model.max_positions,
            "n_embd": model.hidden_size,
            "n_layer": model.num_layers,
            "n_head": model.num_heads,
            "n_inner": model.intermediate_size,
            "activation_function": model.activation,
            "embd_pdrop": dropout,
            "resid_pdrop": dropout,
            "attn_pdrop": dropout,
        }
    else:
        own = {
            "max_position_embeddings": model.max_positions,
            "hidden_size": model.hidden_size,
            "num_hidden_layers": model.num_layers,
            "num_attention_heads": model.num_heads,
            "num_key_value_heads": model.num_kv_heads,
            "head_dim": model.head_size,
            "intermediate_size": model.intermediate_size,
            "hidden_act": model.activation,
        }
        if model.family in ("llama", "gemma", "qwen3"):
            own["attention_bias"] = model.has_attention_bias
        if model.family == "llama":
            own["mlp_bias"] = model.has_mlp_bias
        if model.family == "mistral":
            own["sliding_window"] = None
    return AutoConfig.for_model(model.family, **common, **own)


def _random(training: TrainingSpec, pad_token_id: int, attention: str) -> Any:
    config = transformers_config(
        training.model,
        num_classes=training.head.num_classes,
        pad_token_id=pad_token_id,
        dropout=training.model_dropout,
    )
    return _auto_class(training).from_config(config, attn_implementation=attention)


def _pretrained(training: TrainingSpec, pad_token_id: int, source: str, attention: str) -> Any:
    options: dict[str, Any] = {"attn_implementation": attention}
    if training.head.kind == "classification":
        options["num_labels"] = training.head.num_classes
    if training.model.family == "gpt2":
        for name in ("embd_pdrop", "resid_pdrop", "attn_pdrop"):
            options[name] = training.model_dropout
    try:
        network, report = _auto_class(training).from_pretrained(
            source,
            dtype=torch.float32,
            pad_token_id=pad_token_id,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        where = "folder" if Path(source).is_dir() else "name on the model hub"
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ScenarioError(
            f"weights 'pretrained': '{source}' ({where}) cannot be loaded: "
            f"{first_line.rstrip('.')}. Give a folder with config.json and model.safetensors "
            "(--weights-from FOLDER), or ask for random weights by name (--weights random)."
        ) from error
    _check_shape(network.config, training.model, source)
    _check_complete(report["missing_keys"], source)
    return network


def _check_shape(config: Any, model: ModelSpec, source: str) -> None:
    with TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        found = read_model_config(Path(folder))
    wrong = [
        f"{name} = {getattr(found, name)} where {getattr(model, name)} is expected"
        for name in _SHAPE
        if getattr(found, name) != getattr(model, name)
    ]
    if wrong:
        raise ScenarioError(
            f"weights 'pretrained': '{source}' has another shape than model '{model.name}': "
            f"{'; '.join(wrong)}. Name the model that the weights belong to (--model)."
        )


def _check_complete(missing: Iterable[str], source: str) -> None:
    # transformers fills what a checkpoint lacks with random values and goes on. Only a new
    # classification head may begin like that.
    names = sorted(name for name in missing if not name.startswith("score."))
    if names:
        raise ScenarioError(
            f"weights 'pretrained': '{source}' lacks {len(names)} of the model's weights, among "
            f"them {names[0]}. Give a complete checkpoint (--weights-from FOLDER), or ask for "
            "random weights by name (--weights random)."
        )


def _auto_class(training: TrainingSpec) -> Any:
    if training.head.kind == "classification":
        return AutoModelForSequenceClassification
    return AutoModelForCausalLM


def _lora_config(training: TrainingSpec) -> LoraConfig:
    lora, model = training.lora, training.model
    assert lora is not None
    is_classifier = training.head.kind == "classification"
    layers = None
    if lora.num_top_layers is not None:
        layers = list(range(model.num_layers - lora.num_top_layers, model.num_layers))
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        # Resolved names: peft's own "all-linear" would reach the head of some classes.
        target_modules=[linear.path for linear in lora.adapted(model)],
        layers_to_transform=layers,
        bias=lora.bias,
        use_rslora=lora.use_rslora,
        init_lora_weights="gaussian" if lora.init_lora_weights == "gaussian" else True,
        fan_in_fan_out=model.traits.has_fused_qkv,
        # SEQ_CLS makes peft train and save the head; any other type would leave it frozen random.
        task_type=TaskType.SEQ_CLS if is_classifier else TaskType.CAUSAL_LM,
    )
