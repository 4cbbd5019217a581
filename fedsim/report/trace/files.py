"""A simulated run's trace as files: Parquet for programs, Chrome's trace format for the eye.

Decides columns and keys. The order of the events is the giver's: an engine sorts them by start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

from fedsim.errors import ScenarioError
from fedsim.files import replaced
from fedsim.fleet.trace import TraceEvent
from fedsim.version import __version__

__all__ = ["TRACE_SCHEMA", "class_of", "trace_paths", "write_trace"]

TRACE_SCHEMA: Final = 1
_SUFFIXES: Final = (".parquet", ".json")
#: Events that are held as columns and text at a time: some tens of MB.
_CHUNK: Final = 100_000
_SERVER_PROCESS: Final = 1


def trace_paths(path: Path) -> tuple[Path, Path]:
    """The Parquet and the JSON file that ``path`` stands for, with or without one's suffix."""
    stem = path.with_suffix("") if path.suffix.lower() in _SUFFIXES else path
    parquet, chrome = (stem.with_name(f"{stem.name}{suffix}") for suffix in _SUFFIXES)
    return parquet, chrome


def class_of(party: str) -> str:
    """The class of a client's id: ``phones`` of ``phones/17``; an id without number is a class."""
    return re.sub(r"/\d+$", "", party)


def write_trace(events: Iterable[TraceEvent], path: Path) -> tuple[Path, Path]:
    """Write a trace as Parquet and in Chrome's trace event format.

    Parameters
    ----------
    events : iterable of TraceEvent
        Sorted by start; it is gone through once, so it need not fit in memory.
    path : Path
        Without suffix, or with one of ``.parquet`` and ``.json``; both files are written.

    Returns
    -------
    tuple of Path
        The Parquet file and the JSON file.

    Raises
    ------
    ScenarioError
        If one of them cannot be written; what was there stays.

    Notes
    -----
    The Parquet file has a column for each attribute of :class:`TraceEvent`, under its name.
    The JSON file opens in Perfetto and in Chrome's ``about:tracing``: one process for the server
    and each class, one thread a client. Its times are rounded to whole nanoseconds, ends like
    starts, so that what follows each other does not overlap.

    References
    ----------
    Chrome's trace event format (Google, "Trace Event Format", 2016): complete events (``X``) with
    ``ts`` and ``dur`` in microseconds, metadata events (``M``).
    """
    paths = trace_paths(path)
    try:
        with replaced(*paths) as parts:
            _write(iter(events), *parts)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ScenarioError(f"{path}: the trace cannot be written ({reason}).") from error
    return paths


def _write(events: Iterator[TraceEvent], parquet_path: Path, chrome_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema(pa)
    with ExitStack() as stack:
        writer = stack.enter_context(
            parquet.ParquetWriter(parquet_path, schema, compression="zstd")
        )
        chrome = ChromeTrace(stack.enter_context(chrome_path.open("w", encoding="utf-8")))
        while chunk := list(islice(events, _CHUNK)):
            columns = [[getattr(event, name) for event in chunk] for name in schema.names]
            arrays = [
                pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            chrome.add(chunk)
        chrome.end()


def _schema(pa: Any) -> Any:
    types = {
        "round_index": pa.int64(),
        "party": pa.string(),
        "client_index": pa.int64(),
        "step": pa.string(),
        "attempt": pa.int64(),
        "kind": pa.string(),
        "start_s": pa.float64(),
        "end_s": pa.float64(),
        "num_bytes": pa.int64(),
        "outcome": pa.string(),
    }
    fields = [pa.field(name, kind, nullable=False) for name, kind in types.items()]
    return pa.schema(
        fields, metadata={"fedsim": __version__, "fedsim_trace_schema": str(TRACE_SCHEMA)}
    )


class ChromeTrace:
    """Events in Chrome's format, written as they come.

    Parameters
    ----------
    file : TextIO
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._separator = ""
        self._processes: dict[str, int] = {}
        self._named: set[int] = set()
        about = json.dumps({"fedsim": __version__, "schema": TRACE_SCHEMA})
        file.write(f'{{"displayTimeUnit":"ms","otherData":{about},"traceEvents":[\n')

    def add(self, events: Iterable[TraceEvent]) -> None:
        """Write some events, each client's name ahead of its first."""
        lines: list[str] = []
        for event in events:
            if event.client_index not in self._named:
                self._named.add(event.client_index)
                lines.extend(self._names(event))
            lines.append(self._line(event))
        if lines:
            self._file.write(self._separator + ",\n".join(lines))
            self._separator = ",\n"

    def end(self) -> None:
        """Close the list: only then is it JSON."""
        self._file.write("\n]}\n")

    def _names(self, event: TraceEvent) -> Iterator[str]:
        is_server = event.client_index < 0
        process = "server" if is_server else f"clients: {class_of(event.party)}"
        if process not in self._processes:
            self._processes[process] = _SERVER_PROCESS if is_server else 2 + len(self._processes)
            yield _metadata("process_name", self._processes[process], 0, process)
        yield _metadata(
            "thread_name", self._processes[process], _thread(event.client_index), event.party
        )

    def _line(self, event: TraceEvent) -> str:
        is_server = event.client_index < 0
        process = "server" if is_server else f"clients: {class_of(event.party)}"
        start_ns, end_ns = round(event.start_s * 1e9), round(event.end_s * 1e9)
        return (
            f'{{"name":{_quoted(event.step)},"cat":"{event.kind}","ph":"X",'
            f'"ts":{_microseconds(start_ns)},"dur":{_microseconds(end_ns - start_ns)},'
            f'"pid":{self._processes[process]},"tid":{_thread(event.client_index)},'
            f'"args":{{"round":{event.round_index},"attempt":{event.attempt},'
            f'"bytes":{event.num_bytes},"outcome":"{event.outcome}"}}}}'
        )


def _thread(client_index: int) -> int:
    """A number above 0, which Perfetto takes for the idle thread."""
    return client_index + 2


def _metadata(name: str, process: int, thread: int, value: str) -> str:
    return json.dumps(
        {"name": name, "ph": "M", "pid": process, "tid": thread, "args": {"name": value}}
    )


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return json.dumps(text)


def _microseconds(nanoseconds: int) -> str:
    """Exact decimals, for floats of microseconds lose nanoseconds in long runs."""
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03d}"
