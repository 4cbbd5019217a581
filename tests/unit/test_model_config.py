"""A config.json is read as transformers reads it, and its mistakes are named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.spec.family import FAMILIES
from fedsim.spec.model import ModelSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.model_config import read_model_config, resolve_model

GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
}
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "vocab_size": 128256,
    "hidden_act": "silu",
}


def _write(folder: Path, content: object, name: str = "config.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def _read(folder: Path, content: object) -> ModelSpec:
    return read_model_config(_write(folder, content))


def _mistakes(folder: Path, content: object) -> list[str]:
    """The message's lines, without the path that each begins with."""
    path = _write(folder, content)
    with pytest.raises(ScenarioError) as caught:
        read_model_config(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_gpt2s_own_key_names_give_gpt2s_shape(tmp_path: Path) -> None:
    """What the file leaves out (n_inner, tying, activation) is GPT-2's usual."""
    spec = _read(tmp_path, GPT2)

    assert spec == replace(model("gpt2"), name=tmp_path.name)


def test_llama_like_key_names_give_a_llamas_shape(tmp_path: Path) -> None:
    """Without head_dim a head is hidden_size / heads wide."""
    spec = _read(tmp_path, LLAMA | {"tie_word_embeddings": True})

    assert spec == replace(model("llama-3.2-1b"), name=tmp_path.name)


def test_a_folder_stands_for_its_config_json(tmp_path: Path) -> None:
    """The folder of a downloaded checkpoint is as good as the file in it."""
    path = _write(tmp_path, LLAMA)

    assert read_model_config(tmp_path) == read_model_config(path)


def test_a_file_of_another_name_names_the_model(tmp_path: Path) -> None:
    """``big.json`` is the model 'big'; every ``config.json`` would be called the same."""
    assert read_model_config(_write(tmp_path, LLAMA, "big.json")).name == "big"


@pytest.mark.parametrize("alias", [("n_embd", "hidden_size"), ("n_layer", "num_hidden_layers")])
def test_gpt2_takes_the_common_key_names_too(tmp_path: Path, alias: tuple[str, str]) -> None:
    """As in transformers, hidden_size is another name of n_embd."""
    own, common = alias
    renamed = {common if key == own else key: value for key, value in GPT2.items()}

    assert _read(tmp_path, renamed) == _read(tmp_path, GPT2)


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_are_tied_by_default_in_gpt2_and_gemma_only(tmp_path: Path, family: str) -> None:
    """The family decides where the file does not."""
    config = GPT2 if family == "gpt2" else LLAMA | {"model_type": family}

    assert _read(tmp_path, config).is_tied is (family in ("gpt2", "gemma"))


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_file_decides_about_tying_where_it_says_so(
    tmp_path: Path, family: str, is_tied: bool
) -> None:
    """tie_word_embeddings overrules the family's default."""
    config = GPT2 if family == "gpt2" else LLAMA | {"model_type": family}

    assert _read(tmp_path, config | {"tie_word_embeddings": is_tied}).is_tied is is_tied


@pytest.mark.parametrize(
    ("family", "attention", "mlp"),
    [
        ("llama", True, True),
        ("mistral", False, False),
        ("qwen2", False, False),
        ("qwen3", True, False),
        ("gemma", True, False),
    ],
)
def test_biases_are_read_where_the_familys_layers_can_have_them(
    tmp_path: Path, family: str, attention: bool, mlp: bool
) -> None:
    """Mistral and Qwen 2 build without these biases whatever the file says."""
    config = LLAMA | {"model_type": family, "attention_bias": True, "mlp_bias": True}

    spec = _read(tmp_path, config)

    assert (spec.has_attention_bias, spec.has_mlp_bias) == (attention, mlp)


@pytest.mark.parametrize("value", [None, "absent"])
def test_a_llama_without_key_value_heads_has_one_per_query_head(
    tmp_path: Path, value: str | None
) -> None:
    """As the first Llama's files, which knew no grouped queries."""
    config = LLAMA | {"num_key_value_heads": None}
    if value == "absent":
        del config["num_key_value_heads"]

    assert _read(tmp_path, config).num_kv_heads == 32


@pytest.mark.parametrize(("family", "width"), [("qwen2", 64), ("qwen3", 128), ("gemma", 256)])
def test_a_missing_head_width_is_the_familys(tmp_path: Path, family: str, width: int) -> None:
    """Qwen 3 and Gemma have fixed widths; elsewhere heads share hidden_size."""
    assert _read(tmp_path, LLAMA | {"model_type": family}).head_size == width


@pytest.mark.parametrize(
    "keys",
    [{"hidden_act": "gelu"}, {"hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh"}],
)
def test_gemmas_gelu_is_the_tanh_approximation(tmp_path: Path, keys: dict[str, str]) -> None:
    """The first Gemma files name one function and mean the other."""
    config = LLAMA | {"model_type": "gemma"} | keys

    assert _read(tmp_path, config).activation == "gelu_pytorch_tanh"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message says what to give instead."""
    with pytest.raises(ScenarioError, match=r"none\.json: no such file; give a model's config"):
        read_model_config(tmp_path / "none.json")


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    """The message names the file that was looked for."""
    with pytest.raises(ScenarioError, match=r"config\.json: no such file"):
        read_model_config(tmp_path)


def test_broken_json_is_reported_with_line_and_column(tmp_path: Path) -> None:
    """The place of the mistake is one to jump to."""
    assert _mistakes(tmp_path, '{\n  "n_embd": 768,,\n}') == [
        "line 2, column 17: not valid JSON: Expecting property name enclosed in double quotes."
    ]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Weights given for a configuration are not decoded."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ScenarioError, match="not UTF-8 text"):
        read_model_config(path)


@pytest.mark.parametrize("content", [[1, 2], "gpt2", 7, None])
def test_json_that_is_no_object_is_refused(tmp_path: Path, content: object) -> None:
    """A configuration is an object; the message shows what was found."""
    assert _mistakes(tmp_path, json.dumps(content)) == [
        f"a JSON object is needed ({{...}} with a 'model_type'), found {json.dumps(content)}."
    ]


def test_an_unsupported_model_type_is_named_with_what_is_supported(tmp_path: Path) -> None:
    """No other family is taken for it."""
    assert _mistakes(tmp_path, {"model_type": "gemma3"}) == [
        'model_type = "gemma3" is not supported; supported: '
        "gpt2, llama, mistral, qwen2, qwen3, gemma. Another model_type would price another model: "
        "take a supported model of about this size."
    ]


@pytest.mark.parametrize("value", [7, ["llama"], {}])
def test_a_model_type_that_is_no_name_is_refused(tmp_path: Path, value: object) -> None:
    """Whatever JSON holds there, it is shown."""
    [mistake] = _mistakes(tmp_path, {"model_type": value})

    assert mistake.startswith(f"model_type = {json.dumps(value)} is not supported")


def test_a_missing_model_type_is_named(tmp_path: Path) -> None:
    """Without it no other key means anything, so it is the only mistake reported."""
    assert _mistakes(tmp_path, {"hidden_size": 7}) == [
        "key 'model_type' is missing; supported: gpt2, llama, mistral, qwen2, qwen3, gemma."
    ]


def test_a_nested_language_model_that_is_not_supported_is_refused(tmp_path: Path) -> None:
    """Multimodal configurations hold their language model in text_config."""
    inner = LLAMA | {"model_type": "gemma3_text"}
    [mistake] = _mistakes(tmp_path, {"model_type": "gemma3", "text_config": inner})

    assert 'model_type = "gemma3_text" is not supported' in mistake


@pytest.mark.parametrize(
    "key", [key for key in LLAMA if key not in ("model_type", "num_key_value_heads", "hidden_act")]
)
def test_a_missing_size_is_an_error(tmp_path: Path, key: str) -> None:
    """Where transformers would take some published model's size, the key is asked for."""
    config = {name: value for name, value in LLAMA.items() if name != key}

    assert _mistakes(tmp_path, config) == [
        f"key '{key}' is missing; a model of type 'llama' needs it."
    ]


@pytest.mark.parametrize("family", ["mistral", "qwen2", "qwen3", "gemma"])
def test_later_families_must_say_their_number_of_key_value_heads(
    tmp_path: Path, family: str
) -> None:
    """Their classes default to a number that fits one published model."""
    config = LLAMA | {"model_type": family}
    del config["num_key_value_heads"]

    assert _mistakes(tmp_path, config) == [
        f"key 'num_key_value_heads' is missing; a model of type '{family}' needs it."
    ]


@pytest.mark.parametrize("value", [0, -1, 768.5, 768.0, "768", True, None, [768]])
def test_a_size_is_a_whole_number_from_one(tmp_path: Path, value: object) -> None:
    """Text, fractions, booleans and null are none."""
    assert _mistakes(tmp_path, GPT2 | {"vocab_size": value}) == [
        f"vocab_size = {json.dumps(value)}; allowed: a whole number, 1 or more."
    ]


def test_a_flag_is_true_or_false(tmp_path: Path) -> None:
    """The text "false" would be true."""
    assert _mistakes(tmp_path, LLAMA | {"tie_word_embeddings": "false"}) == [
        'tie_word_embeddings = "false"; allowed: true or false.'
    ]


def test_an_activation_is_a_name(tmp_path: Path) -> None:
    """The message shows what one looks like."""
    assert _mistakes(tmp_path, LLAMA | {"hidden_act": 3}) == [
        'hidden_act = 3; allowed: a name such as "silu".'
    ]


def test_heads_must_divide_the_width(tmp_path: Path) -> None:
    """Unless the file gives a head's width."""
    assert _mistakes(tmp_path, GPT2 | {"n_head": 11}) == [
        "the width 768 cannot be shared by 11 heads; the second must divide the first."
    ]
    assert _read(tmp_path, LLAMA | {"hidden_size": 2050, "head_dim": 64}).head_size == 64


def test_key_value_heads_must_divide_the_query_heads(tmp_path: Path) -> None:
    """Query heads share key-value heads evenly."""
    assert _mistakes(tmp_path, LLAMA | {"num_key_value_heads": 5}) == [
        "num_attention_heads = 32 cannot share num_key_value_heads = 5; the second must divide "
        "the first."
    ]


def test_cross_attention_is_not_supported(tmp_path: Path) -> None:
    """It would add layers that no cost counts."""
    [mistake] = _mistakes(tmp_path, GPT2 | {"add_cross_attention": True})

    assert mistake.startswith("add_cross_attention = true:")


def test_all_mistakes_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    """One line each, in one error."""
    config = LLAMA | {"hidden_size": "big", "vocab_size": 0, "mlp_bias": 1}
    del config["num_hidden_layers"]

    mistakes = _mistakes(tmp_path, config)

    assert [mistake.split(" ")[0] for mistake in mistakes] == [
        "hidden_size",
        "key",
        "vocab_size",
        "mlp_bias",
    ]


def test_a_long_value_is_cut_in_the_message(tmp_path: Path) -> None:
    """A vocabulary given for its size does not fill the screen."""
    [mistake] = _mistakes(tmp_path, GPT2 | {"vocab_size": list(range(1000))})

    assert len(mistake) < 120


def test_a_catalogue_name_is_resolved_ahead_of_a_folder(tmp_path: Path) -> None:
    """A folder called gpt2 takes nothing from the name; ./gpt2 means the folder."""
    (tmp_path / "gpt2").mkdir()
    _write(tmp_path / "gpt2", LLAMA)

    assert resolve_model("gpt2", tmp_path) == model("gpt2")
    assert resolve_model("./gpt2", tmp_path).family == "llama"


@pytest.mark.parametrize("written", ["mine", "mine/config.json", "./mine"])
def test_a_relative_path_starts_at_the_base_folder(tmp_path: Path, written: str) -> None:
    """A scenario file names a model beside itself, wherever it is run from."""
    (tmp_path / "mine").mkdir()
    _write(tmp_path / "mine", LLAMA)

    assert resolve_model(written, tmp_path).name == "mine"


def test_an_absolute_path_needs_no_base_folder(tmp_path: Path) -> None:
    """It is taken as it stands."""
    path = _write(tmp_path, LLAMA)

    assert resolve_model(str(path), None) == read_model_config(path)


@pytest.mark.parametrize("written", ["models/none", "none.json"])
def test_a_path_to_nothing_is_refused_as_a_path(tmp_path: Path, written: str) -> None:
    """The message says where it was looked for."""
    with pytest.raises(ScenarioError) as caught:
        resolve_model(written, tmp_path)

    assert f"there is no file or folder {tmp_path / written};" in str(caught.value)


def test_a_hubs_name_leads_to_the_catalogues(tmp_path: Path) -> None:
    """It looks like a path, and nearly never is one."""
    with pytest.raises(ScenarioError, match=r"Did you mean 'llama-3\.2-1b'\?$"):
        resolve_model("meta-llama/Llama-3.2-1B", tmp_path)


@pytest.mark.parametrize("written", ["gpt3", "x" * 300])
def test_what_is_neither_name_nor_path_is_refused_as_a_name(tmp_path: Path, written: str) -> None:
    """Even where the file system could not hold such a name."""
    with pytest.raises(ScenarioError, match="is not in the catalogue"):
        resolve_model(written, tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("quantization_config", {"quant_method": "bitsandbytes", "load_in_4bit": True}, "quanti"),
        ("compression_config", {"format": "pack-quantized"}, "quanti"),
        ("num_local_experts", 8, "mixture of experts"),
        ("num_experts", 60, "mixture of experts"),
        ("n_routed_experts", 64, "mixture of experts"),
        ("moe_intermediate_size", 1408, "mixture of experts"),
        ("moe_layer_freq", 1, "mixture of experts"),
        ("num_nextn_predict_layers", 1, "further tokens"),
        ("mtp_num_hidden_layers", 1, "further tokens"),
        ("layer_types", ["full_attention", "linear_attention"], "linear_attention"),
        ("layers_block_type", ["mamba", "attention"], "mamba"),
        ("mamba_d_state", 16, "no attention"),
        ("conv_L_cache", 3, "no attention"),
        ("cross_attention_layers", [3, 8], "cross-attention"),
        ("is_encoder_decoder", True, "cross-attention"),
        ("kv_lora_rank", 512, "kind of attention"),
        ("vision_config", {"hidden_size": 8}, "anything but text"),
        ("pruned_heads", {"0": [1]}, "pruned heads"),
        ("peft_type", "LORA", "[lora] table"),
        ("auto_map", {"AutoModelForCausalLM": "modeling_x.X"}, "code of its own"),
        ("architectures", ["MixtralForCausalLM"], "no class of the llama family"),
        ("num_memory_blocks", 4, "no key of a llama model"),
        ("n_embd", 64, "no key of a llama model"),
        ("per_layer_embedding_size", 64, "no key of a llama model"),
        ("use_qk_norm", True, "no key of a llama model"),
    ],
)
def test_what_is_not_counted_is_never_priced_as_if_it_were_not_there(
    tmp_path: Path, key: str, value: object, part: str
) -> None:
    """Quantized weights as float32, experts as a dense model: a wrong price is worse than none."""
    [mistake] = _mistakes(tmp_path, LLAMA | {key: value})

    assert mistake.startswith(f"{key}: ")
    assert part in mistake


