"""Which keys of a ``config.json`` change nothing that fedsim counts, and which it refuses.

Decides what a key means that :mod:`fedsim.spec.model_config` does not read. Files from a hub carry
dozens of keys about text generation and training, so an unknown key is not refused as such; one
whose name speaks of sizes, layers, experts, attention or number formats is, for a model with other
layers than those that are counted would be priced as if it had none of them.

References
----------
``configuration_utils.py`` and ``models/*/configuration_*.py`` of transformers 5.24;
``utils/quantization_config.py`` there for quantized weights; ``config.json`` of Mixtral, Qwen-MoE,
DeepSeek, Jamba, Llama 3.2 Vision and peft's ``adapter_config.json`` for the names of what is
refused (read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from fedsim.spec.family import FamilyName

__all__ = ["refused_keys"]

_GPT2_KEYS: Final = frozenset(
    ["n_embd", "n_layer", "n_head", "n_inner", "n_positions", "n_ctx", "activation_function"]
)
_LLAMA_LIKE_KEYS: Final = frozenset(
    ["intermediate_size", "num_key_value_heads", "head_dim", "hidden_act", "hidden_activation"]
)
#: Read by `model_config`, or by the class that builds without them whatever the file says.
_READ_KEYS: Final = frozenset(
    [
        "model_type",
        "text_config",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
        "max_position_embeddings",
        "tie_word_embeddings",
        "attention_bias",
        "mlp_bias",
        "add_cross_attention",
    ]
)
#: Names that look like a shape's and are none: masks (whose products are computed whole), text
#: generation, what is printed, and how a computation is split or stored.
_HARMLESS_KEYS: Final = frozenset(
    [
        "sliding_window",
        "use_sliding_window",
        "max_window_layers",
        "use_bidirectional_attention",
        "chunk_size_feed_forward",
        "pretraining_tp",
        "reorder_and_upcast_attn",
        "scale_attn_weights",
        "scale_attn_by_inverse_layer_idx",
        "attn_implementation",
        "output_attentions",
        "output_hidden_states",
        "rms_norm_eps",
        "layer_norm_eps",
        "layer_norm_epsilon",
        "norm_epsilon",
        "num_labels",
        "num_beams",
        "num_beam_groups",
        "num_return_sequences",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "num_assistant_tokens",
        "use_flash_attn",
        "use_flash_attention",
        "is_decoder",
    ]
)
_HARMLESS: Final = re.compile(
    r"^_|dropout|_pdrop$|_token_id$|^rope_|^summary_|initializer|^gradient_checkpointing$"
)
#: Attention over some tokens only is computed as over all, with a mask.
_COUNTED_LAYER_TYPES: Final = frozenset({"full_attention", "sliding_attention"})

_QUANTIZED: Final = (
    "the weights are quantized, and fedsim counts none of the quantized formats; to price the "
    "unquantized model, leave this key out and set [model] weights_dtype"
)
_REASONS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"quanti|^load_in_\dbit$|^compression_config$|gptq|awq|bnb_", _QUANTIZED),
        (
            r"expert|(^|_)moe(_|$)|router|n_routed|first_k_dense|decoder_sparse_step",
            "a mixture of experts is not counted; only its dense layers would be, so this model "
            "has no price here",
        ),
        (
            r"cross_attention|is_encoder_decoder|^(encoder|decoder)(_|$)",
            "decoders of an encoder are not supported: cross-attention adds layers that no cost "
            "counts",
        ),
        (r"nextn|(^|_)mtp(_|$)", "layers that predict further tokens are not counted"),
        (
            r"mamba|(^|_)ssm(_|$)|(^|_)conv|linear_attn|linear_attention|recurrent|rwkv|xlstm",
            "layers that are no attention are not counted",
        ),
        (
            r"lora_rank|(qk|v)_\w*head_dim|(^|_)mla(_|$)|index_|sparse",
            "this kind of attention is not counted",
        ),
        (
            r"vision|audio|image|video|speech|^mm_|projector",
            "the parts of a model that read anything but text are not counted; give the language "
            "model's own file",
        ),
        (
            r"^peft_|adapter|^lora_|^r$|target_modules|^prompt_",
            "adapters belong in the scenario's [lora] table; give the base model's config.json",
        ),
        (r"pruned_heads", "pruned heads are not counted"),
    )
)
#: What an unknown key would be called that changes a count.
_SHAPE_LIKE: Final = re.compile(
    r"(^|_)(n|num)_|size|dim($|_)|rank|heads?($|_)|layers?($|_)|blocks?($|_)|width|depth|channels"
    r"|groups?($|_)|norm|bias|attn|attention|mlp|ffn|embed|latent|memory|softcap|bits?($|_)"
)


def refused_keys(table: Mapping[str, object], family: FamilyName) -> Iterator[str]:
    """What is wrong with the keys that say more of a model than a family's layers hold.

    Parameters
    ----------
    table : mapping
        A ``config.json``.
    family : str
        Its ``model_type``, one that is supported.

    Yields
    ------
    str
        ``key: reason.``, for each; a key that is switched off (null, false, 0, empty) is none.
    """
    yield from _other_classes(table, family)
    own = _GPT2_KEYS if family == "gpt2" else _LLAMA_LIKE_KEYS
    for key, value in table.items():
        if key in _READ_KEYS | own | _HARMLESS_KEYS or _is_off(value):
            continue
        if key in ("layer_types", "layers_block_type"):
            yield from _layer_types(key, value)
            continue
        reason = next((text for pattern, text in _REASONS if pattern.search(key)), None)
        if reason is not None:
            yield f"{key}: {reason}."
        elif _SHAPE_LIKE.search(key) and not _HARMLESS.search(key):
            yield (
                f"{key}: no key of a {family} model that fedsim knows, and its name is one that a "
                "count may depend on; leave it out if it changes neither layers nor parameters."
            )


def _is_off(value: object) -> bool:
    return value is None or value is False or value in (0, "", [], {})


def _layer_types(key: str, value: object) -> Iterator[str]:
    found = value if isinstance(value, list) else [value]
    others = sorted({str(each)[:40] for each in found} - _COUNTED_LAYER_TYPES)
    if others:
        counted = " and ".join(sorted(_COUNTED_LAYER_TYPES))
        yield f"{key}: {', '.join(others[:4])}: only layers of {counted} are counted."


def _other_classes(table: Mapping[str, object], family: FamilyName) -> Iterator[str]:
    """Classes that are built instead of the family's own."""
    auto_map = table.get("auto_map")
    if isinstance(auto_map, Mapping) and any(str(key).startswith("AutoModel") for key in auto_map):
        yield (
            "auto_map: the model is built by code of its own, which fedsim does not know; leave "
            f"this key out if that code builds what transformers' {family} classes build."
        )
    classes = table.get("architectures")
    own = re.compile(
        rf"(tf|flax)?{family}(lmheadmodel|doubleheadsmodel|model|pretrainedmodel|for\w+)"
    )
    for name in classes if isinstance(classes, list) else ():
        if not own.fullmatch(str(name).casefold()):
            yield (
                f"architectures: {str(name)[:60]!r} is no class of the {family} family, and only "
                "those are counted."
            )
