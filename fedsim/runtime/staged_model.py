"""A transformers model with peft adapters that can be run in stages, and so be cut anywhere.

The modules are those of transformers and peft; what is ours is only the order in which they are
called. Tests hold the stages against the libraries' own ``forward``, bit by bit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fedsim.protocol.operation import Part
from fedsim.spec.plan import TrainingSpec

__all__ = ["StagedModel"]


class StagedModel:
    """A model whose half-blocks can be run one after the other.

    Parameters
    ----------
    module : nn.Module
        A ``...ForSequenceClassification`` or ``...ForCausalLM``, wrapped by peft or bare.
    training : TrainingSpec
        Which model and tuning it is.
    """

    def __init__(self, module: nn.Module, training: TrainingSpec) -> None:
        self.module = module
        self.training = training
        self._trained: dict[Part, dict[str, nn.Parameter]] = {}
        self.is_peft = training.lora is not None
        wrapper: Any = module
        network: Any = wrapper.base_model.model if self.is_peft else wrapper
        traits = training.model.traits
        self.network = network
        # Fused attention is causal by itself, and only without a mask takes its fastest kernel.
        self.is_fused = network.config._attn_implementation == "sdpa"
        self.backbone: Any = getattr(network, traits.backbone)
        self.blocks: Any = getattr(self.backbone, traits.blocks)
        self.final_norm: Any = getattr(self.backbone, traits.final_norm)
        is_classifier = training.head.kind == "classification"
        self.head: Any = network.score if is_classifier else network.lm_head

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    def clone(self) -> StagedModel:
        """A copy with trained parameters of its own; frozen weights and buffers are shared."""
        shared: list[Any] = [p for p in self.module.parameters() if not p.requires_grad]
        shared.extend(self.module.buffers())
        memo = {id(tensor): tensor for tensor in shared}
        return StagedModel(copy.deepcopy(self.module, memo), self.training)

    def train(self, is_training: bool = True) -> None:
        """Set every module's mode: peft leaves a mixture behind otherwise."""
        self.module.train(is_training)

    # --- running -----------------------------------------------------------------------------

    def embed(self, token_ids: Tensor) -> Tensor:
        """Token ids ``(B, T)`` to the residual stream ``(B, T, d)``."""
        hidden: Tensor
        if not self.training.model.traits.has_positions:
            hidden = self.backbone.embed_tokens(token_ids)
        else:
            positions = torch.arange(token_ids.shape[1], device=token_ids.device).unsqueeze(0)
            hidden = self.backbone.wte(token_ids) + self.backbone.wpe(positions)
            hidden = self.backbone.drop(hidden)
        if self._checkpoints and not hidden.requires_grad and self.training.lora is not None:
            # What transformers does for adapters with checkpointing (enable_input_require_grads).
            hidden.requires_grad_(True)
        return hidden

    def run(self, hidden: Tensor, part: Part) -> Tensor:
        """Run the half-blocks of ``part`` on ``(B, T, d)``."""
        context = self._context(hidden)
        position = part.start
        while position < part.stop:
            is_whole = position % 2 == 0 and position + 1 < part.stop
            block = self.blocks[position // 2]
            if is_whole:
                stage = partial(self._block, block, context)
            elif position % 2 == 0:
                stage = partial(self._attention_half, block, context)
            else:
                stage = partial(self._mlp_half, block)
            hidden = self._call(stage, hidden)
            position += 2 if is_whole else 1
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Last norm and head at every position: ``(B, T, C)`` or ``(B, T, V)``."""
        result: Tensor = self.head(self.final_norm(hidden))
        return result

    def _call(self, function: Callable[[Tensor], Tensor], hidden: Tensor) -> Tensor:
        if not self._checkpoints:
            return function(hidden)
        result: Tensor = checkpoint(function, hidden, use_reentrant=False)
        return result

    @property
    def _checkpoints(self) -> bool:
        return (
            self.training.numerics.is_checkpointed
            and self.module.training
            and torch.is_grad_enabled()
        )

    def _context(self, hidden: Tensor) -> dict[str, Any]:
        length = hidden.shape[1]
        lowest = torch.finfo(hidden.dtype).min
        # Right padding and a causal mask: what stands behind a sample's last token reaches nothing
        # that is used, so no padding mask is needed.
        context: dict[str, Any] = {"attention_mask": None}
        if not self.is_fused:
            mask = torch.full((length, length), lowest, dtype=hidden.dtype, device=hidden.device)
            context["attention_mask"] = mask.triu(1)[None, None]
        if not self.training.model.traits.has_positions:
            positions = torch.arange(length, device=hidden.device).unsqueeze(0)
            context["position_embeddings"] = self.backbone.rotary_emb(hidden, positions)
            context["position_ids"] = positions
        return context

    @staticmethod
    def _block(block: Any, context: dict[str, Any], hidden: Tensor) -> Tensor:
        result: Tensor = block(hidden, **context)
        return result

    def _attention_half(self, block: Any, context: dict[str, Any], hidden: Tensor) -> Tensor:
        traits = self.training.model.traits
        normed = getattr(block, traits.norms[0])(hidden)
        attention = getattr(block, traits.attention)
        output: Tensor = attention(hidden_states=normed, **context)[0]
        return hidden + output

    def _mlp_half(self, block: Any, hidden: Tensor) -> Tensor:
        normed = getattr(block, self.training.model.traits.norms[1])(hidden)
        output: Tensor = block.mlp(normed)
        return hidden + output

    # --- parameters --------------------------------------------------------------------------

    def trained(self, part: Part) -> dict[str, nn.Parameter]:
        """Trained parameters of a part, by the name under which they are sent."""
        # Asked for several times a round; which parameters are trained never changes.
        if part not in self._trained:
            self._trained[part] = {
                self._sent_name(name): parameter
                for name, parameter in self._named(part)
                if parameter.requires_grad
            }
        return dict(self._trained[part])

    def frozen(self, part: Part) -> dict[str, nn.Parameter]:
        """Frozen parameters of a part, by their name in the checkpoint."""
        return {
            self._checkpoint_name(name): parameter
            for name, parameter in self._named(part)
            if not parameter.requires_grad and "original_module" not in name
        }

    def load_frozen(self, tensors: dict[str, Tensor], part: Part) -> None:
        """Take received base weights. Where clients share one copy it is written with itself."""
        own = self.frozen(part)
        with torch.no_grad():
            for name, tensor in tensors.items():
                own[name].copy_(tensor)

    def share_frozen(self, other: StagedModel) -> None:
        """Use another model's frozen weights as one's own, which are equal, and hold them once."""
        whole = Part.whole(self.training.model.num_layers)
        own, theirs = self.frozen(whole), other.frozen(whole)
        for name in own.keys() & theirs.keys():
            own[name].data = theirs[name].data

    def head_names(self) -> frozenset[str]:
        """Names of the classification head's trained parameters; a language model's has none.

        A language-model head may be the embedding itself, which is no head to keep private.
        """
        if self.training.head.kind != "classification":
            return frozenset()
        ids = {id(parameter) for parameter in self.head.parameters()}
        return frozenset(
            self._sent_name(name)
            for name, parameter in self.module.named_parameters()
            if id(parameter) in ids and parameter.requires_grad
        )

    def _named(self, part: Part) -> Iterator[tuple[str, nn.Parameter]]:
        ids = {id(parameter) for module in self._modules(part) for parameter in module.parameters()}
        for name, parameter in self.module.named_parameters():
            if id(parameter) in ids:
                yield name, parameter

    def _modules(self, part: Part) -> Iterator[Any]:
        traits = self.training.model.traits
        if part.has_embedding:
            yield getattr(self.backbone, traits.embedding)
            if traits.has_positions:
                yield self.backbone.wpe
        for place in range(part.start, part.stop):
            block = self.blocks[place // 2]
            yield getattr(block, traits.norms[place % 2])
            yield getattr(block, traits.attention) if place % 2 == 0 else block.mlp
        if part.has_head:
            yield self.final_norm
            yield self.head

    def _sent_name(self, name: str) -> str:
        return name.replace(".modules_to_save.default", "").replace(".default", "")

    def _checkpoint_name(self, name: str) -> str:
        return name.removeprefix("base_model.model.").replace(".base_layer", "")
