"""Results as columns, for pandas and Arrow.

Decides the types: text, whole numbers, numbers and switches, each of which may lack a value. What
the columns are is for the results to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from fedsim.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Column", "Kind", "Table", "at", "column_of"]

Kind = Literal["text", "integer", "number", "flag"]

_PANDAS: Final[Mapping[Kind, str]] = {
    "text": "string",
    "integer": "Int64",
    "number": "Float64",
    "flag": "boolean",
}
_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True)
class Column:
    """Values of one kind.

    Attributes
    ----------
    kind : str
        ``integer`` stands for numbers of which some may be fractions: where one is, or is too large
        for 64 bits, all are ``number``.
    values : tuple
        None where there is none.
    """

    kind: Kind
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if self.kind == "integer" and not all(_is_whole(v) for v in self.values if v is not None):
            object.__setattr__(self, "kind", "number")
        if self.kind == "number":
            numbers = tuple(None if value is None else float(value) for value in self.values)
            object.__setattr__(self, "values", numbers)


@dataclass(frozen=True)
class Table:
    """Columns of one length by their names."""

    columns: Mapping[str, Column]

    def to_pandas(self) -> pd.DataFrame:
        """A frame with types that may lack a value, which is then ``NA``.

        Raises
        ------
        ScenarioError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ScenarioError(
                "to_pandas() needs pandas; install it with: pip install 'fedsim-llm[tables]'"
            ) from error
        return pandas.DataFrame(
            {
                name: pandas.array(list(column.values), dtype=_PANDAS[column.kind])
                for name, column in self.columns.items()
            }
        )

    def to_arrow(self) -> pa.Table:
        """The same as an Arrow table; a missing value is null.

        Raises
        ------
        ScenarioError
            If pyarrow is not installed.
        """
        try:
            import pyarrow
        except ImportError as error:
            raise ScenarioError(
                "to_arrow() needs pyarrow; install it with: pip install pyarrow"
            ) from error
        types = {
            "text": pyarrow.string(),
            "integer": pyarrow.int64(),
            "number": pyarrow.float64(),
            "flag": pyarrow.bool_(),
        }
        return pyarrow.table(
            {
                name: pyarrow.array(column.values, type=types[column.kind])
                for name, column in self.columns.items()
            }
        )


def at(table: Mapping[str, Any], path: str) -> Any:
    """What stands at a dotted path of nested tables; None where a part of it is missing."""
    found: Any = table
    for name in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def column_of(values: Iterable[Any]) -> Column:
    """A column of a user's values; of mixed ones and lists, their JSON as text."""
    given = tuple(values)
    known: Sequence[Any] = [value for value in given if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return Column("flag", given)
    if known and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in known):
        return Column("integer", given)
    return Column("text", tuple(None if value is None else _text(value) for value in given))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and -_LARGEST <= value <= _LARGEST
