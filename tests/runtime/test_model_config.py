"""Configurations that transformers writes are read back as transformers means them."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

from fedsim.protocol.parameters import parameters
from fedsim.spec.family import FAMILIES
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import nearest_model
from fedsim.spec.model_config import read_model_config
from fedsim.spec.plan import TrainingSpec
from fedsim.spec.tuning import FullTuning

COMMON = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 48,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
LLAMA_LIKE = {"intermediate_size": 40, "num_key_value_heads": 2}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("gpt2", {}),
    ("gpt2", {"n_inner": 56, "activation_function": "gelu", "tie_word_embeddings": False}),
    ("llama", LLAMA_LIKE),
    ("llama", LLAMA_LIKE | {"attention_bias": True, "mlp_bias": True, "head_dim": 12}),
    ("llama", {"intermediate_size": 40}),
    ("mistral", LLAMA_LIKE | {"head_dim": 10, "tie_word_embeddings": True}),
    ("mistral", LLAMA_LIKE | {"sliding_window": None}),
    ("qwen2", LLAMA_LIKE),
    ("qwen2", LLAMA_LIKE | {"tie_word_embeddings": True}),
    ("qwen3", LLAMA_LIKE),
    ("qwen3", LLAMA_LIKE | {"head_dim": 12, "attention_bias": True}),
    ("gemma", LLAMA_LIKE),
    ("gemma", LLAMA_LIKE | {"head_dim": 12, "hidden_act": "gelu", "attention_bias": True}),
]


@pytest.mark.parametrize(("family", "own"), VARIANTS)
def test_a_written_configuration_reads_back_as_the_same_shape(
    tmp_path: Path, family: str, own: dict[str, Any]
) -> None:
    """Every size is the one that transformers reports after loading the same file."""
    AutoConfig.for_model(family, **COMMON, **own).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)

    spec = read_model_config(tmp_path)

    heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    inner = config.n_inner or 4 * config.n_embd if family == "gpt2" else config.intermediate_size
    activation = config.activation_function if family == "gpt2" else config.hidden_act
    assert spec.family == family
    assert spec.num_layers == config.num_hidden_layers
    assert spec.hidden_size == config.hidden_size
    assert spec.num_heads == heads
    assert spec.num_kv_heads == getattr(config, "num_key_value_heads", heads)
    assert spec.head_size == head_size
    assert spec.intermediate_size == inner
    assert spec.vocab_size == config.vocab_size
    assert spec.max_positions == config.max_position_embeddings
    assert spec.is_tied is config.tie_word_embeddings
    assert spec.activation == activation


@pytest.mark.parametrize(("family", "own"), VARIANTS)
def test_the_model_built_from_a_configuration_has_the_parameters_of_the_shape(
    tmp_path: Path, family: str, own: dict[str, Any]
) -> None:
    """Name by name and shape by shape: biases, tying and key-value heads included."""
    AutoConfig.for_model(family, **COMMON, **own).save_pretrained(tmp_path)
    network = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path))
    training = TrainingSpec(read_model_config(tmp_path), HeadSpec("language_model"), FullTuning())

    expected = {parameter.name: parameter.shape for parameter in parameters(training)}

    assert expected == {name: tuple(p.shape) for name, p in network.named_parameters()}


@pytest.mark.parametrize("family", FAMILIES)
def test_tying_has_transformers_default_where_the_file_does_not_say(
    tmp_path: Path, family: str
) -> None:
    """The files of several published models leave the key out."""
    own = {} if family == "gpt2" else LLAMA_LIKE
    AutoConfig.for_model(family, **COMMON, **own).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("tie_word_embeddings", None)
    path.write_text(json.dumps(content), encoding="utf-8")

    assert (
        read_model_config(path).is_tied is AutoConfig.from_pretrained(tmp_path).tie_word_embeddings
    )


def test_no_other_architecture_of_transformers_is_taken_for_one_of_the_catalogue() -> None:
    """'mixtral' is one letter from 'mistral'; 'gemma2' begins as 'gemma' does."""
    suggested = [name for name in CONFIG_MAPPING if nearest_model(name)]

    assert set(suggested) <= set(FAMILIES)
