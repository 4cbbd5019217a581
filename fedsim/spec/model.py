"""Shapes of the models: every size that a cost depends on, and no weights.

A shape comes from the built-in catalogue, from a Hugging Face ``config.json``, or from numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from fedsim.errors import ScenarioError, nearest
from fedsim.spec.family import FAMILIES, Family, FamilyName, Half

__all__ = ["HeadSpec", "LinearSpec", "ModelSpec"]

#: Far above any model; a mistyped size must not keep a command busy for hours.
_LARGEST: Final = {
    "num_layers": 10_000,
    "hidden_size": 10_000_000,
    "num_heads": 100_000,
    "num_kv_heads": 100_000,
    "head_size": 100_000,
    "intermediate_size": 100_000_000,
    "vocab_size": 100_000_000,
    "max_positions": 1_000_000_000,
}


@dataclass(frozen=True, slots=True)
class LinearSpec:
    """One linear layer of a block.

    Attributes
    ----------
    path : str
        Name within the block, as in the checkpoint: ``attn.c_attn``, ``self_attn.q_proj``.
    half : {"attention", "mlp"}
        The half of the block that it belongs to.
    num_inputs, num_outputs : int
        Width of what goes in and comes out.
    has_bias : bool
        Whether a bias of ``num_outputs`` values is added.
    is_transposed : bool
        GPT-2's ``Conv1D`` stores ``(in, out)`` where ``nn.Linear`` stores ``(out, in)``.
    """

    path: str
    half: Half
    num_inputs: int
    num_outputs: int
    has_bias: bool
    is_transposed: bool

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Shape of the stored weight."""
        if self.is_transposed:
            return (self.num_inputs, self.num_outputs)
        return (self.num_outputs, self.num_inputs)


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """What the model predicts.

    Attributes
    ----------
    kind : {"classification", "language_model"}
        A label a sample from the last real token, or the next token at every position.
    num_classes : int
        C, the number of labels; not used by a language-model head, whose width is V.
    """

    kind: Literal["classification", "language_model"] = "classification"
    num_classes: int = 77

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ScenarioError(
                f"num_classes = {self.num_classes}: a classification needs at least 2 classes."
            )

    def width(self, vocab_size: int) -> int:
        """Values that the head gives for one position."""
        return self.num_classes if self.kind == "classification" else vocab_size


@dataclass(frozen=True)
class ModelSpec:
    """Shape of a decoder-only transformer.

    Attributes
    ----------
    name : str
        For reports.
    family : str
        Key of :data:`fedsim.spec.family.FAMILIES`.
    num_layers : int
        L, the number of blocks.
    hidden_size : int
        d, the width of the residual stream.
    num_heads, num_kv_heads, head_size : int
        h query heads, g key-value heads (g < h: grouped-query attention), width of one.
    intermediate_size : int
        f, the inner width of the feed-forward part.
    vocab_size, max_positions : int
        V, and the longest sequence.
    is_tied : bool
        Whether the language-model head shares the token embedding's weights.
    activation : str
        As in ``config.json``. GPT-2's ``gelu_new`` saves four tensors where a fused one saves one.
    has_attention_bias, has_mlp_bias : bool
        Llama-like models may add biases by configuration.
    """

    name: str
    family: FamilyName
    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    intermediate_size: int
    vocab_size: int
    max_positions: int
    is_tied: bool
    activation: str
    has_attention_bias: bool = False
    has_mlp_bias: bool = False

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ScenarioError(
                f"model family '{self.family}' is not supported; allowed: "
                f"{', '.join(FAMILIES)}.{nearest(self.family, FAMILIES)}"
            )
        for field in (
            "num_layers",
            "hidden_size",
            "num_heads",
            "num_kv_heads",
            "head_size",
            "intermediate_size",
            "vocab_size",
            "max_positions",
        ):
            if getattr(self, field) < 1:
                raise ScenarioError(
                    f"model '{self.name}': {field} = {getattr(self, field)}; at least 1 is needed."
                )
            if getattr(self, field) > _LARGEST[field]:
                raise ScenarioError(
                    f"model '{self.name}': {field} = {getattr(self, field):,}; allowed: up to "
                    f"{_LARGEST[field]:,}."
                )
        self._check_gpt2_heads()
        if self.num_heads % self.num_kv_heads:
            raise ScenarioError(
                f"model '{self.name}': {self.num_heads} query heads cannot share "
                f"{self.num_kv_heads} key-value heads; the second must divide the first."
            )

    def _check_gpt2_heads(self) -> None:
        if self.family != "gpt2":
            return
        if self.num_kv_heads != self.num_heads or (
            self.num_heads * self.head_size != self.hidden_size
        ):
            raise ScenarioError(
                f"model '{self.name}': a gpt2 model splits its hidden_size = {self.hidden_size} "
                f"evenly over its heads and shares none; {self.num_heads} heads of "
                f"{self.head_size} with {self.num_kv_heads} key-value heads do not fit."
            )

    @cached_property
    def traits(self) -> Family:
        """What the model's family has in common."""
        return FAMILIES[self.family]

    @cached_property
    def linears(self) -> tuple[LinearSpec, ...]:
        """Linear layers of one block, in the order in which they run."""
        if self.traits.has_fused_qkv:
            return self._gpt2_linears()
        return self._llama_linears()

    def _gpt2_linears(self) -> tuple[LinearSpec, ...]:
        d, f = self.hidden_size, self.intermediate_size
        rows: tuple[tuple[str, Half, int, int], ...] = (
            ("attn.c_attn", "attention", d, 3 * d),
            ("attn.c_proj", "attention", d, d),
            ("mlp.c_fc", "mlp", d, f),
            ("mlp.c_proj", "mlp", f, d),
        )
        return tuple(LinearSpec(*row, has_bias=True, is_transposed=True) for row in rows)

    def _llama_linears(self) -> tuple[LinearSpec, ...]:
        d, f = self.hidden_size, self.intermediate_size
        queries, keys = self.num_heads * self.head_size, self.num_kv_heads * self.head_size
        qkv_bias = self.traits.has_qkv_bias or self.has_attention_bias
        rows: tuple[tuple[str, Half, int, int, bool], ...] = (
            ("self_attn.q_proj", "attention", d, queries, qkv_bias),
            ("self_attn.k_proj", "attention", d, keys, qkv_bias),
            ("self_attn.v_proj", "attention", d, keys, qkv_bias),
            ("self_attn.o_proj", "attention", queries, d, self.has_attention_bias),
            ("mlp.gate_proj", "mlp", d, f, self.has_mlp_bias),
            ("mlp.up_proj", "mlp", d, f, self.has_mlp_bias),
            ("mlp.down_proj", "mlp", f, d, self.has_mlp_bias),
        )
        return tuple(LinearSpec(*row[:4], has_bias=row[4], is_transposed=False) for row in rows)
