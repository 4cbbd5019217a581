"""From a kernel's sums by variant and stage to ledger rows by class and step."""

from __future__ import annotations

from typing import Final

import numpy as np

from fedsim.cost.step_row import step_row
from fedsim.fleet.simulation import Simulation
from fedsim.ledger import COUNTED, Ledger, LedgerRow, Outcome, RowKey
from fedsim.protocol.step import Direction, Transfer
from fedsim.scale.program import Program
from fedsim.scale.segment import Tally

__all__ = ["ledger_rows"]

_OUTCOMES: Final[tuple[Outcome, ...]] = ("used", "late", "lost")
_SECONDS: Final = ("compute_s", "server_s", "transfer_s", "wait_s")


def ledger_rows(
    simulation: Simulation,
    programs: tuple[Program, ...],
    tally: Tally,
    round_index: int,
    ledger: Ledger,
) -> None:
    """Add one row for each class, step and outcome.

    Integers are Python's: a million clients' FLOP in a round do not fit 64 bits.
    """
    for variant_index, program in enumerate(programs):
        variant = simulation.population.variants[variant_index]
        party = simulation.population.class_names[variant.class_index]
        sums = _by_step(program, tally, variant_index)
        for place in map(tuple, np.argwhere(np.isfinite(sums.start_s)).tolist()):
            step = program.distinct[place[0]]
            row = _multiplied(step_row(step, 1, variant.plan.training), int(sums.executions[place]))
            for name in _SECONDS:
                setattr(row, name, float(getattr(sums, name)[place]))
            if isinstance(step, Transfer):
                way = "uplink" if step.direction is Direction.UP else "downlink"
                _add(row, f"{way}_message_bytes", int(sums.cut_bytes[place]))
                _add(row, f"{way}_payload_bytes", int(sums.cut_payload[place]))
            if row == LedgerRow():
                # Cut off as it began.
                continue
            row.start_s = float(sums.start_s[place])
            key = RowKey(round_index, party, step.label, 0, _OUTCOMES[place[1]])
            known = ledger.rows.get(key)
            if known is not None:
                row.start_s = known.start_s = min(row.start_s, known.start_s)
            ledger.add(key, row)


def _by_step(program: Program, tally: Tally, variant_index: int) -> Tally:
    """Sums of one variant by different step and outcome, shape (K, 3)."""
    place = np.array(program.distinct_of, dtype=np.int64)
    found = []
    for name, values in zip(Tally._fields, tally, strict=True):
        own = values[variant_index, : len(place)]
        if name == "start_s":
            total = np.full((len(program.distinct), own.shape[1]), np.inf)
            np.minimum.at(total, place, own)
        else:
            total = np.zeros((len(program.distinct), own.shape[1]), own.dtype)
            np.add.at(total, place, own)
        found.append(total)
    return Tally(*found)


def _add(row: LedgerRow, name: str, amount: int) -> None:
    setattr(row, name, getattr(row, name) + amount)


def _multiplied(row: LedgerRow, times: int) -> LedgerRow:
    product = LedgerRow()
    for name in COUNTED:
        setattr(product, name, getattr(row, name) * times)
    return product
