"""From a kernel's sums by group and stage to ledger rows by class and step."""

from __future__ import annotations

from typing import Final

import numpy as np

from fedsim.cost.step_row import step_row
from fedsim.fleet.simulation import Simulation
from fedsim.ledger import COUNTED, Ledger, LedgerRow, Outcome, RowKey
from fedsim.protocol.step import Direction, Transfer
from fedsim.scale.program import Program
from fedsim.scale.records import Records
from fedsim.scale.segment import STEP_SUMS

__all__ = ["ledger_rows"]

_OUTCOMES: Final[tuple[Outcome, ...]] = ("used", "late", "lost")
_SECONDS: Final = ("compute_s", "server_s", "transfer_s", "wait_s")


def ledger_rows(
    simulation: Simulation,
    programs: tuple[Program, ...],
    sums: Records,
    round_index: int,
    ledger: Ledger,
) -> None:
    """Add one row for each class, step and outcome.

    Integers are Python's: a million clients' FLOP in a round do not fit 64 bits.
    """
    for group_index, program in enumerate(programs):
        group = simulation.population.groups[group_index]
        party = simulation.population.class_names[group.class_index]
        own = _by_step(program, sums[group_index])
        for place in map(tuple, np.argwhere(np.isfinite(own["start_s"])).tolist()):
            step = program.distinct[place[0]]
            row = _multiplied(step_row(step, 1, group.plan.training), int(own["executions"][place]))
            for name in _SECONDS:
                setattr(row, name, float(own[name][place]))
            if isinstance(step, Transfer):
                way = "uplink" if step.direction is Direction.UP else "downlink"
                _add(row, f"{way}_message_bytes", int(own["cut_bytes"][place]))
                _add(row, f"{way}_payload_bytes", int(own["cut_payload"][place]))
            if row == LedgerRow():
                # Cut off as it began.
                continue
            row.start_s = float(own["start_s"][place])
            key = RowKey(round_index, party, step.label, 0, _OUTCOMES[place[1]])
            known = ledger.rows.get(key)
            if known is not None:
                row.start_s = known.start_s = min(row.start_s, known.start_s)
            ledger.add(key, row)


def _by_step(program: Program, sums: Records) -> Records:
    """Sums of one group by different step and outcome, shape (K, 3)."""
    place = np.array(program.distinct_of, dtype=np.int64)
    found = np.zeros((len(program.distinct), sums.shape[1]), STEP_SUMS)
    found["start_s"] = np.inf
    for name in STEP_SUMS.names or ():
        gather = np.minimum if name == "start_s" else np.add
        gather.at(found[name], place, sums[name][: len(place)])
    return found


def _add(row: LedgerRow, name: str, amount: int) -> None:
    setattr(row, name, getattr(row, name) + amount)


def _multiplied(row: LedgerRow, times: int) -> LedgerRow:
    product = LedgerRow()
    for name in COUNTED:
        setattr(product, name, getattr(row, name) * times)
    return product
