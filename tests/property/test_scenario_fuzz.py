"""Hostile scenario files end in an answer or in a message: no traceback, no hang, no flood."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import tomli_w
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fedsim.cli import main
from fedsim.scenario import scenario_schema
from fedsim.scenario.file.merge import merged
from fuzz.case import bounded
from scenarios import SMALL

_EXAMPLES: Final = {"ci": 500, "nightly": 10_000}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 50)
#: Processor time, which other programs' load does not lengthen.
_MAX_CPU_S: Final = 10.0

FUZZ: Final = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def ends_well(content: bytes, *options: str) -> None:
    """Exit 0 with a report, or exit 2 with a message."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        path.write_bytes(content)
        (Path(folder) / "clients.csv").write_text(
            "uplink_mbit_per_s,slowdown,samples\n1,1,3\n20,2,9\n"
        )
        (Path(folder) / "rates.csv").write_text("time_s,factor\n0,1\n10,0.5\n")
        (Path(folder) / "stays.csv").write_text("client,start_s,end_s\na,0,10\nb,5,20\n")
        with bounded(_MAX_CPU_S):
            result = CliRunner().invoke(
                main, ["scenario", str(path), "--json", f"{folder}/a.json", *options]
            )
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code in (0, 2)
        assert "Traceback" not in result.output
        assert result.output.strip()
        # All or nothing: a refusal leaves no file behind.
        assert (Path(folder) / "a.json").exists() == (result.exit_code == 0)


def _paths(schema: dict[str, Any], definitions: dict[str, Any], depth: int) -> Iterator[str]:
    """Every key of a file by its full name."""
    for name, entry in schema["properties"].items():
        yield name
        for option in (entry, *entry.get("anyOf", ())):
            table = definitions.get(option.get("$ref", "").rpartition("/")[2])
            if table is not None and depth:
                for inner in _paths(table, definitions, depth - 1):
                    yield f"{name}.{inner}"


_SCHEMA: Final = scenario_schema()
PATHS: Final = sorted(
    path
    for path in _paths(_SCHEMA, _SCHEMA["$defs"], 3)
    if not path.startswith(("case", "fleet.class", "profile"))
)

#: Small enough to run at once, or so large that they have to be refused.
WHOLE: Final = st.sampled_from(
    [0, 1, 2, 3, 5, 20, 10**7, 10**9, 10**12, 2**31, 2**63 - 1, 2**63, 10**30, -1, -(2**63)]
)
NAN, INFINITY = float("nan"), float("inf")
REAL: Final = st.sampled_from(
    [0.0, -0.0, 0.5, 1.0, 2.5, 1e-300, 5e-324, 1e15, 1e308, -1.0, NAN, INFINITY, -INFINITY]
)
QUANTITY: Final = st.builds(
    "{} {}".format,
    st.sampled_from(["0", "1", "3", "0.5", "1e-9", "1e9", "1e30", "-1", "nan", "1e999", ""]),
    st.sampled_from(
        ["s", "ms", "ns", "h", "d", "Mbit/s", "bit/s", "TB/s", "kB", "W", "J", "TFLOP/s", "mb", ""]
    ),
)
WORD: Final = st.sampled_from(
    [
        *("auto", "analytic", "des", "scale", "sampled", "synchronous", "buffered", "windowed"),
        *("random", "resource", "utility", "fcfs", "sharing", "turns", "interleaved"),
        *("secagg", "secagg+", "central", "local"),
        *("v1", "v2", "always", "on_off", "diurnal", "trace", "new", "new-tls", "reused"),
        *("none", "longest", "fedllm", "gpt2-tiny", "3g", "rtx4090"),
        *("clients.csv", "rates.csv", "stays.csv", "x.toml", "nowhere.csv", ".", "/dev/null"),
        *("\x00", "", "x" * 5000),
    ]
)
VALUE: Final = (
    WHOLE
    | REAL
    | QUANTITY
    | WORD
    | st.booleans()
    | st.text(max_size=6)
    | st.lists(st.integers(-3, 10**7), max_size=3)
    | st.dictionaries(st.sampled_from(["kind", "like", "r", "1", "x"]), st.integers(-1, 3))
)

