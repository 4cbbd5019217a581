"""Who did how much: sums over clients and attempts by round, group, segment, step and outcome."""

from __future__ import annotations

from math import inf
from typing import TypeVar

from fedsim.cost.step_row import step_row
from fedsim.des.task import Task
from fedsim.ledger import SERVER, Ledger, LedgerRow, Outcome, RowKey
from fedsim.protocol.step import Compute, Direction, Transfer
from fedsim.spec.plan import TrainingSpec

__all__ = ["LedgerSums", "StepSums"]

_Key = TypeVar("_Key")


class StepSums:
    """One step's executions and seconds.

    Attributes
    ----------
    executions : int
        Finished ones; messages that were sent in full.
    cut_bytes, cut_payload_bytes : int
        Of messages that were cut off, as message and as payload.
    compute_s, server_s, transfer_s, wait_s : float
        ``server_s`` is the server's share of ``compute_s`` [s].
    start_s : float
        First start [s].
    """

    __slots__ = (
        "compute_s",
        "cut_bytes",
        "cut_payload_bytes",
        "executions",
        "server_s",
        "start_s",
        "transfer_s",
        "wait_s",
    )

    def __init__(self, start_s: float = inf) -> None:
        self.executions = self.cut_bytes = self.cut_payload_bytes = 0
        self.compute_s = self.server_s = self.transfer_s = self.wait_s = 0.0
        self.start_s = start_s

    @property
    def is_empty(self) -> bool:
        """Whether nothing was done and no time passed, as where a step was cut as it began."""
        return not (
            self.executions or self.cut_bytes or self.compute_s or self.transfer_s or self.wait_s
        )

    def add(self, other: StepSums) -> None:
        """Add another's sums; the earlier start stays."""
        self.executions += other.executions
        self.cut_bytes += other.cut_bytes
        self.cut_payload_bytes += other.cut_payload_bytes
        self.compute_s += other.compute_s
        self.server_s += other.server_s
        self.transfer_s += other.transfer_s
        self.wait_s += other.wait_s
        if other.start_s < self.start_s:
            self.start_s = other.start_s

    def row(self, step: Compute | Transfer, training: TrainingSpec) -> LedgerRow:
        """As a row of the ledger."""
        row = step_row(step, self.executions, training)
        if isinstance(step, Transfer):
            if step.direction is Direction.UP:
                row.uplink_message_bytes += self.cut_bytes
                row.uplink_payload_bytes += self.cut_payload_bytes
            else:
                row.downlink_message_bytes += self.cut_bytes
                row.downlink_payload_bytes += self.cut_payload_bytes
        row.start_s = self.start_s
        row.compute_s, row.server_s = self.compute_s, self.server_s
        row.transfer_s, row.wait_s = self.transfer_s, self.wait_s
        return row


class LedgerSums:
    """All sums of a run."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int, int, Outcome], tuple[Task, list[StepSums | None]]] = {}
        self._parties: dict[tuple[int, int], str] = {}
        self._server: dict[tuple[int, str], LedgerRow] = {}

    def add(
        self,
        round_index: int,
        group: int,
        party: str,
        segment: int,
        outcome: Outcome,
        task: Task,
        step_sums: list[StepSums | None],
    ) -> None:
        """Add one attempt's sums, one for each of the task's steps that were started.

        The lists and what is in them are this object's from then on.
        """
        key = (round_index, group, segment, outcome)
        found = self._sums.get(key)
        if found is None:
            self._sums[key] = (task, step_sums)
            self._parties[round_index, group] = party
            return
        known = found[1]
        for index, sums in enumerate(step_sums):
            if sums is None:
                continue
            total = known[index]
            if total is None:
                known[index] = sums
            else:
                total.add(sums)

    def add_server(
        self, round_index: int, step: Compute | Transfer, sums: StepSums, training: TrainingSpec
    ) -> None:
        """Add a step that the server did once for all."""
        _merge(self._server, (round_index, step.label), sums.row(step, training))

    def ledger(self) -> Ledger:
        """Rows by round, party, step and outcome; clients' ahead of the server's."""
        rows: dict[RowKey, LedgerRow] = {}
        # Sums over steps must not depend on the order in which clients happened to finish.
        for (round_index, group, _, outcome), (task, step_sums) in sorted(
            self._sums.items(), key=lambda item: item[0]
        ):
            party = self._parties[round_index, group]
            for step, sums in zip(task.steps, step_sums, strict=True):
                if sums is not None and not sums.is_empty:
                    key = RowKey(round_index, party, step.label, 0, outcome)
                    _merge(rows, key, sums.row(step, task.training))
        for (round_index, label), row in self._server.items():
            rows[RowKey(round_index, SERVER, label)] = row
        return Ledger(rows)


def _merge(rows: dict[_Key, LedgerRow], key: _Key, row: LedgerRow) -> None:
    known = rows.get(key)
    if known is None:
        rows[key] = row
        return
    known.add(row)
    known.start_s = min(known.start_s, row.start_s)
