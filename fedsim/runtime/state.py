"""What a run must remember between rounds, in one registry that checkpoints walk.

Whoever keeps something from one round for a later one enters it here: trainers, a server's
optimizer, a codec's last messages, a buffer of one's own. What is not entered is not stored, and a
resumed run would go on without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from fedsim.errors import ProtocolError
from fedsim.runtime.trainer import Trainer

__all__ = ["NamedTensors", "StateRegistry", "Stateful", "TrainerState"]


class Stateful(Protocol):
    """Something with a state of tensors."""

    def tensors(self) -> Mapping[str, Tensor]:
        """All that later rounds depend on, by name; views are allowed."""
        ...

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the state of :meth:`tensors` again, in place of the present one."""
        ...


class StateRegistry:
    """Everything with a state, by name; names are those of a checkpoint's tensors.

    Examples
    --------
    >>> registry = StateRegistry()
    >>> registry.tensors()
    {}
    """

    def __init__(self) -> None:
        self._known: dict[str, Stateful] = {}

    def enter(self, name: str, part: Stateful) -> None:
        """Enter something under a name.

        Raises
        ------
        ProtocolError
            If the name is taken, or one name would be read as part of the other.
        """
        for known in self._known:
            if f"{known}/".startswith(f"{name}/") or f"{name}/".startswith(f"{known}/"):
                raise ProtocolError(
                    f"state '{name}': there is a state '{known}' already; choose a name that "
                    "neither is nor begins with another one."
                )
        self._known[name] = part

    def remove(self, name: str) -> None:
        """Take something out again: it is not stored any longer."""
        del self._known[name]

    def names(self) -> tuple[str, ...]:
        """What is entered, in the order of entry."""
        return tuple(self._known)

    def tensors(self) -> dict[str, Tensor]:
        """The whole state, by ``name/tensor``."""
        return {
            f"{name}/{own}": tensor
            for name, part in self._known.items()
            for own, tensor in part.tensors().items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a state again.

        Raises
        ------
        ProtocolError
            If there are tensors that belong to nothing here.
        """
        unknown = set(tensors)
        for name, part in self._known.items():
            prefix = f"{name}/"
            own = {
                key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)
            }
            unknown.difference_update(prefix + key for key in own)
            part.load(own)
        if unknown:
            raise ProtocolError(
                f"the state holds {len(unknown)} tensors that belong to nobody here, among them "
                f"'{min(unknown)}'; it is another run's."
            )

    def __iter__(self) -> Iterator[tuple[str, Stateful]]:
        return iter(self._known.items())


@dataclass(frozen=True)
class TrainerState:
    """A trainer's parameters, and its optimizer's state where it outlives a round."""

    trainer: Trainer

    def tensors(self) -> dict[str, Tensor]:
        """``parameter/NAME`` and ``optimizer/NAME/WORD``."""
        trainer = self.trainer
        found = {f"parameter/{n}": t for n, t in trainer.adapters(with_head=True).items()}
        if trainer.options.optimizer_state == "keep":
            found |= {f"optimizer/{n}": t for n, t in trainer.optimizer_tensors().items()}
        return found

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take both again."""
        self.trainer.load(_under("parameter/", tensors))
        state = _under("optimizer/", tensors)
        if state:
            self.trainer.load_optimizer(state)


class NamedTensors(dict[str, Tensor]):
    """A dictionary of tensors as a state: what a party keeps by names of its own."""

    def tensors(self) -> dict[str, Tensor]:
        """All of them."""
        return dict(self)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copies of these, in the place of all that are there."""
        self.clear()
        self.update({name: tensor.clone() for name, tensor in tensors.items()})


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
