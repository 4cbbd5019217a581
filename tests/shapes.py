"""Sizes of the tests' models: three blocks, and no two sizes equal by accident.

A formula that takes one size for another then gives a wrong count. Nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from fedsim.spec.family import FAMILIES
from fedsim.spec.model import ModelSpec

__all__ = [
    "MAX_TOKENS",
    "NUM_CLASSES",
    "NUM_LAYERS",
    "VOCAB_SIZE",
    "attention_input",
    "tiny_shape",
]

NUM_LAYERS: Final = 3
NUM_CLASSES: Final = 5
MAX_TOKENS: Final = 9
VOCAB_SIZE: Final = 23


def tiny_shape(family: str = "gpt2", **changes: Any) -> ModelSpec:
    """A model of a family, with grouped queries and a head size of its own where it can have them.

    ``changes`` replace fields of the shape.
    """
    is_gpt2 = FAMILIES[family].has_fused_qkv
    # Only these read a head size from their configuration; the others divide.
    has_head_size = family in ("llama", "mistral", "qwen3", "gemma")
    shape = ModelSpec(
        name=f"tiny-{family}",
        family=family,  # type: ignore[arg-type]
        num_layers=NUM_LAYERS,
        hidden_size=16,
        num_heads=4,
        num_kv_heads=4 if is_gpt2 else 2,
        head_size=6 if has_head_size else 4,
        intermediate_size=28,
        vocab_size=VOCAB_SIZE,
        max_positions=12,
        is_tied=family in ("gpt2", "gemma"),
        activation="gelu_new" if is_gpt2 else "silu",
    )
    return replace(shape, **changes)


def attention_input(model: ModelSpec) -> tuple[str, ...]:
    """The layers that are adapted by custom: q, k and v of GPT-2, q and v elsewhere."""
    return ("attn.c_attn",) if model.traits.has_fused_qkv else ("q_proj", "v_proj")
