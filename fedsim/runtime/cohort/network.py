"""The shared, frozen network on a packed stream: norms, products and attention of every family.

The weights are the staged model's own. What is ours is that no token is padding, that each client's
rows meet its own adapters, and that nothing is computed that cannot reach the result: the last
block's feed-forward part and the head of a classification run on last tokens only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from fedsim.errors import ScenarioError
from fedsim.runtime.cohort.adapted_linear import ClientRows, adapted_product, head_product
from fedsim.runtime.cohort.adapter_bank import AdapterBank
from fedsim.runtime.cohort.attention import packed_attention
from fedsim.runtime.cohort.frozen_linear import FrozenLinear
from fedsim.runtime.cohort.packing import PackedBatch
from fedsim.runtime.keyed_dropout import (
    dropout_threshold,
    keep_mask,
    kept_scale,
    layer_key,
    token_keys,
)
from fedsim.runtime.staged_model import StagedModel
from fedsim.spec.tuning import LoraTuning

__all__ = ["CohortNetwork", "MaskKeys", "Stream", "client_rows", "mask_keys"]

#: One function under two names; torch's own saves one tensor where transformers' saves four.
_TANH_GELU: Final = ("gelu_new", "gelu_pytorch_tanh")


@dataclass(frozen=True)
class MaskKeys:
    """What LoRA dropout masks are made of.

    Attributes
    ----------
    keys : Tensor
        ``(N,)`` of :func:`fedsim.runtime.keyed_dropout.token_keys`.
    thresholds : Tensor
        ``(N, 1)`` int16, each token's client's.
    """

    keys: Tensor
    thresholds: Tensor


def client_rows(packed: PackedBatch, bank: AdapterBank, *, is_training: bool) -> ClientRows:
    """Whose tokens are where, and by how much each client's adapters count."""
    scalings = [
        tuning.scaling * (kept_scale(tuning.dropout) if is_training else 1.0)
        for tuning in bank.tunings
    ]
    return ClientRows(packed.tokens, bank.ranks, scalings)


def mask_keys(
    packed: PackedBatch, tunings: Sequence[LoraTuning], keys: Mapping[int, int]
) -> MaskKeys | None:
    """What the masks of some clients' batches are made of; None where none of them drops.

    Parameters
    ----------
    packed : PackedBatch
    tunings : sequence of LoraTuning
        By slot.
    keys : mapping of int to int
        By slot, what names the client's batch.
    """
    own = [tunings[slot] for slot in packed.slots]
    if not any(tuning.dropout for tuning in own):
        return None
    counts = torch.tensor([span.stop - span.start for span in packed.tokens])
    words = torch.tensor([keys[slot] for slot in packed.slots], dtype=torch.uint64)
    thresholds = torch.tensor([[dropout_threshold(tuning.dropout)] for tuning in own])
    device = packed.token_ids.device
    by_token = torch.repeat_interleave(words.view(torch.int64), counts).to(device)
    lowest = torch.repeat_interleave(thresholds.to(torch.int16), counts, dim=0).to(device)
    return MaskKeys(token_keys(by_token, packed.rows, packed.positions), lowest)


@dataclass(frozen=True)
class Stream:
    """A packed batch on its way through the network.

    Attributes
    ----------
    hidden : Tensor
        ``(N, d)``; ``(S, d)`` once only last tokens are left.
    batch : PackedBatch
    rows : ClientRows
        Whose rows they are.
    masks : MaskKeys or None
        None in evaluation and without dropout.
    is_pooled : bool
        Whether only last tokens are left.
    """

    hidden: Tensor
    batch: PackedBatch
    rows: ClientRows
    masks: MaskKeys | None
    is_pooled: bool = False

    def pooled(self, hidden: Tensor) -> Stream:
        """The stream of last tokens, with their hidden states."""
        last, masks = self.batch.last, self.masks
        if masks is not None:
            masks = MaskKeys(masks.keys[last], masks.thresholds[last])
        rows = replace(self.rows, spans=self.batch.samples)
        return Stream(hidden, self.batch, rows, masks, is_pooled=True)


