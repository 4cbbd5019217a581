"""A trace's two files: complete, exact and in the formats that other programs read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

import fedsim.report.trace.files as trace_module
from fedsim import __version__
from fedsim.errors import ScenarioError
from fedsim.fleet.trace import TraceEvent
from fedsim.report.trace.files import TRACE_SCHEMA, class_of, trace_paths, write_trace
from traces import BUFFERED, ROUNDS, event

NAMES = tuple(TraceEvent.__dataclass_fields__)


def chrome_events(path: Path, phase: str) -> list[dict[str, Any]]:
    """Events of one phase in the JSON file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return [e for e in document["traceEvents"] if e["ph"] == phase]


def test_reading_parquet_gives_the_events_back(tmp_path: Path) -> None:
    """Every column, in the order of the trace."""
    written, _ = write_trace(ROUNDS, tmp_path / "run")
    rows = parquet.read_table(written).to_pylist()

    assert tuple(TraceEvent(**row) for row in rows) == ROUNDS


@given(
    seconds=st.lists(st.tuples(*[st.floats(0, 1e9)] * 2), max_size=20),
    num_bytes=st.integers(0, 2**62),
)
def test_seconds_and_bytes_survive_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory,
    seconds: list[tuple[float, float]],
    num_bytes: int,
) -> None:
    """Nothing is rounded in Parquet."""
    events = tuple(
        event("a/0", "a1", "transfer", min(pair), max(pair), num_bytes=num_bytes)
        for pair in seconds
    )
    written, _ = write_trace(events, tmp_path_factory.mktemp("trace") / "run")

    rows = parquet.read_table(written).to_pylist()
    assert tuple(TraceEvent(**row) for row in rows) == events


def test_parquet_names_columns_units_and_version(tmp_path: Path) -> None:
    """A reader needs no other document."""
    written, _ = write_trace(ROUNDS, tmp_path / "run")
    schema = parquet.read_schema(written)

    assert tuple(schema.names) == NAMES
    assert {str(schema.field(name).type) for name in ("start_s", "end_s")} == {"double"}
    assert str(schema.field("num_bytes").type) == "int64"
    assert schema.metadata[b"fedsim"] == __version__.encode()
    assert schema.metadata[b"fedsim_trace_schema"] == str(TRACE_SCHEMA).encode()


def test_every_event_is_a_complete_event_in_chromes_format(tmp_path: Path) -> None:
    """With the keys that the format asks of phase X, times in microseconds."""
    _, written = write_trace(ROUNDS, tmp_path / "run")
    found = chrome_events(written, "X")

    assert len(found) == len(ROUNDS)
    for e, shown in zip(ROUNDS, found, strict=True):
        assert shown["name"] == e.step
        assert shown["cat"] == e.kind
        assert shown["ts"] == e.start_s * 1e6
        assert shown["dur"] == (e.end_s - e.start_s) * 1e6
        assert shown["args"] == {
            "round": e.round_index,
            "attempt": e.attempt,
            "bytes": e.num_bytes,
            "outcome": e.outcome,
        }


def test_chromes_events_are_sorted_by_start(tmp_path: Path) -> None:
    """As an engine's trace is."""
    _, written = write_trace(ROUNDS, tmp_path / "run")
    starts = [e["ts"] for e in chrome_events(written, "X")]

    assert starts == sorted(starts)


def test_each_class_is_a_process_and_each_client_a_thread(tmp_path: Path) -> None:
    """Every event's process and thread are named, ahead of it and once."""
    _, written = write_trace(ROUNDS, tmp_path / "run")
    names = chrome_events(written, "M")
    processes = {e["pid"]: e["args"]["name"] for e in names if e["name"] == "process_name"}
    threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in names if e["name"] == "thread_name"}

    assert sorted(processes.values()) == ["clients: fast", "clients: slow", "server"]
    assert sorted(threads.values()) == ["fast/0", "server", "slow/0", "slow/1"]
    assert len(names) == len(processes) + len(threads)
    for e, shown in zip(ROUNDS, chrome_events(written, "X"), strict=True):
        assert threads[shown["pid"], shown["tid"]] == e.party
        assert min(shown["pid"], shown["tid"]) > 0


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30))
def test_what_follows_each_other_does_not_overlap_in_chromes_format(
    tmp_path_factory: pytest.TempPathFactory, moments: list[float]
) -> None:
    """Ends are rounded like starts, so one thread's events stay one after the other."""
    moments = sorted(moments)
    events = [event("a/0", "a1", "compute", start, end) for start, end in pairwise(moments)]
    _, written = write_trace(events, tmp_path_factory.mktemp("trace") / "run")

    def nanoseconds(text: float) -> int:
        return round(text * 1000)

    found = chrome_events(written, "X")
    for first, second in pairwise(found):
        assert nanoseconds(first["ts"]) + nanoseconds(first["dur"]) == nanoseconds(second["ts"])


def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace that is written in pieces reads like one that is written at once."""
    whole = write_trace(iter(ROUNDS), tmp_path / "whole")
    monkeypatch.setattr(trace_module, "_CHUNK", 3)
    pieces = write_trace(iter(ROUNDS), tmp_path / "pieces")

    assert whole[1].read_bytes() == pieces[1].read_bytes()
    assert parquet.read_table(whole[0]).equals(parquet.read_table(pieces[0]))


def test_the_same_trace_gives_the_same_bytes(tmp_path: Path) -> None:
    """No dates and no random ids."""
    one, two = (write_trace(BUFFERED, tmp_path / name) for name in ("one", "two"))

    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]


def test_an_empty_trace_is_two_valid_files(tmp_path: Path) -> None:
    """Rather than two broken ones."""
    table, chrome = write_trace((), tmp_path / "run")

    assert parquet.read_table(table).num_rows == 0
    assert json.loads(chrome.read_text())["traceEvents"] == []


@pytest.mark.parametrize("name", ["run", "run.parquet", "run.json"])
def test_either_suffix_names_both_files(tmp_path: Path, name: str) -> None:
    """And none does too; a dot in the name is no suffix."""
    assert trace_paths(tmp_path / name) == (tmp_path / "run.parquet", tmp_path / "run.json")
    assert trace_paths(Path("v1.2"))[0] == Path("v1.2.parquet")


def test_a_failure_in_mid_trace_leaves_what_was_there(tmp_path: Path) -> None:
    """Neither file is replaced by half of one, and nothing else is left."""
    (tmp_path / "run.json").write_text("old")

    def failing() -> Iterator[TraceEvent]:
        yield ROUNDS[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(ScenarioError, match=r"cannot be written \(No space left"):
        write_trace(failing(), tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert (tmp_path / "run.json").read_text() == "old"


def test_a_missing_folder_is_a_message(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(ScenarioError, match="cannot be written"):
        write_trace(ROUNDS, tmp_path / "nowhere" / "run")


def test_a_class_is_its_clients_name_without_the_number() -> None:
    """A class of one client bears the class's name itself."""
    assert class_of("phones/17") == "phones"
    assert class_of("a/b/3") == "a/b"
    assert class_of("server-room") == "server-room"


def test_any_name_of_a_class_is_valid_json(tmp_path: Path) -> None:
    """Quotes, backslashes and other alphabets."""
    names = ['a"b\\c/0', "手机/1"]
    events = [event(name, 'x"y', "compute", 0, 1, index=i) for i, name in enumerate(names)]
    _, written = write_trace(events, tmp_path / "run")

    threads = [e for e in chrome_events(written, "M") if e["name"] == "thread_name"]
    assert [e["args"]["name"] for e in threads] == names
