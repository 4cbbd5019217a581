"""The plans of real clients, round by round: schedules asked, real texts put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedsim.draws import participants, visiting_order
from fedsim.errors import ScenarioError
from fedsim.ledger import SETUP_ROUND
from fedsim.planning import ClientFacts, Need, Schedule, View, groups, plan, policy
from fedsim.runtime.data import EncodedDataset
from fedsim.runtime.options import RunOptions
from fedsim.spec.batch import TextLengths
from fedsim.spec.plan import ClientPlan
from fedsim.spec.policy import PolicySchedule, PolicySpec

__all__ = ["PlannedClient", "RoundPlans", "unknown_facts"]

#: A real run has no clock that two runs share, so no schedule may look at one.
_UNKNOWN = frozenset((Need.CLOCK,))


@dataclass(frozen=True)
class PlannedClient:
    """A client's plan in a round, and the rows that it visits, epochs one after the other."""

    plan: ClientPlan
    order: tuple[int, ...]


@dataclass
class RoundPlans:
    """Makes every client's plan of every round.

    A function of the round alone but for losses, which a run leaves behind: those of rounds that
    have been are kept, and are a state that checkpoints store.

    Attributes
    ----------
    base : mapping of str to ClientPlan
        Without schedules, by client; texts stand for their number and padding only.
    server : ClientPlan
        What the server's own work follows.
    rows : mapping of str to EncodedDataset
        Private rows by client.
    public : EncodedDataset or None
    options : RunOptions
    schedules : sequence of Schedule
    policy : PolicySpec
        How many clients a round asks, at random.
    facts : ClientFacts
        In the order of ``base``.
    losses : list of float or None
        Mean training loss of each round that has been; None for one without any.

    Raises
    ------
    ScenarioError
        If a schedule looks at what no real run knows.
    """

    base: Mapping[str, ClientPlan]
    server: ClientPlan
    rows: Mapping[str, EncodedDataset]
    public: EncodedDataset | None
    options: RunOptions
    schedules: Sequence[Schedule] = ()
    policy: PolicySpec = field(default_factory=PolicySpec)
    facts: ClientFacts | None = None
    losses: list[float | None] = field(default_factory=list)
    _present: dict[int, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for schedule in self._all_schedules:
            unknown = schedule.needs & _UNKNOWN
            if unknown:
                raise ScenarioError(
                    f"schedule {schedule!r} looks at the {', '.join(sorted(unknown))}, which real "
                    "runs with the same seed do not share; leave it out, or simulate it."
                )

    @property
    def needs_losses(self) -> bool:
        """Whether some schedule looks at what rounds before have left."""
        return Need.LOSSES in self._needs

    def participants(self, round_index: int) -> tuple[str, ...]:
        """Who takes part in a round; all of them in the set-up."""
        ids = tuple(self.base)
        if round_index == SETUP_ROUND:
            return ids
        if round_index not in self._present:
            asking = policy(self.policy, self._view(round_index, None))
            self._present[round_index] = participants(
                self.options.seed,
                round_index,
                ids,
                self.options.dropout_probability,
                asking.clients_per_round,
            )
        return self._present[round_index]

    def plans(self, round_index: int) -> dict[str, ClientPlan]:
        """The plan of everybody who takes part; the set-up sees the first round's."""
        return {cid: planned.plan for cid, planned in self.of_round(round_index).items()}

    def of_round(self, round_index: int) -> dict[str, PlannedClient]:
        """Plans and visiting orders of everybody who takes part.

        Raises
        ------
        ScenarioError
            If a schedule looks at losses of rounds that have not been.
        """
        present = self.participants(round_index)
        index = max(1, round_index)
        view = self._view(index, present)
        own = groups(self.schedules, self._facts(), view).tolist()
        by_client = dict(zip(self.base, own, strict=True))
        return {
            cid: self._planned(
                cid, plan(self.base[cid], self.schedules, by_client[cid], view), index
            )
            for cid in present
        }

    def server_plan(self, round_index: int) -> ClientPlan:
        """The plan of the server's own work: schedules plan it as their first group."""
        index = max(1, round_index)
        view = self._view(index, self.participants(round_index))
        planned = plan(self.server, self.schedules, [0] * len(self.schedules), view)
        return replace(planned, public_text=self._public(planned))

    def note_loss(self, round_index: int, loss: float | None) -> None:
        """Remember the mean training loss of a round."""
        del self.losses[round_index - 1 :]
        self._forget_after(round_index)
        self.losses.append(loss)

    def tensors(self) -> dict[str, Tensor]:
        """The losses, where a schedule looks at them."""
        if not self.needs_losses:
            return {}
        # A checkpoint holds finite numbers alone: no loss is below 0.
        known = [-1.0 if loss is None else loss for loss in self.losses]
        return {"losses": torch.tensor(known, dtype=torch.float64)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take them again."""
        known = tensors["losses"].tolist() if "losses" in tensors else []
        self.losses = [None if loss < 0 else loss for loss in known]
        self._forget_after(len(self.losses))

    # --- private -----------------------------------------------------------------------------

    @property
    def _needs(self) -> frozenset[Need]:
        return frozenset(need for schedule in self._all_schedules for need in schedule.needs)

    @property
    def _all_schedules(self) -> list[Schedule | PolicySchedule]:
        return [*self.schedules, *self.policy.schedules]

    def _forget_after(self, round_index: int) -> None:
        """Who takes part behind a round may depend on its losses."""
        self._present = {i: ids for i, ids in self._present.items() if i <= round_index}

    def _facts(self) -> ClientFacts:
        return self.facts or unknown_facts(self.base, self.rows)

    def _view(self, round_index: int, present: Sequence[str] | None) -> View:
        needs = self._needs
        known: tuple[float | None, ...] | None = None
        if Need.LOSSES in needs:
            known = tuple(self.losses[: round_index - 1])
            if len(known) < round_index - 1:
                raise ScenarioError(
                    f"round {round_index}: a schedule looks at losses, and those of round "
                    f"{len(known) + 1} are not known yet; run that round first."
                )
        return View(
            round_index,
            asked=None if present is None else _places(self.base, present),
            last_used=self._last_used(round_index) if Need.HISTORY in needs else None,
            losses=known,
        )

    def _last_used(self, round_index: int) -> NDArray[np.int64]:
        # Who takes part is drawn by name, so history is no state: it is drawn again.
        last = np.zeros(len(self.base), dtype=np.int64)
        for earlier in range(1, round_index):
            last[_places(self.base, self.participants(earlier))] = earlier
        return last

    def _planned(self, client_id: str, planned: ClientPlan, round_index: int) -> PlannedClient:
        rows, seed = self.rows[client_id], self.options.seed
        orders = [
            _order(seed, round_index, client_id, epoch, rows.num_rows, text.num_samples)
            for epoch, text in enumerate(planned.train_epochs)
        ]
        epochs = tuple(
            _with_lengths(text, rows, order)
            for text, order in zip(planned.train_epochs, orders, strict=True)
        )
        return PlannedClient(
            replace(planned, train_epochs=epochs, public_text=self._public(planned)),
            tuple(row for order in orders for row in order),
        )

    def _public(self, planned: ClientPlan) -> TextLengths | None:
        if self.public is None:
            return None
        text = planned.public_text or planned.train_epochs[0]
        return _with_lengths(text, self.public, range(self.public.num_rows))


def unknown_facts(
    plans: Mapping[str, ClientPlan], rows: Mapping[str, EncodedDataset]
) -> ClientFacts:
    """What is known of clients that are on no link and no device: their number of samples."""
    num = len(plans)
    nothing = np.full(num, np.nan)
    return ClientFacts(
        class_names=("clients",),
        class_index=np.zeros(num, dtype=np.int32),
        num_samples=np.array([rows[cid].num_rows for cid in plans], dtype=np.int64),
        slowdown=np.ones(num),
        uplink=nothing,
        downlink=nothing,
        round_trip=nothing,
    )


def _places(ids: Mapping[str, object], chosen: Sequence[str]) -> NDArray[np.int64]:
    place = {cid: index for index, cid in enumerate(ids)}
    return np.array(sorted(place[cid] for cid in chosen), dtype=np.int64)


def _order(
    seed: int, round_index: int, client_id: str, epoch: int, num_rows: int, num_samples: int
) -> list[int]:
    """Rows of one epoch: all in an order of its own; over and over where more are asked for."""
    order = visiting_order(seed, round_index, client_id, epoch, num_rows)
    return [int(row) for row in np.resize(order, num_samples)]


def _with_lengths(text: TextLengths, rows: EncodedDataset, order: Sequence[int]) -> TextLengths:
    lengths = tuple(rows.lengths[np.asarray(order, dtype=np.int64)].tolist())
    return TextLengths(len(lengths), rows.max_tokens, text.padding, lengths)
