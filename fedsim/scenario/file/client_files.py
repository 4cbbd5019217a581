"""CSV files that a scenario names: figures of single clients, rate traces, availability traces.

Every mistake names the file, the row and the column. Units stand in the columns' names, so that a
bare number has one meaning.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Final, TypeVar

from fedsim.errors import ScenarioError, nearest
from fedsim.spec.availability import Trace
from fedsim.spec.distribution import Table
from fedsim.spec.link import RateTrace
from fedsim.text_file import read_text
from fedsim.units import parse_bytes_per_s, parse_seconds

__all__ = ["ClientFigures", "read_availability", "read_client_figures", "read_rate_trace"]

_Built = TypeVar("_Built", Trace, RateTrace)

_MAX_FILE_BYTES: Final = 50_000_000
_KBIT_BYTES: Final = parse_bytes_per_s("1 kbit/s")
_MBIT_BYTES: Final = parse_bytes_per_s("1 Mbit/s")
_MS: Final = parse_seconds("1 ms")

#: Columns of a table of clients: which figures each sets, and what one unit of it is.
_COLUMNS: Final[Mapping[str, tuple[tuple[str, ...], float]]] = {
    "uplink_mbit_per_s": (("uplink",), _MBIT_BYTES),
    "uplink_kbit_per_s": (("uplink",), _KBIT_BYTES),
    "downlink_mbit_per_s": (("downlink",), _MBIT_BYTES),
    "downlink_kbit_per_s": (("downlink",), _KBIT_BYTES),
    "communication_kbit_per_s": (("uplink", "downlink"), _KBIT_BYTES),
    "round_trip_ms": (("round_trip",), _MS),
    "slowdown": (("slowdown",), 1.0),
    "computation_ms_per_sample": (("sample_s",), _MS),
    "samples": (("samples",), 1.0),
}


@dataclass(frozen=True)
class ClientFigures:
    """Columns of a table of clients, in base units.

    Attributes
    ----------
    columns : mapping
        ``uplink``, ``downlink`` [B/s], ``round_trip`` [s], ``slowdown``, ``sample_s`` [s a
        training sample], ``samples``: those that the file has.
    """

    columns: Mapping[str, tuple[float, ...]] = field(hash=False)

    def table(self, name: str) -> Table | None:
        """One column as a law; its rows are drawn jointly with the other columns'."""
        values = self.columns.get(name)
        return None if values is None else Table(values)


def read_client_figures(path: Path) -> ClientFigures:
    """Read a table with one row for each client.

    FedScale's device capacities go into ``computation_ms_per_sample`` and
    ``communication_kbit_per_s``.

    Raises
    ------
    ScenarioError
        If the file is missing or a column or cell is of no use.
    """
    names, rows = _rows(path)
    unknown = [name for name in names if name not in _COLUMNS]
    if unknown:
        raise ScenarioError(
            f"'{path.name}': column {unknown[0]!r}: allowed: {', '.join(_COLUMNS)}."
            f"{nearest(unknown[0], _COLUMNS)}"
        )
    columns: dict[str, tuple[float, ...]] = {}
    for place, name in enumerate(names):
        figures, unit = _COLUMNS[name]
        values = tuple(
            unit * _number(path, line, name, row[place], positive=True) for line, row in rows
        )
        for figure in figures:
            if figure in columns:
                raise ScenarioError(
                    f"'{path.name}': column {name!r}: another one gives {figure} too."
                )
            columns[figure] = values
    if {"slowdown", "sample_s"} <= set(columns):
        raise ScenarioError(
            f"'{path.name}': slowdown and computation_ms_per_sample both say how fast a client is; "
            "leave one of them out."
        )
    whole = columns.get("samples", ())
    for (line, _), value in zip(rows, whole, strict=False):
        if value != int(value) or value > 1_000_000:
            raise ScenarioError(
                f"'{path.name}', line {line}: samples = {value:g}; allowed: whole numbers from 1 "
                "to 1,000,000."
            )
    return ClientFigures(columns)


def read_rate_trace(path: Path, period_s: float) -> RateTrace:
    """Read a rate trace: columns ``time_s`` and ``factor``."""
    rows = _columns(path, ("time_s", "factor"))
    times = tuple(_number(path, line, "time_s", row[0]) for line, row in rows)
    factors = tuple(_number(path, line, "factor", row[1]) for line, row in rows)
    return _named(path, lambda: RateTrace(times, factors, period_s))


def read_availability(path: Path, period_s: float) -> Trace:
    """Read an availability trace: columns ``client``, ``start_s`` and ``end_s``."""
    stays: dict[str, list[tuple[float, float]]] = {}
    for line, row in _columns(path, ("client", "start_s", "end_s")):
        start = _number(path, line, "start_s", row[1])
        end = _number(path, line, "end_s", row[2])
        stays.setdefault(row[0], []).append((start, end))
    rows = tuple(tuple(sorted(stays[client])) for client in sorted(stays))
    return _named(path, lambda: Trace(rows, period_s))


def _named(path: Path, build: Callable[[], _Built]) -> _Built:
    try:
        return build()
    except ScenarioError as error:
        raise ScenarioError(f"'{path.name}': {error}") from error


def _columns(path: Path, wanted: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Rows with the wanted columns, in that order."""
    names, rows = _rows(path)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ScenarioError(
            f"'{path.name}': no column {missing[0]!r}; needed: {', '.join(wanted)}; found: "
            f"{', '.join(names)}."
        )
    places = [names.index(name) for name in wanted]
    return [(line, [row[place] for place in places]) for line, row in rows]


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header, and rows with their line numbers."""
    try:
        if not path.is_file():
            raise ScenarioError(f"'{path.name}': there is no such file beside the scenario.")
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ScenarioError(f"'{path.name}': larger than {_MAX_FILE_BYTES:,} B.")
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{path.name[:60]!r}: cannot be read ({error}).") from error
    text = read_text(path, f"'{path.name}'")
    try:
        lines = list(csv.reader(text.splitlines(), strict=True))
    except csv.Error as error:
        raise ScenarioError(f"'{path.name}': not a CSV table ({error}).") from error
    if len(lines) < 2:
        raise ScenarioError(f"'{path.name}': needs a header and at least one row.")
    names = [name.strip() for name in lines[0]]
    if len(set(names)) < len(names):
        raise ScenarioError(f"'{path.name}': a column is there twice.")
    rows = []
    for line, row in enumerate(lines[1:], start=2):
        if not row:
            continue
        if len(row) != len(names):
            raise ScenarioError(
                f"'{path.name}', line {line}: {len(row)} cells; the header has {len(names)} "
                "columns."
            )
        rows.append((line, [cell.strip() for cell in row]))
    if not rows:
        raise ScenarioError(f"'{path.name}': needs at least one row.")
    return names, rows


def _number(path: Path, line: int, column: str, cell: str, *, positive: bool = False) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value < 0 or (positive and value == 0):
        allowed = "a positive number" if positive else "a number of at least 0"
        raise ScenarioError(
            f"'{path.name}', line {line}, column {column}: {cell[:40]!r}; needed: {allowed}."
        )
    return value