@pytest.mark.parametrize("value", [None, False, 0, {}, []])
def test_a_part_that_is_switched_off_is_not_there(tmp_path: Path, value: object) -> None:
    """Files name features that they do not use."""
    assert _read(tmp_path, LLAMA | {"num_experts": value}) == _read(tmp_path, LLAMA)


#: What the files of published dense models hold besides their sizes.
USUAL: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": [128001],
    "head_dim": 64,
    "initializer_range": 0.02,
    "layer_types": ["full_attention", "sliding_attention"],
    "max_window_layers": 21,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 32.0, "rope_type": "llama3"},
    "rope_theta": 500000.0,
    "sliding_window": 4096,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.45.0",
    "use_cache": True,
    "use_sliding_window": True,
    "_name_or_path": "x",
    "_attn_implementation_autoset": True,
    "gradient_checkpointing": False,
    "unsloth_fixed": True,
    "task_specific_params": {"text-generation": {"max_length": 50}},
}


def test_what_changes_no_count_is_not_refused(tmp_path: Path) -> None:
    """Text generation, rotation, masks, dropout, who wrote the file."""
    assert _read(tmp_path, LLAMA | USUAL) == _read(tmp_path, LLAMA)


@pytest.mark.parametrize(
    "model_type",
    ["mixtral", "gemma2", "gemma3", "gemma3_text", "qwen2_moe", "qwen3_vl_text", "mllama"],
)
def test_a_suggestion_never_leads_to_another_architecture(tmp_path: Path, model_type: str) -> None:
    """One letter between 'mixtral' and 'mistral', and another model behind it."""
    [mistake] = _mistakes(tmp_path, LLAMA | {"model_type": model_type})

    assert "Did you mean" not in mistake
    assert "take a supported model of about this size" in mistake


