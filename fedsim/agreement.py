"""Two ledgers side by side: the first counted difference is named, to the unit.

Also the outcome of a verification, which is such a comparison with seconds and memory beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from fedsim.errors import AgreementError
from fedsim.ledger import COUNTED, Ledger, LedgerRow, RowKey

__all__ = ["Difference", "StepCheck", "Verification", "check_agreement", "differences"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One counted field in which two ledgers differ."""

    key: RowKey
    field: str
    predicted: int
    measured: int

    def __str__(self) -> str:
        key = self.key
        return (
            f"round {key.round_index}, {key.party}, step {key.step}: {self.field} predicted "
            f"{self.predicted:,}, measured {self.measured:,} "
            f"({self.measured - self.predicted:+,})"
        )


@dataclass(frozen=True, slots=True)
class StepCheck:
    """One step, all clients and rounds summed.

    Attributes
    ----------
    step : str
    predicted, measured : LedgerRow
        Counted fields by formula and by meter.
    predicted_s, measured_s : float or None
        Seconds of computing in one round, all clients summed [s]; None for a transfer, whose time
        in one process is no link's, or where no profile is given.
    predicted_interval_s : (float, float) or None
        The profile's 95 % interval of the prediction [s].
    """

    step: str
    predicted: LedgerRow
    measured: LedgerRow
    predicted_s: float | None
    measured_s: float | None
    predicted_interval_s: tuple[float, float] | None = None

    @property
    def ratio(self) -> float | None:
        """Measured over predicted seconds."""
        if not self.measured_s or not self.predicted_s:
            return None
        return self.measured_s / self.predicted_s

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the profile's interval has that ratio."""
        if not self.predicted_s or self.predicted_interval_s is None:
            return None
        low, high = self.predicted_interval_s
        return low / self.predicted_s, high / self.predicted_s

    def is_outside(self, slowness: float = 1.0) -> bool:
        """Whether the ratio, by a machine that is so much slower now, leaves the interval."""
        if self.ratio is None or self.interval is None:
            return False
        low, high = self.interval
        return not low <= self.ratio / slowness <= high


@dataclass(frozen=True)
class Verification:
    """Outcome of verifying one framework.

    Attributes
    ----------
    framework : str
    steps : tuple of StepCheck
        In the order of the protocol, set-up first.
    found : tuple of Difference
        Empty where everything agrees.
    predicted_memory, measured_memory : dict of str to int
        Peak bytes of a client (the largest of all) and of the server [B].
    timed_rounds : int
    profile_name, profile_source : str or None
        What seconds were predicted with, and where it was measured.
    sentinel_ratios : mapping of str to float
        Each of the profile's sentinels: its time just before the rounds over the profile's.
    case : str
        The scenario's case that was run.
    """

    framework: str
    steps: tuple[StepCheck, ...]
    found: tuple[Difference, ...]
    predicted_memory: dict[str, int]
    measured_memory: dict[str, int]
    timed_rounds: int
    profile_name: str | None
    profile_source: str | None = None
    sentinel_ratios: Mapping[str, float] = field(default_factory=dict)
    case: str = ""

    @property
    def slowness(self) -> float | None:
        """Median of the sentinels' ratios: how much slower the machine is than it was measured."""
        return median(self.sentinel_ratios.values()) if self.sentinel_ratios else None

    @property
    def agrees(self) -> bool:
        """Whether every counted field of every row is equal."""
        return not self.found

    def as_dict(self) -> dict[str, Any]:
        """The outcome as plain values for JSON."""
        return {
            "case": self.case,
            "framework": self.framework,
            "agrees": self.agrees,
            "first_difference": str(self.found[0]) if self.found else None,
            "num_differences": len(self.found),
            "steps": [_step_dict(step) for step in self.steps],
            "peak_memory_bytes": {
                party: {
                    "predicted": self.predicted_memory[party],
                    "measured": self.measured_memory[party],
                }
                for party in self.predicted_memory
            },
            "timed_rounds": self.timed_rounds,
            "profile": self.profile_name,
            "sentinel_ratios": dict(self.sentinel_ratios),
            "slowness": self.slowness,
        }


def differences(predicted: Ledger, measured: Ledger) -> list[Difference]:
    """All counted fields in which two ledgers differ, in the order of the first ledger's rows.

    A row that stands in one ledger only is compared with zeros.
    """
    found: list[Difference] = []
    keys = dict.fromkeys([*predicted.rows, *measured.rows])
    for key in keys:
        one = predicted.rows.get(key, LedgerRow())
        other = measured.rows.get(key, LedgerRow())
        for name in COUNTED:
            first, second = getattr(one, name), getattr(other, name)
            if first != second:
                found.append(Difference(key, name, first, second))
    return found


def check_agreement(predicted: Ledger, measured: Ledger) -> None:
    """Raise unless two ledgers agree.

    Raises
    ------
    AgreementError
        Naming the first row that differs and how many more do.
    """
    found = differences(predicted, measured)
    if found:
        more = f" ({len(found) - 1} more differences)" if len(found) > 1 else ""
        raise AgreementError(f"{found[0]}{more}")


def _step_dict(check: StepCheck) -> dict[str, Any]:
    def counts(row: LedgerRow) -> dict[str, int]:
        return {
            "uplink_payload_bytes": row.uplink_payload_bytes,
            "downlink_payload_bytes": row.downlink_payload_bytes,
            "uplink_message_bytes": row.uplink_message_bytes,
            "downlink_message_bytes": row.downlink_message_bytes,
            "client_flop": row.client_flop,
            "server_flop": row.server_flop,
            "messages": row.messages,
            "tokens": row.tokens,
        }

    return {
        "step": check.step,
        "predicted": counts(check.predicted),
        "measured": counts(check.measured),
        "predicted_s": check.predicted_s,
        "predicted_interval_s": None
        if check.predicted_interval_s is None
        else list(check.predicted_interval_s),
        "measured_s": check.measured_s,
    }