#: Contexts in which the keys of simulations mean something.
BASES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"policy": {"quorum": 3, "deadline": "1 h"}},
    {"policy": {"mode": "buffered", "buffer_size": 2, "clients_per_round": 3}},
    {"policy": {"mode": "windowed", "window": "1 s"}, "fleet": {"dropout_probability": 0.3}},
    {"fleet": {"availability": {"kind": "on_off", "mean_on": "1 h", "mean_off": "10 min"}}},
    {"fleet": {"availability": {"kind": "diurnal", "start": "22 h", "duration": "7 h"}}},
    {"fleet": {"availability": {"kind": "trace", "file": "stays.csv", "period": "1 min"}}},
    {"fleet": {"table": "clients.csv"}, "link": {"trace": "rates.csv", "trace_period": "1 h"}},
    {"split": {"server_variant": "v2", "server_order": "interleaved"}, "server": {"max_batch": 3}},
    {"workload": {"samples_p95": 40}, "device": {"slowdown_p95": 3.0, "round_variation": 0.2}},
    {"privacy": {"secure_aggregation": "secagg+", "differential_privacy": "central"}},
    {"privacy": {"secure_aggregation": "secagg"}, "policy": {"quorum": 3}},
)
FRAMEWORKS: Final = ("fedllm", "kd_fedllm", "split_fedllm")


def _changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    nested = value
    for part in reversed(path.split(".")):
        nested = {part: nested}
    return merged(base, nested)


@FUZZ
@given(
    st.sampled_from(BASES),
    st.sampled_from(FRAMEWORKS),
    st.lists(st.tuples(st.sampled_from(PATHS), VALUE), min_size=1, max_size=4),
)
@example({}, "fedllm", [("fleet.num_clients", 10**9), ("policy.quorum", 1)])
@example({}, "fedllm", [("workload.num_rounds", 10**6), ("policy.quorum", 1)])
@example({}, "fedllm", [("workload.num_rounds", 10**6), ("policy.deadline", "1 ns")])
@example(BASES[2], "fedllm", [("policy.buffer_size", 10**9)])
@example(BASES[3], "fedllm", [("policy.window", "1 ns"), ("workload.num_rounds", 10**6)])
@example(BASES[4], "fedllm", [("fleet.availability.mean_on", "1 ms")] * 2)
@example(BASES[9], "kd_fedllm", [("fleet.num_clients", 10**8)])
@example(BASES[9], "split_fedllm", [("workload.samples_p95", 10**6)])
@example(BASES[10], "fedllm", [("fleet.num_clients", 10**9)])
@example(BASES[10], "kd_fedllm", [("privacy.neighbors", 3), ("privacy.quantization_bits", 1)])
@example(BASES[11], "fedllm", [("policy.mode", "buffered"), ("policy.retries", 2)])
def test_a_hostile_value_ends_in_an_answer_or_a_message(
    base: dict[str, Any], framework: str, changes: list[tuple[str, Any]]
) -> None:
    """Wrong types, extremes, NaN and absurd sizes, in any key of a scenario that is right."""
    case = {"case": [{"name": "x", "framework": framework}]}
    table = merged(merged(copy.deepcopy(SMALL), base), case)
    for path, value in changes:
        table = _changed(table, path, value)

    ends_well(_written(table))


def _written(table: dict[str, Any]) -> bytes:
    # A whole number beyond 64 bits is still a number in a file.
    return tomli_w.dumps(table).encode("utf-8", "surrogatepass")


@settings(FUZZ, max_examples=max(20, _EXAMPLES // 5))
@given(
    st.sampled_from(BASES),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.binary(max_size=6)), min_size=1),
)
def test_a_damaged_file_ends_in_an_answer_or_a_message(
    base: dict[str, Any], damages: list[tuple[float, int, bytes]]
) -> None:
    """Bytes that are cut out and put in anywhere in a scenario that is right."""
    content = _written(merged(copy.deepcopy(SMALL), base))
    for place, num_cut, inserted in damages:
        at = round(place * len(content))
        content = content[:at] + inserted + content[at + num_cut :]

    ends_well(content)


@settings(FUZZ, max_examples=max(20, _EXAMPLES // 5))
@given(
    st.sampled_from(["fleet.table", "link.trace", "fleet.availability.file"]),
    st.lists(
        st.lists(
            st.sampled_from(["time_s", "factor", "client", "start_s", "end_s", "slowdown"])
            | st.sampled_from(["samples", "uplink_mbit_per_s", "0", "1", "-1", "nan", "1e999"])
            | st.sampled_from(["2.5", "1e9", '"', "\x00", "", "\udcff"]),
            min_size=1,
            max_size=4,
        ).map(",".join),
        max_size=5,
    ).map("\n".join),
)
def test_a_hostile_table_ends_in_an_answer_or_a_message(path: str, text: str) -> None:
    """CSV files with wrong columns, cells and bytes."""
    context = {
        "fleet.table": {"fleet": {"table": "hostile.csv"}},
        "link.trace": {"link": {"trace": "hostile.csv", "trace_period": "1 h"}},
        "fleet.availability.file": BASES[6],
    }[path]
    table = merged(copy.deepcopy(SMALL), context)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hostile.csv"
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        ends_well(_written(_changed(table, path, str(file))))