class CohortNetwork:
    """A staged model's frozen weights, ready for streams of many clients.

    Parameters
    ----------
    model : StagedModel
        Tuned by LoRA; its own adapters are not used here.

    Raises
    ------
    ScenarioError
        If something is trained or drawn that only one client at a time can have.
    """

    def __init__(self, model: StagedModel) -> None:
        _check(model)
        self.model = model
        self.spec = model.training.model
        self.is_classifier = model.training.head.kind == "classification"
        self.linears: dict[tuple[int, str], FrozenLinear] = {}
        for index, block in enumerate(model.blocks):
            for linear in self.spec.linears:
                module: Any = block.get_submodule(linear.path)
                base: Any = getattr(module, "base_layer", module)
                self.linears[index, linear.path] = FrozenLinear(
                    base.weight, base.bias, is_transposed=linear.is_transposed
                )
        self.lm_head = None
        if not self.is_classifier:
            self.lm_head = FrozenLinear(model.head.weight, None, is_transposed=False)

    def embed(self, batch: PackedBatch) -> Tensor:
        """``(N, d)``: token embeddings, and positions where the family has them."""
        backbone = self.model.backbone
        if not self.spec.traits.has_positions:
            hidden: Tensor = backbone.embed_tokens(batch.token_ids)
        else:
            hidden = backbone.wte(batch.token_ids) + backbone.wpe(batch.positions)
        return hidden.detach()

    def run(
        self, stream: Stream, bank: AdapterBank, *, start: int = 0, stop: int | None = None
    ) -> Stream:
        """Run half-blocks ``start`` to ``stop``, counted as :class:`fedsim.protocol.Part` does."""
        stop = 2 * self.spec.num_layers if stop is None else stop
        rotary = None
        if not self.spec.traits.has_positions:
            rotary = self._rotary(stream)
        last = 2 * self.spec.num_layers - 1
        for position in range(start, stop):
            if position % 2:
                if position == last and self.is_classifier and not stream.is_pooled:
                    stream = stream.pooled(stream.hidden[stream.batch.last])
                stream = self._mlp_half(position // 2, stream, bank)
            else:
                # A cut behind the last attention sends every token, as it does for one client.
                is_pooling = self.is_classifier and position == last - 1 and stop > last
                stream = self._attention_half(position // 2, stream, bank, rotary, is_pooling)
        return stream

    def logits(self, stream: Stream, bank: AdapterBank, wanted: Tensor | None = None) -> Tensor:
        """Last norm and head: ``(S, C)`` of last tokens, or ``(N, V)`` of all or wanted tokens."""
        hidden = stream.hidden if wanted is None else stream.hidden[wanted]
        hidden = self.model.final_norm(hidden)
        if self.lm_head is not None:
            return self.lm_head(hidden)
        assert bank.head is not None
        assert bank.head_gradient is not None
        return head_product(hidden, bank.head, bank.head_gradient, stream.batch.samples)

    # --- private -----------------------------------------------------------------------------

    def _attention_half(
        self,
        index: int,
        stream: Stream,
        bank: AdapterBank,
        rotary: tuple[Tensor, Tensor] | None,
        is_pooling: bool,
    ) -> Stream:
        block = self.model.blocks[index]
        traits = self.spec.traits
        attention = getattr(block, traits.attention)
        normed = getattr(block, traits.norms[0])(stream.hidden)
        if traits.has_fused_qkv:
            qkv = self._linear(index, f"{traits.attention}.c_attn", normed, stream, bank)
            path = f"{traits.attention}.c_proj"
        else:
            qkv = self._rotated_qkv(index, attention, normed, stream, bank, rotary)
            path = f"{traits.attention}.o_proj"
        output = packed_attention(
            qkv,
            stream.batch.plan,
            num_heads=self.spec.num_heads,
            num_kv_heads=self.spec.num_kv_heads,
            scaling=attention.scaling,
        )
        if is_pooling:
            last = stream.batch.last
            output, stream = output[last], stream.pooled(stream.hidden[last])
        hidden = self._linear(index, path, output, stream, bank, stream.hidden)
        return replace(stream, hidden=hidden)

    def _mlp_half(self, index: int, stream: Stream, bank: AdapterBank) -> Stream:
        block = self.model.blocks[index]
        normed = getattr(block, self.spec.traits.norms[1])(stream.hidden)
        if self.spec.traits.is_gated:
            gate = self._linear(index, "mlp.gate_proj", normed, stream, bank)
            inner = block.mlp.act_fn(gate) * self._linear(
                index, "mlp.up_proj", normed, stream, bank
            )
            path = "mlp.down_proj"
        else:
            inner = self._linear(index, "mlp.c_fc", normed, stream, bank)
            if self.spec.activation in _TANH_GELU:
                inner = functional.gelu(inner, approximate="tanh")
            else:
                inner = block.mlp.act(inner)
            path = "mlp.c_proj"
        hidden = self._linear(index, path, inner, stream, bank, stream.hidden)
        return replace(stream, hidden=hidden)

    def _linear(
        self,
        index: int,
        path: str,
        inputs: Tensor,
        stream: Stream,
        bank: AdapterBank,
        residual: Tensor | None = None,
    ) -> Tensor:
        linear = self.linears[index, path]
        factors = bank.factors.get((index, path))
        if factors is None:
            return linear(inputs, residual)
        mask = None
        if stream.masks is not None:
            key = layer_key(index, path)
            mask = keep_mask(stream.masks.keys, key, stream.masks.thresholds, linear.num_inputs)
        return adapted_product(inputs, linear, factors, stream.rows, mask, residual)

    def _rotary(self, stream: Stream) -> tuple[Tensor, Tensor]:
        cosine, sine = self.model.backbone.rotary_emb(
            stream.hidden, stream.batch.positions.unsqueeze(0)
        )
        return cosine[0].unsqueeze(1), sine[0].unsqueeze(1)

    def _rotated_qkv(
        self,
        index: int,
        attention: Any,
        normed: Tensor,
        stream: Stream,
        bank: AdapterBank,
        rotary: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        assert rotary is not None
        name = self.spec.traits.attention
        found = []
        for letter in "qkv":
            part = self._linear(index, f"{name}.{letter}_proj", normed, stream, bank)
            part = part.view(len(part), -1, self.spec.head_size)
            if letter != "v":
                if self.spec.traits.has_qk_norm:
                    part = getattr(attention, f"{letter}_norm")(part)
                part = _rotated(part, *rotary)
            found.append(part.flatten(1))
        return torch.cat(found, 1)


def _rotated(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021, arXiv 2104.09864) in transformers' order of halves."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cosine + torch.cat((-second, first), dim=-1) * sine


def _check(model: StagedModel) -> None:
    """Refuse what needs one client at a time, all at once."""
    training, wrong = model.training, []
    lora = training.lora
    if lora is None:
        wrong.append("full fine-tuning (clients share the frozen weights)")
    elif lora.bias != "none":
        wrong.append(f"lora.bias = '{lora.bias}' (allowed: 'none')")
    if training.model_dropout > 0:
        wrong.append(f"model_dropout = {training.model_dropout} (allowed: 0)")
    numerics = training.numerics
    for name in ("weights_dtype", "compute_dtype"):
        if getattr(numerics, name) != "float32":
            wrong.append(f"{name} = '{getattr(numerics, name)}' (allowed: 'float32')")
    if numerics.is_checkpointed:
        wrong.append("is_checkpointed = true (allowed: false)")
    if wrong:
        raise ScenarioError(
            f"cohort mode does not train with {'; '.join(wrong)}. Change that, or train one client "
            "after the other (sequential mode)."
        )