@pytest.mark.parametrize(("model_type", "meant"), [("GPT-2", "gpt2"), ("LLaMA", "llama")])
def test_another_spelling_of_a_supported_type_is_suggested(
    tmp_path: Path, model_type: str, meant: str
) -> None:
    """Case and hyphens are no architecture."""
    [mistake] = _mistakes(tmp_path, {"model_type": model_type})

    assert mistake.endswith(f"Did you mean {meant!r}?")


@pytest.mark.parametrize(
    "written",
    [
        "mistralai/Mixtral-8x7B-v0.1",
        "google/gemma-2-2b",
        "gemma3-270m",
        "Qwen/Qwen3-30B-A3B",
        "meta-llama/Llama-3.2-11B-Vision",
        "llama-3.2-1b-4bit",
        "biogpt",
    ],
)
def test_a_suggested_name_is_of_the_same_architecture(tmp_path: Path, written: str) -> None:
    """A name of the catalogue stands for dense layers that are not those of this model."""
    with pytest.raises(ScenarioError) as caught:
        resolve_model(written, tmp_path)

    assert "Did you mean" not in str(caught.value)


def test_a_nested_language_model_of_a_supported_type_is_read(tmp_path: Path) -> None:
    """Its shape is the inner model's, and its name says which part it is."""
    outer = {"model_type": "llava", "text_config": LLAMA, "vision_config": {"hidden_size": 8}}

    spec = _read(tmp_path, outer | {"tie_word_embeddings": True})

    assert spec == replace(model("llama-3.2-1b"), name=f"{tmp_path.name} (text_config)")


def test_two_answers_about_tying_in_one_file_are_a_mistake(tmp_path: Path) -> None:
    """Which of them a class takes depends on the class."""
    inner = LLAMA | {"tie_word_embeddings": False}

    [mistake] = _mistakes(
        tmp_path, {"model_type": "llava", "text_config": inner, "tie_word_embeddings": True}
    )

    assert mistake == "tie_word_embeddings = true, and false in text_config; make them one."


def test_quantization_beside_a_nested_language_model_is_refused(tmp_path: Path) -> None:
    """It quantizes the inner model."""
    [mistake] = _mistakes(
        tmp_path,
        {"model_type": "llava", "text_config": LLAMA, "quantization_config": {"bits": 4}},
    )

    assert mistake.startswith("quantization_config: the weights are quantized")
