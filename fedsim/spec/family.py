"""How the blocks of a model family are built: its linear layers, norms and module names.

This table is what lets one cost model and one runtime serve GPT-2 and the Llama-like families. It
decides names and shapes; it knows nothing of FLOPs, bytes or torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["FAMILIES", "Family", "FamilyName", "Half"]

FamilyName = Literal["gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma"]
Half = Literal["attention", "mlp"]


@dataclass(frozen=True, slots=True)
class Family:
    """What is common to all models of one Hugging Face ``model_type``.

    Attributes
    ----------
    name : str
        ``model_type`` in ``config.json``.
    backbone, blocks, embedding, final_norm : str
        Module names: ``{backbone}.{blocks}.{i}``, ``{backbone}.{embedding}``.
    norms : tuple of str
        The block's norms, ahead of attention and ahead of the feed-forward part.
    norm_kind : {"layer", "rms", "gemma_rms"}
        LayerNorm has a bias; Gemma scales by ``1 + weight``, which makes one more tensor.
    has_fused_qkv : bool
        GPT-2 computes q, k and v by one matrix product.
    is_gated : bool
        Whether the feed-forward part is ``down(act(gate(x)) * up(x))``.
    has_positions : bool
        Learned position embeddings (GPT-2) rather than rotary ones.
    has_qkv_bias, has_linear_bias : bool
        Biases of the query, key and value layers, and of all linear layers of a block.
    has_qk_norm : bool
        Norms on the heads of q and k (Qwen3).
    """

    name: FamilyName
    backbone: str
    blocks: str
    embedding: str
    final_norm: str
    norms: tuple[str, str]
    norm_kind: Literal["layer", "rms", "gemma_rms"]
    attention: str
    has_fused_qkv: bool = False
    is_gated: bool = True
    has_positions: bool = False
    has_qkv_bias: bool = False
    has_linear_bias: bool = False
    has_qk_norm: bool = False


def _llama_like(
    name: FamilyName,
    *,
    norm_kind: Literal["rms", "gemma_rms"] = "rms",
    has_qkv_bias: bool = False,
    has_qk_norm: bool = False,
) -> Family:
    return Family(
        name=name,
        backbone="model",
        blocks="layers",
        embedding="embed_tokens",
        final_norm="norm",
        norms=("input_layernorm", "post_attention_layernorm"),
        norm_kind=norm_kind,
        attention="self_attn",
        has_qkv_bias=has_qkv_bias,
        has_qk_norm=has_qk_norm,
    )


FAMILIES: Final[dict[str, Family]] = {
    "gpt2": Family(
        name="gpt2",
        backbone="transformer",
        blocks="h",
        embedding="wte",
        final_norm="ln_f",
        norms=("ln_1", "ln_2"),
        norm_kind="layer",
        attention="attn",
        has_fused_qkv=True,
        is_gated=False,
        has_positions=True,
        has_qkv_bias=True,
        has_linear_bias=True,
    ),
    "llama": _llama_like("llama"),
    "mistral": _llama_like("mistral"),
    "qwen2": _llama_like("qwen2", has_qkv_bias=True),
    "qwen3": _llama_like("qwen3", has_qk_norm=True),
    "gemma": _llama_like("gemma", norm_kind="gemma_rms"),
}
