"""Two ledgers side by side: the first counted difference is named, to the unit."""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.errors import AgreementError
from fedsim.ledger import COUNTED, Ledger, LedgerRow, RowKey

__all__ = ["Difference", "check_agreement", "differences"]


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


def differences(predicted: Ledger, measured: Ledger) -> list[Difference]:
    """All counted fields in which two ledgers differ, in the order of the first ledger's rows.

    A row that stands in one ledger only is compared with zeros.
    """
    found: list[Difference] = []
    keys = dict.fromkeys([*predicted.rows, *measured.rows])
    for key in keys:
        one = predicted.rows.get(key, LedgerRow())
        other = measured.rows.get(key, LedgerRow())
        for field in COUNTED:
            first, second = getattr(one, field), getattr(other, field)
            if first != second:
                found.append(Difference(key, field, first, second))
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
