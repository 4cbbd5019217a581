"""The seam between training and what runs a round: :class:`RoundRunner`.

Mode ``sequential`` is the reference: the executing interpreter, one client after the other. Mode
``cohort`` is the interpreter that computes a step of all clients in one pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from fedsim.ledger import Ledger
from fedsim.runtime.cohort import CohortExecutor
from fedsim.runtime.executor import Executor
from fedsim.runtime.federation import Federation
from fedsim.runtime.losses import LossBook
from fedsim.runtime.options import Mode

__all__ = [
    "FederatedRounds",
    "Mode",
    "RoundOutcome",
    "RoundRunner",
    "round_runner",
]


@dataclass(frozen=True)
class RoundOutcome:
    """What one round left behind.

    Attributes
    ----------
    ledger : Ledger
        The round's rows and no others.
    losses : LossBook
        By party and step, of training and of distillation.
    global_parameters : dict of str to Tensor
        Trained parameters of the global model, by the name under which they are sent.
    own_parameters : dict of str to dict
        By client, the trained parameters of the whole model that its own work of the round ended
        with: ahead of the aggregation where parameters are averaged.
    """

    ledger: Ledger
    losses: LossBook
    global_parameters: dict[str, Tensor]
    own_parameters: dict[str, dict[str, Tensor]]


class RoundRunner(Protocol):
    """Runs one round for all clients. All tensors may be views: use them ahead of the next."""

    def run_setup(self) -> RoundOutcome:
        """What comes once, ahead of the first round; its outcome is what round 1 begins with."""

    def run_round(self, round_index: int) -> RoundOutcome:
        """One round, from 1."""

    def tensors(self) -> dict[str, Tensor]:
        """All that the next round depends on beside the round's number, by name."""

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take the state of :meth:`tensors` again, in place of set-up and earlier rounds."""


def round_runner(
    mode: Mode,
    federation: Federation,
    *,
    counts_flop: bool = False,
    on_step: Callable[[int, str, str], None] | None = None,
) -> RoundRunner:
    """The runner of a mode.

    Raises
    ------
    ScenarioError
        If the mode cannot run this federation.
    """
    executor = federation.executor(
        counts_flop=counts_flop, kind=CohortExecutor if mode == "cohort" else Executor
    )
    return FederatedRounds(federation, executor, on_step=on_step)


class FederatedRounds:
    """Rounds of a federation by an executing interpreter.

    Between rounds all that the next one depends on is in the parties' trainers, whichever
    interpreter it is, so a run's state is the same in every mode.

    Parameters
    ----------
    federation : Federation
    executor : Executor
        Of this federation.
    on_step : callable, optional
        ``(round_index, party, step label)``, for progress.
    """

    def __init__(
        self,
        federation: Federation,
        executor: Executor,
        *,
        on_step: Callable[[int, str, str], None] | None = None,
    ) -> None:
        self.federation = federation
        self.executor = executor
        self.executor.on_step = on_step
        self.executor.on_gather = self._on_gather
        self._gathered: dict[str, dict[str, Tensor]] = {}

    def run_setup(self) -> RoundOutcome:
        """Send what clients receive once."""
        self._begin()
        self.federation.run_setup(self.executor)
        return self._outcome()

    def run_round(self, round_index: int) -> RoundOutcome:
        """Run one round; see :class:`RoundRunner`."""
        self._begin()
        self.federation.run_round(self.executor, round_index)
        return self._outcome()

    def tensors(self) -> dict[str, Tensor]:
        """The state of all parties: whatever is entered in the federation's registry."""
        return self.federation.state.tensors()

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take a state again."""
        device = self.federation.server.trainer.model.device
        self.federation.state.load({name: tensor.to(device) for name, tensor in tensors.items()})

    def _begin(self) -> None:
        self.executor.ledger, self.executor.losses = Ledger(), LossBook()
        self._gathered = {}

    def _outcome(self) -> RoundOutcome:
        own = self._gathered or self._own_parameters()
        server = self.federation.server
        losses = self.executor.losses
        assert losses is not None
        return RoundOutcome(
            self.executor.ledger, losses, server.trainer.adapters(with_head=True), own
        )

    def _on_gather(self, _label: str) -> None:
        # Behind this point a cut model's two sides are averaged; an uncut client keeps its own.
        if self.federation.is_cut:
            self._gathered = {
                client_id: {name: tensor.clone() for name, tensor in tensors.items()}
                for client_id, tensors in self._own_parameters().items()
            }

    def _own_parameters(self) -> dict[str, dict[str, Tensor]]:
        federation = self.federation
        found = {}
        for client_id, client in federation.clients.items():
            tensors = client.trainer.adapters(with_head=True)
            if client.plan.cut is not None:
                above = federation.server.server_side_trainer(client_id)
                # A tied language-model head is two matrices while cut; the client's goes first.
                tensors = {**above.adapters(with_head=True), **tensors}
            found[client_id] = tensors
        return found
