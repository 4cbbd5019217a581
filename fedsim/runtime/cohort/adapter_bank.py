"""Adapters and heads of many clients, stacked: one row of numbers for each client.

A row holds every trained tensor of its client, zero padded to the cohort's highest rank. What is
padded stays exactly 0, because its gradient is, and is never read back. The optimizer sees one
parameter a client, so it is torch's own and clients without a batch keep their state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedsim.errors import ProtocolError
from fedsim.protocol.operation import Part
from fedsim.runtime.staged_model import StagedModel
from fedsim.spec.tuning import LoraTuning

__all__ = ["AdapterBank", "LoraFactors", "head_name", "lora_names"]


@dataclass(frozen=True)
class LoraFactors:
    """The stacked factors of one linear layer.

    Attributes
    ----------
    a, b : Tensor
        ``(K, r, in)`` and ``(K, r, out)``: the second factor is stored transposed, so that the
        rows of a lower rank lie together.
    a_gradient, b_gradient : Tensor
        Of the same shapes; a backward pass adds to them.
    """

    a: Tensor
    b: Tensor
    a_gradient: Tensor
    b_gradient: Tensor


class AdapterBank:
    """Trained parameters of K clients.

    Parameters
    ----------
    model : StagedModel
        Whose linear layers are adapted.
    tunings : sequence of LoraTuning
        Each client's; ranks, scalings and dropout rates may differ.
    """

    def __init__(self, model: StagedModel, tunings: Sequence[LoraTuning]) -> None:
        training = model.training
        self.tunings = tuple(tunings)
        self.ranks = [tuning.r for tuning in tunings]
        self.scalings = [tuning.scaling for tuning in tunings]
        num, highest = len(tunings), max(self.ranks)
        shapes: dict[str, tuple[int, int]] = {}
        pairs: dict[tuple[int, str], tuple[str, str]] = {}
        for index in range(training.model.num_layers):
            if not tunings[0].is_adapted_layer(training.model, index):
                continue
            for linear in tunings[0].adapted(training.model):
                names = lora_names(model, index, linear.path)
                shapes[names[0]] = (highest, linear.num_inputs)
                shapes[names[1]] = (highest, linear.num_outputs)
                pairs[index, linear.path] = names
        self.head_name = head_name(model)
        if self.head_name is not None:
            shapes[self.head_name] = (training.head.num_classes, training.model.hidden_size)
        width = sum(rows * columns for rows, columns in shapes.values())
        #: ``(K, P)``, a client a row.
        self.values = torch.zeros(num, width, device=model.device, dtype=_trained_dtype(model))
        self.gradients = torch.zeros_like(self.values)
        values, gradients = _views(self.values, shapes), _views(self.gradients, shapes)
        self._shapes = shapes
        # Leaves over the same memory: autograd must know that something behind them is trained.
        leaves = {name: view.detach().requires_grad_() for name, view in values.items()}
        self.factors = {
            place: LoraFactors(leaves[a], leaves[b], gradients[a], gradients[b])
            for place, (a, b) in pairs.items()
        }
        self._first = frozenset(a for a, _ in pairs.values())
        self._second = frozenset(b for _, b in pairs.values())
        self.head = None if self.head_name is None else leaves[self.head_name]
        self.head_gradient = None if self.head_name is None else gradients[self.head_name]
        self._is_loaded = [False] * num

    @property
    def names(self) -> list[str]:
        """Names of a client's tensors, in the order in which they are sent."""
        return list(self._shapes)

    @property
    def num_clients(self) -> int:
        """K."""
        return len(self.ranks)

    @property
    def lowest(self) -> int | None:
        """The lowest block that carries an adapter."""
        return min((index for index, _ in self.factors), default=None)

    def load_model(self, model: StagedModel) -> None:
        """Give all clients the model's head, and its adapters to those of its rank."""
        tuning = model.training.lora
        assert tuning is not None
        trained = model.trained(Part.whole(model.training.model.num_layers))
        own = {name: parameter.detach() for name, parameter in trained.items()}
        head = {name: own[name] for name in own if name == self.head_name}
        for slot, rank in enumerate(self.ranks):
            self.load(slot, own if rank == tuning.r else head)
            self._is_loaded[slot] = rank == tuning.r

    def load(self, slot: int, tensors: Mapping[str, Tensor]) -> None:
        """Put a client's tensors, or some of them, in the place of its own.

        Raises
        ------
        ProtocolError
            If a name is unknown or a shape is not the client's.
        """
        for name, tensor in tensors.items():
            own = None if name not in self._shapes else self.view(self.values[slot], slot, name)
            if own is None or own.shape != tensor.shape:
                expected = "no such tensor" if own is None else f"shape {tuple(own.shape)}"
                raise ProtocolError(
                    f"client {slot} of the cohort (rank {self.ranks[slot]}): '{name}' came with "
                    f"shape {tuple(tensor.shape)}, and the client has {expected}."
                )
            own.copy_(tensor)
        self._is_loaded[slot] = True

    def tensors(self, slot: int, *, with_head: bool = True) -> dict[str, Tensor]:
        """A client's tensors by the name under which they are sent: copies, without padding."""
        return {
            name: self.view(self.values[slot], slot, name).clone(
                memory_format=torch.contiguous_format
            )
            for name in self._shapes
            if with_head or name != self.head_name
        }

    def check_loaded(self, slots: Sequence[int]) -> None:
        """Raise ``ProtocolError`` if a client has no parameters yet."""
        for slot in slots:
            if not self._is_loaded[slot]:
                raise ProtocolError(
                    f"client {slot} of the cohort has rank {self.ranks[slot]}, which is not the "
                    "model's, and no adapters yet; load() some before it trains or infers."
                )

    def view(self, row: Tensor, slot: int, name: str) -> Tensor:
        """A client's tensor within a row ``(P,)``, in the shape in which it is sent."""
        view, rank = _views(row, self._shapes)[name], self.ranks[slot]
        if name in self._first:
            return view[:rank]
        return view[:rank].t() if name in self._second else view


def lora_names(model: StagedModel, index: int, path: str) -> tuple[str, str]:
    """Names under which a layer's two factors are sent."""
    traits = model.training.model.traits
    stem = f"base_model.model.{traits.backbone}.{traits.blocks}.{index}.{path}"
    return f"{stem}.lora_A.weight", f"{stem}.lora_B.weight"


def head_name(model: StagedModel) -> str | None:
    """Name under which the classification head is sent; None for a language model."""
    names = sorted(model.head_names())
    return names[0] if names else None


def _trained_dtype(model: StagedModel) -> torch.dtype:
    return next(p.dtype for p in model.module.parameters() if p.requires_grad)


def _views(rows: Tensor, shapes: Mapping[str, tuple[int, int]]) -> dict[str, Tensor]:
    """Tensors ``(..., rows, columns)`` that follow each other in the last dimension."""
    found, start = {}, 0
    for name, shape in shapes.items():
        stop = start + shape[0] * shape[1]
        found[name] = rows[..., start:stop].view(*rows.shape[:-1], *shape)
        start = stop
    return found
