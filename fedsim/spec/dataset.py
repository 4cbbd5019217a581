"""Which texts a real run reads: a data set by name, or a CSV file of one's own.

Needs neither the texts nor torch, so that a file can be read and refused without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

__all__ = ["DATA_SOURCES", "UNLABELED", "DataSource", "OwnTexts", "TextSource"]

DataSource = Literal["banking77", "banking77-hub", "clinc150", "e2e", "wikitext2", "generated"]
DATA_SOURCES: Final[tuple[DataSource, ...]] = get_args(DataSource)

#: Those whose texts have no labels.
UNLABELED: Final = frozenset({"e2e", "wikitext2"})


@dataclass(frozen=True, slots=True)
class OwnTexts:
    """A CSV file of one's own, with a header.

    Attributes
    ----------
    path : Path
        Training rows.
    text_column : str
    label_column : str or None
        None reads texts alone.
    test_path : Path or None
        Test rows, with the same columns.
    test_share : float
        Share of ``path`` that is held out for tests where there is no ``test_path``.
    """

    path: Path
    text_column: str = "text"
    label_column: str | None = None
    test_path: Path | None = None
    test_share: float = 0.2


#: What a run reads its texts from.
TextSource = DataSource | OwnTexts
