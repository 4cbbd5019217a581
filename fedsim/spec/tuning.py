"""What is tuned: LoRA on a choice of linear layers, or every parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from fedsim.errors import ScenarioError, nearest
from fedsim.spec.model import LinearSpec, ModelSpec

__all__ = ["FullTuning", "InitLoraWeights", "LoraTuning", "Tuning"]

InitLoraWeights = Literal["default", "gaussian"]


@dataclass(frozen=True, slots=True)
class LoraTuning:
    """Low-rank adapters beside frozen weights; the words are peft's.

    Attributes
    ----------
    r : int
        Rank.
    alpha : float
        ``lora_alpha``: the adapter's output is scaled by ``alpha / r`` (``alpha / sqrt(r)`` with
        ``use_rslora``).
    dropout : float
        On the adapter's input only, in training only.
    target_modules : tuple of str
        Names of linear layers, matched by suffix as peft does, or ``("all-linear",)``.
    num_top_layers : int or None
        Adapt only the last so many blocks (peft's ``layers_to_transform``); None adapts all.
    bias : {"none", "all", "lora_only"}
        Which biases are trained too.
    use_rslora : bool
        Rank-stabilized scaling.
    init_lora_weights : {"default", "gaussian"}
        peft's ``True`` (Kaiming uniform) or ``"gaussian"`` (standard deviation ``1 / r``).
    """

    r: int = 8
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ("attn.c_attn",)
    num_top_layers: int | None = None
    bias: Literal["none", "all", "lora_only"] = "none"
    use_rslora: bool = False
    init_lora_weights: InitLoraWeights = "default"
    kind: Literal["lora"] = field(default="lora", init=False)

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ScenarioError(f"lora.r = {self.r}: the rank is at least 1.")
        if not 0 <= self.dropout < 1:
            raise ScenarioError(f"lora.dropout = {self.dropout}: allowed is 0 <= dropout < 1.")
        if not self.target_modules:
            raise ScenarioError("lora.target_modules is empty; name a linear layer to adapt.")

    @property
    def scaling(self) -> float:
        """Factor on the adapter's output."""
        return self.alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    def adapted(self, model: ModelSpec) -> tuple[LinearSpec, ...]:
        """Linear layers of an adapted block that carry an adapter.

        A rank above a layer's width is allowed, as in peft: it trains more values and reaches no
        other products.

        Raises
        ------
        ScenarioError
            If a name matches no layer.
        """
        paths = [linear.path for linear in model.linears]
        if self.target_modules == ("all-linear",):
            chosen = model.linears
        else:
            for target in self.target_modules:
                if not any(_matches(path, target) for path in paths):
                    raise ScenarioError(
                        f"lora.target_modules: '{target}' is no linear layer of a "
                        f"{model.family} block; allowed: all-linear, {', '.join(paths)}."
                        f"{nearest(target, paths)}"
                    )
            chosen = tuple(
                linear
                for linear in model.linears
                if any(_matches(linear.path, target) for target in self.target_modules)
            )
        return chosen

    def narrowest(self, model: ModelSpec) -> LinearSpec | None:
        """The narrowest adapted layer whose width the rank exceeds, if there is one."""
        narrow = [each for each in self.adapted(model) if self.r > _width(each)]
        return min(narrow, key=_width, default=None)

    def is_adapted_layer(self, model: ModelSpec, layer_index: int) -> bool:
        """Whether block ``layer_index`` (from 0) carries adapters."""
        if self.num_top_layers is None:
            return True
        return layer_index >= model.num_layers - self.num_top_layers

    def check(self, model: ModelSpec) -> None:
        """Raise ``ScenarioError`` where these settings do not fit ``model``."""
        self.adapted(model)
        if self.num_top_layers is not None and not 1 <= self.num_top_layers <= model.num_layers:
            raise ScenarioError(
                f"lora.num_top_layers = {self.num_top_layers}: {model.name} has "
                f"{model.num_layers} blocks; allowed: 1 to {model.num_layers}."
            )


@dataclass(frozen=True, slots=True)
class FullTuning:
    """Every parameter is trained."""

    kind: Literal["full"] = field(default="full", init=False)

    def check(self, model: ModelSpec) -> None:
        """Full fine-tuning fits every model."""


Tuning = LoraTuning | FullTuning


def _width(linear: LinearSpec) -> int:
    return min(linear.num_inputs, linear.num_outputs)


def _matches(path: str, target: str) -> bool:
    return path == target or path.endswith("." + target)
