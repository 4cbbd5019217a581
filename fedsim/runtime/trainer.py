"""One party's model with its optimizer: the operations that a protocol asks for, really done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from fedsim.protocol.operation import Part
from fedsim.runtime.keyed_dropout import MaskStream, SequentialMasks
from fedsim.runtime.objective import (
    classification_loss,
    distillation_loss,
    language_model_loss,
    real_positions,
)
from fedsim.runtime.options import RunOptions
from fedsim.runtime.staged_model import StagedModel
from fedsim.runtime.text_batch import TextBatch, equal_length_groups

__all__ = ["CutForward", "Trainer", "groups_of"]


@dataclass
class CutForward:
    """A client's forward pass that waits for gradients.

    Attributes
    ----------
    outputs : list of Tensor
        Activations at the cut, one ``(n, T, d)`` a group of equal length, still in the graph.
    groups : list of (int, Tensor)
        Length and samples of each group.
    """

    outputs: list[Tensor]
    groups: list[tuple[int, Tensor]]


class Trainer:
    """Trains one part of one model.

    Parameters
    ----------
    model : StagedModel
    part : Part
        What of it this party trains.
    options : RunOptions
    masks : MaskStream, optional
        Draw LoRA dropout masks by name, as cohorts do, and not from torch's generator. The model's
        dropout modules are replaced.
    """

    def __init__(
        self, model: StagedModel, part: Part, options: RunOptions, masks: MaskStream | None = None
    ) -> None:
        self.model = model
        self._masks = None if masks is None else SequentialMasks(model, masks)
        self.part = part
        self.options = options
        self._num_accumulated = 0
        self.last_loss = float("nan")
        self._optimizer: torch.optim.Optimizer | None = None
        self._anchor: dict[str, Tensor] = {}
        self.reset_optimizer()

    def reset_optimizer(self) -> None:
        """Forget the optimizer's state."""
        parameters = list(self.model.trained(self.part).values())
        if not parameters:
            self._optimizer = None
        elif self.model.training.optimizer == "adam":
            self._optimizer = torch.optim.Adam(parameters, lr=self.options.learning_rate)
        else:
            self._optimizer = torch.optim.SGD(parameters, lr=self.options.learning_rate)

    # --- operations --------------------------------------------------------------------------

    def train(self, batch: TextBatch, *, is_update: bool) -> None:
        """Forward, cross entropy and backward of the whole model."""
        self.model.train()
        total = 0.0
        with self._autocast():
            for length, chosen in self._named_groups(batch):
                logits = self._logits(batch.token_ids[chosen, :length])
                loss = self._loss(logits, batch, chosen, length)
                torch.autograd.backward(loss)
                total += float(loss.detach())
        self.last_loss = total
        self._update(is_update)

    def distill(self, batch: TextBatch, teacher: Tensor, *, is_update: bool) -> None:
        """Forward, distillation loss and backward; ``teacher`` has one row a target row."""
        self.model.train()
        total, rows = 0.0, _TeacherRows(batch, teacher, self._is_classifier)
        with self._autocast():
            for length, chosen in self._named_groups(batch):
                student = self._target_rows(
                    self._logits(batch.token_ids[chosen, :length]), batch, chosen, length
                )
                loss = distillation_loss(
                    student, rows.of(chosen, length), rows.num_rows, self.options
                )
                torch.autograd.backward(loss)
                total += float(loss.detach())
        self.last_loss = total
        self._update(is_update)

    def infer(self, batch: TextBatch, *, all_positions: bool) -> Tensor:
        """Logits without dropout or gradients.

        Returns
        -------
        Tensor
            ``(B, C)``; for a language model ``(B, T, V)`` where ``all_positions``, else one row a
            real token, samples one after the other.
        """
        self.model.train(False)
        with torch.no_grad(), self._autocast():
            if self._is_classifier:
                pooled = None
                for length, chosen in groups_of(batch):
                    logits = self._logits(batch.token_ids[chosen, :length])
                    rows = self._target_rows(logits, batch, chosen, length)
                    if pooled is None:
                        pooled = rows.new_empty(batch.num_samples, rows.shape[-1])
                    pooled[chosen] = rows
                assert pooled is not None
                return pooled
            if all_positions:
                return self._logits(batch.token_ids)
            return self._real_token_logits(batch)

    def forward_to_cut(self, batch: TextBatch) -> CutForward:
        """Run the part below the cut and keep the graph where something below it is trained."""
        self.model.train()
        with torch.set_grad_enabled(self._optimizer is not None), self._autocast():
            outputs = [
                self.model.run(self.model.embed(batch.token_ids[chosen, :length]), self.part)
                for length, chosen in self._named_groups(batch)
            ]
        return CutForward(outputs, groups_of(batch))

    def train_above_cut(
        self, activations: list[Tensor], batch: TextBatch, *, is_update: bool, wants_gradient: bool
    ) -> list[Tensor]:
        """Finish the forward pass, compute the loss, go back to the cut.

        Returns
        -------
        list of Tensor
            Gradient of each activation tensor; empty where the client wants none.
        """
        self.model.train()
        gradients, total = [], 0.0
        with self._autocast():
            groups = self._named_groups(batch)
            for received, (length, chosen) in zip(activations, groups, strict=True):
                leaf = received.detach().requires_grad_(wants_gradient)
                logits = self.model.logits(self.model.run(leaf, self.part))
                loss = self._loss(logits, batch, chosen, length)
                torch.autograd.backward(loss)
                total += float(loss.detach())
                if leaf.grad is not None:
                    gradients.append(leaf.grad)
        self.last_loss = total
        self._update(is_update)
        return gradients

    def backward_from_cut(
        self, forward: CutForward, gradients: list[Tensor], *, is_update: bool
    ) -> None:
        """Go back from the cut with received gradients."""
        for output, gradient in zip(forward.outputs, gradients, strict=True):
            torch.autograd.backward(output, gradient.to(output.dtype))
        self._update(is_update)

    @property
    def resident_bytes(self) -> int:
        """Bytes of the part's parameters, which exist whatever is computed [B]."""
        tensors = [
            *self.model.trained(self.part).values(),
            *self.model.frozen(self.part).values(),
        ]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    # --- parameters --------------------------------------------------------------------------

    def adapters(self, *, with_head: bool) -> dict[str, Tensor]:
        """Trained parameters by the name under which they are sent."""
        private = frozenset() if with_head else self.model.head_names()
        return {
            name: parameter.detach()
            for name, parameter in self.model.trained(self.part).items()
            if name not in private
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put received parameters in the place of one's own."""
        own = self.model.trained(self.part)
        with torch.no_grad():
            for name, tensor in tensors.items():
                own[name].copy_(tensor.to(own[name].dtype))

    def set_anchor(self) -> None:
        """Let the proximal term of FedProx, where there is one, pull towards what is here now."""
        if self.options.proximal_mu:
            self._anchor = {
                name: parameter.detach().clone()
                for name, parameter in self.model.trained(self.part).items()
            }

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """The optimizer's state, by parameter and by its own words."""
        if self._optimizer is None:
            return {}
        state = self._optimizer.state
        return {
            f"{name}/{word}": tensor
            for name, parameter in self.model.trained(self.part).items()
            for word, tensor in state.get(parameter, {}).items()
        }

    def load_optimizer(self, tensors: dict[str, Tensor]) -> None:
        """Take the state of :meth:`optimizer_tensors` again."""
        own = self.model.trained(self.part)
        assert self._optimizer is not None
        for name, tensor in tensors.items():
            parameter, _, word = name.rpartition("/")
            # Adam counts its steps on the CPU, wherever the parameters are.
            place = "cpu" if word == "step" else own[parameter].device
            # A copy: the optimizer writes into its state, and the given one is the caller's.
            self._optimizer.state[own[parameter]][word] = tensor.to(place, copy=True)

    # --- private -----------------------------------------------------------------------------

    @property
    def _is_classifier(self) -> bool:
        return self.model.training.head.kind == "classification"

    def _autocast(self) -> AbstractContextManager[object]:
        numerics = self.model.training.numerics
        if numerics.compute_dtype == numerics.weights_dtype:
            return nullcontext()
        return torch.autocast(self.model.device.type, dtype=getattr(torch, numerics.compute_dtype))

    def _named_groups(self, batch: TextBatch) -> Iterator[tuple[int, Tensor]]:
        """The groups of a batch that is trained on, with the dropout masks of each."""
        if self._masks is not None:
            self._masks.begin_batch()
        for length, chosen in groups_of(batch):
            if self._masks is not None:
                self._masks.begin_group(chosen, length)
            yield length, chosen

    def _logits(self, token_ids: Tensor) -> Tensor:
        whole = Part.whole(self.model.training.model.num_layers)
        return self.model.logits(self.model.run(self.model.embed(token_ids), whole))

    def _loss(self, logits: Tensor, batch: TextBatch, chosen: Tensor, length: int) -> Tensor:
        last = batch.last_index[chosen]
        if self._is_classifier:
            assert batch.labels is not None
            pooled = logits[torch.arange(len(chosen), device=logits.device), last]
            return classification_loss(pooled, batch.labels[chosen], batch.num_samples)
        num_targets = int(batch.last_index.sum())
        return language_model_loss(logits, batch.token_ids[chosen, :length], last, num_targets)

    def _target_rows(self, logits: Tensor, batch: TextBatch, chosen: Tensor, length: int) -> Tensor:
        last = batch.last_index[chosen]
        if self._is_classifier:
            return logits[torch.arange(len(chosen), device=logits.device), last]
        return logits[real_positions(last, length)]

    def _real_token_logits(self, batch: TextBatch) -> Tensor:
        offsets = torch.cumsum(batch.last_index + 1, 0) - (batch.last_index + 1)
        result: Tensor | None = None
        for length, chosen in groups_of(batch):
            logits = self._logits(batch.token_ids[chosen, :length])
            mask = real_positions(batch.last_index[chosen], length)
            where = (offsets[chosen][:, None] + torch.arange(length, device=mask.device))[mask]
            if result is None:
                result = logits.new_empty(int((batch.last_index + 1).sum()), logits.shape[-1])
            result[where] = logits[mask]
        assert result is not None
        return result

    def _update(self, is_update: bool) -> None:
        self._num_accumulated += 1
        if not is_update:
            return
        if self._optimizer is not None:
            if self._num_accumulated > 1:
                # The mean over the batches that were accumulated, fewer at the end of an epoch.
                for parameter in self.model.trained(self.part).values():
                    if parameter.grad is not None:
                        parameter.grad.div_(self._num_accumulated)
            self._add_proximal_gradient()
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        self._num_accumulated = 0

    def _add_proximal_gradient(self) -> None:
        """Gradient of ``mu / 2 |w - w_round|^2``: FedProx (Li et al. 2020, arXiv 1812.06127)."""
        if not self._anchor:
            return
        for name, parameter in self.model.trained(self.part).items():
            if parameter.grad is not None:
                distance = parameter.detach() - self._anchor[name]
                parameter.grad.add_(distance, alpha=self.options.proximal_mu)


class _TeacherRows:
    """The teacher's logits by sample, however they arrived."""

    def __init__(self, batch: TextBatch, teacher: Tensor, is_classifier: bool) -> None:
        self.teacher = teacher
        self.last_index = batch.last_index
        self.is_classifier = is_classifier
        lengths = batch.last_index + 1
        self.offsets = torch.cumsum(lengths, 0) - lengths
        self.num_rows = batch.num_samples if is_classifier else int(lengths.sum())

    def of(self, chosen: Tensor, length: int) -> Tensor:
        """Rows of some samples, in the order of their target rows."""
        if self.is_classifier:
            return self.teacher[chosen]
        mask = real_positions(self.last_index[chosen], length)
        if self.teacher.dim() == 3:
            return self.teacher[chosen, :length][mask]
        where = self.offsets[chosen][:, None] + torch.arange(length, device=mask.device)
        return self.teacher[where[mask]]


def groups_of(batch: TextBatch) -> list[tuple[int, Tensor]]:
    """Length and samples of what is computed at once: the whole batch, or each length apart."""
    if batch.is_padded:
        everyone = torch.arange(batch.num_samples, device=batch.token_ids.device)
        return [(int(batch.token_ids.shape[1]), everyone)]
    return equal_length_groups(batch.last_index)
