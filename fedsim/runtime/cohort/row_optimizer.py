"""The cohort's optimizers: torch's own, with one parameter for each client.

A client without a gradient is skipped as torch skips any such parameter, so its state and its
count of steps are those of the batches that it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from fedsim.runtime.cohort.adapter_bank import AdapterBank
from fedsim.runtime.options import RunOptions
from fedsim.spec.plan import Optimizer

__all__ = ["RowOptimizer"]


class RowOptimizer:
    """Updates the rows of a bank.

    Parameters
    ----------
    bank : AdapterBank
    kind : {"adam", "sgd"}
    options : sequence of RunOptions
        By slot: learning rates, and FedProx's constant.
    """

    def __init__(self, bank: AdapterBank, kind: Optimizer, options: Sequence[RunOptions]) -> None:
        self.bank = bank
        self._proximal = [own.proximal_mu for own in options]
        self._anchors: dict[int, Tensor] = {}
        self._num_accumulated = [0] * bank.num_clients
        self._rows = list(bank.values.unbind())
        groups = [
            {"params": [row], "lr": own.learning_rate}
            for row, own in zip(self._rows, options, strict=True)
        ]
        self._optimizer: torch.optim.Optimizer
        if kind == "adam":
            self._optimizer = torch.optim.Adam(groups)
        else:
            self._optimizer = torch.optim.SGD(groups)

    def reset(self, slots: Iterable[int]) -> None:
        """Forget the state of some clients."""
        for slot in slots:
            self._optimizer.state.pop(self._rows[slot], None)

    def set_anchor(self, slots: Iterable[int]) -> None:
        """Let FedProx pull some clients towards what they are now."""
        for slot in slots:
            if self._proximal[slot]:
                self._anchors[slot] = self._rows[slot].clone()

    def step(self, trained: Iterable[int], is_update: bool | Sequence[bool]) -> None:
        """Count a batch of each trained client, and update those whose turn it is."""
        updated = []
        for slot in trained:
            self._num_accumulated[slot] += 1
            if is_update if isinstance(is_update, bool) else is_update[slot]:
                updated.append(slot)
        for slot in updated:
            self._rows[slot].grad = self._gradient(slot)
            self._num_accumulated[slot] = 0
        self._optimizer.step()
        for slot in updated:
            self._rows[slot].grad = None
            self.bank.gradients[slot].zero_()

    def tensors(self, slot: int) -> dict[str, Tensor]:
        """A client's state under the names that :class:`fedsim.runtime.trainer.Trainer` gives."""
        state = self._optimizer.state.get(self._rows[slot], {})
        found = {}
        for name in self.bank.names:
            for word, tensor in state.items():
                own = tensor if tensor.dim() == 0 else self.bank.view(tensor, slot, name)
                found[f"{name}/{word}"] = own.clone(memory_format=torch.contiguous_format)
        return found

    def load(self, slot: int, tensors: Mapping[str, Tensor]) -> None:
        """Take the state of :meth:`tensors` again."""
        row = self._rows[slot]
        state = self._optimizer.state[row]
        for key, tensor in tensors.items():
            name, _, word = key.rpartition("/")
            if tensor.dim() == 0:
                # Adam counts its steps on the CPU, and for all of a client's tensors alike.
                state[word] = tensor.to("cpu", copy=True)
                continue
            if word not in state:
                state[word] = torch.zeros_like(row)
            self.bank.view(state[word], slot, name).copy_(tensor)

    def _gradient(self, slot: int) -> Tensor:
        gradient = self.bank.gradients[slot]
        if self._num_accumulated[slot] > 1:
            # The mean over the batches that were accumulated, fewer at the end of an epoch.
            gradient.div_(self._num_accumulated[slot])
        if slot in self._anchors:
            # Of mu / 2 |w - w_round|^2: FedProx (Li et al. 2020, arXiv 1812.06127).
            gradient.add_(self._rows[slot] - self._anchors[slot], alpha=self._proximal[slot])
        return gradient
