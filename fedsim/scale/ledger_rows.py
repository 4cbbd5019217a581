"""From a kernel's sums by variant and stage to ledger rows by class and step."""

from __future__ import annotations

from typing import Final

import numpy as np

from fedsim.fleet.simulation import Simulation
from fedsim.fleet.step_row import step_row
from fedsim.ledger import COUNTED, Ledger, LedgerRow, Outcome, RowKey
from fedsim.protocol.step import Direction, Transfer
from fedsim.scale.segment import Tally
from fedsim.scale.stages import Program

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
        starts = tally.start_s[variant_index]
        for stage_index, outcome in np.argwhere(np.isfinite(starts)):
            stage = program.stages[stage_index]
            place = variant_index, stage_index, outcome
            row = _multiplied(
                step_row(stage.step, 1, variant.plan.training), int(tally.executions[place])
            )
            for name in _SECONDS:
                setattr(row, name, float(getattr(tally, name)[place]))
            if isinstance(stage.step, Transfer):
                is_up = stage.step.direction is Direction.UP
                way = "uplink" if is_up else "downlink"
                cut, payload = int(tally.cut_bytes[place]), int(tally.cut_payload[place])
                _add(row, f"{way}_message_bytes", cut)
                _add(row, f"{way}_payload_bytes", payload)
            if row == LedgerRow():
                # Cut off as it began.
                continue
            row.start_s = float(starts[stage_index, outcome])
            key = RowKey(round_index, party, stage.step.label, 0, _OUTCOMES[outcome])
            known = ledger.rows.get(key)
            if known is not None:
                row.start_s = known.start_s = min(row.start_s, known.start_s)
            ledger.add(key, row)


def _add(row: LedgerRow, name: str, amount: int) -> None:
    setattr(row, name, getattr(row, name) + amount)


def _multiplied(row: LedgerRow, times: int) -> LedgerRow:
    product = LedgerRow()
    for name in COUNTED:
        setattr(product, name, getattr(row, name) * times)
    return product
