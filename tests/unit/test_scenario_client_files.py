"""Files of single clients: each moves the answer as its figures say, and bad ones are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario import read_scenario, run_scenario
from scenarios import changed, written


def fedllm(**changes: Any) -> dict[str, Any]:
    """The small scenario with FedLLM alone."""
    table = changed(**changes)
    table["case"] = table["case"][:1]
    return table


def answer(folder: Path, table: dict[str, Any]) -> dict[str, Any]:
    """Its only result."""
    (found,) = run_scenario(written(folder, table)).results
    return found


def refused(folder: Path, table: dict[str, Any]) -> str:
    with pytest.raises(ScenarioError) as error:
        run_scenario(written(folder, table))
    return str(error.value)


def text(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content, encoding="utf-8")
    return name


def test_one_row_is_a_uniform_fleet(tmp_path: Path) -> None:
    """A table of one client says the same as its figures in the file."""
    name = text(tmp_path, "one.csv", "uplink_mbit_per_s,downlink_mbit_per_s,slowdown\n3,12,2\n")
    by_table = answer(tmp_path, fedllm(fleet={"table": name}))
    by_keys = answer(
        tmp_path,
        fedllm(
            link={"uplink": "3 Mbit/s", "downlink": "12 Mbit/s"},
            device={"slowdown": 2.0},
            engine="des",
        ),
    )
    assert by_table["round_time_s"]["mean"] == pytest.approx(by_keys["round_time_s"]["mean"])
    assert by_table["engine_used"] == "des"


def test_rates_of_single_clients(tmp_path: Path) -> None:
    """The slowest row ends a round of all rows; with as many servers' seconds as clients."""
    one = text(tmp_path, "slow.csv", "uplink_kbit_per_s\n100\n")
    several = text(tmp_path, "several.csv", "uplink_kbit_per_s\n100\n9000\n8000\n")
    slow, mixed = (
        answer(tmp_path, fedllm(fleet={"table": name, "num_clients": 40}))["round_time_s"]
        for name in (one, several)
    )
    assert mixed["mean"] == pytest.approx(slow["mean"], rel=1e-9)


def test_capacities_as_fedscale_has_them(tmp_path: Path) -> None:
    """ms a training sample and kbit/s of both directions, row by row."""
    name = text(
        tmp_path,
        "capacity.csv",
        "computation_ms_per_sample,communication_kbit_per_s\n400,100000000\n400,100000000\n",
    )
    found = answer(tmp_path, fedllm(fleet={"table": name}, link={"round_trip": "0 ms"}))
    # 10 samples of 400 ms are nearly all of a round; the rest is messages and the server.
    assert found["round_time_s"]["compute"] == pytest.approx(4.0, rel=0.05)


def test_numbers_of_samples(tmp_path: Path) -> None:
    name = text(tmp_path, "sizes.csv", "samples\n4\n8\n12\n")
    entry = read_scenario(written(tmp_path, fedllm(fleet={"table": name}))).entries[0]
    sizes = entry.federation.classes[0].client_samples
    assert sizes is not None
    assert len(sizes) == 4
    assert set(sizes) <= {4, 8, 12}


def test_a_rate_trace_in_mid_flow(tmp_path: Path) -> None:
    """Half of the rate for all of the time takes twice as long to send."""
    half = text(tmp_path, "half.csv", "time_s,factor\n0,0.5\n")
    whole = text(tmp_path, "whole.csv", "time_s,factor\n0,1\n")
    link = {"round_trip": "0 ms", "trace_period": "1 h"}
    one, two = (
        answer(tmp_path, fedllm(link=link | {"trace": name}))["round_time_s"]
        for name in (whole, half)
    )
    plain = answer(tmp_path, fedllm(link={"round_trip": "0 ms"}, engine="des"))["round_time_s"]
    assert one["mean"] == pytest.approx(plain["mean"])
    assert two["mean"] - one["mean"] == pytest.approx(one["transfer"], rel=1e-6)


@pytest.mark.parametrize("engine", ["des", "scale"])
def test_an_outage_costs_its_length(tmp_path: Path, engine: str) -> None:
    """A tunnel: ten minutes without any rate come on top."""
    tunnel = text(tmp_path, "tunnel.csv", "time_s,factor\n0,1\n0.001,0\n600.001,1\n")
    link = {"round_trip": "0 ms", "trace_period": "1 h", "trace": tunnel}
    small = {"num_rounds": 1}
    found = answer(tmp_path, fedllm(link=link, workload=small, engine=engine))["round_time_s"]
    plain = answer(tmp_path, fedllm(link={"round_trip": "0 ms"}, workload=small, engine=engine))[
        "round_time_s"
    ]
    assert found["mean"] == pytest.approx(plain["mean"] + 600, rel=1e-6)


@pytest.mark.parametrize(
    ("factors", "found"),
    [
        (("1", "1e-300"), "'trace.csv': a rate trace with a factor of 1e-300; allowed: 0"),
        (("0", "0"), "'trace.csv': a rate trace that is 0 throughout"),
        (("1", "-1"), "'trace.csv', line 3, column factor: '-1'; needed: a number of at least 0."),
    ],
)
def test_a_trace_with_which_nothing_ends_is_refused(
    tmp_path: Path, factors: tuple[str, str], found: str
) -> None:
    rows = f"time_s,factor\n0,{factors[0]}\n0.001,{factors[1]}\n"
    name = text(tmp_path, "trace.csv", rows)
    table = fedllm(link={"trace": name, "trace_period": "1 h"})
    assert found in refused(tmp_path, table)


@pytest.mark.parametrize("engine", ["des", "scale", "auto"])
def test_rates_at_which_a_message_takes_a_century_are_refused(tmp_path: Path, engine: str) -> None:
    """Wherever a client is simulated: its own link, the server's."""
    wanted = "more than a century"
    name = text(tmp_path, "slow.csv", "uplink_mbit_per_s\n1e-290\n")
    assert wanted in refused(tmp_path, fedllm(fleet={"table": name}, engine=engine))
    shared = fedllm(server={"uplink": "0.00001 bit/s"}, device={"slowdown_p95": 2.0}, engine=engine)
    assert wanted in refused(tmp_path, shared)


def test_the_trace_period_matters(tmp_path: Path) -> None:
    """A slow tenth of a second that comes back within the run, and one that does not."""
    name = text(tmp_path, "trace.csv", "time_s,factor\n0,1\n0.05,0.01\n0.1,1\n")
    found = [
        answer(tmp_path, fedllm(link={"trace": name, "trace_period": period}))["makespan_s"]["mean"]
        for period in ("110 ms", "10 h")
    ]
    assert found[0] != found[1]


def test_an_availability_file(tmp_path: Path) -> None:
    """Nobody is there before the hundredth second, so the first round starts then."""
    name = text(tmp_path, "there.csv", "client,start_s,end_s\na,100,2000\nb,100,1900\n")
    table = fedllm(fleet={"availability": {"kind": "trace", "file": name, "period": "1 h"}})
    absent = answer(tmp_path, table)["makespan_s"]["mean"]
    always = answer(tmp_path, fedllm(engine="des"))["makespan_s"]["mean"]
    assert absent == pytest.approx(always + 100.0, rel=1e-6)
    late = text(tmp_path, "late.csv", "client,start_s,end_s\na,10,11\n")
    table = fedllm(fleet={"availability": {"kind": "trace", "file": late, "period": "12 s"}})
    assert answer(tmp_path, table)["makespan_s"]["mean"] != absent


def test_a_class_has_its_own_table(tmp_path: Path) -> None:
    name = text(tmp_path, "slow.csv", "slowdown\n50\n")
    classes = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5}]
    plain = answer(tmp_path, fedllm(fleet={"class": classes}, engine="des"))
    own = answer(tmp_path, fedllm(fleet={"class": [classes[0], classes[1] | {"table": name}]}))
    assert own["round_time_s"]["compute"] > 20 * plain["round_time_s"]["compute"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("uplink_mbit\n3\n", "column 'uplink_mbit': allowed: uplink_mbit_per_s"),
        ("slowdown\nx\n", "line 2, column slowdown: 'x'; needed: a positive number."),
        ("slowdown\n0\n", "line 2, column slowdown: '0'; needed: a positive number."),
        ("slowdown\nnan\n", "'nan'; needed: a positive number."),
        ("slowdown\n", "needs a header and at least one row."),
        ("slowdown,slowdown\n1,1\n", "a column is there twice."),
        ("slowdown,samples\n1\n", "line 2: 1 cells; the header has 2 columns."),
        ("samples\n1.5\n", "samples = 1.5; allowed: whole numbers"),
        ("slowdown,computation_ms_per_sample\n1,1\n", "both say how fast a client is"),
        ("uplink_mbit_per_s,communication_kbit_per_s\n1,1\n", "another one gives uplink too"),
    ],
)
def test_bad_tables(content: str, expected: str, tmp_path: Path) -> None:
    name = text(tmp_path, "bad.csv", content)
    told = refused(tmp_path, fedllm(fleet={"table": name}))
    assert "bad.csv" in told
    assert expected in told


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert "'no.csv': there is no such file" in refused(tmp_path, fedllm(fleet={"table": "no.csv"}))
    link = {"trace": "no.csv", "trace_period": "1 h"}
    assert "'no.csv': there is no such file" in refused(tmp_path, fedllm(link=link))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refused(tmp_path, fedllm(fleet={"table": "binary.csv"}))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("client,start_s\na,1\n", "no column 'end_s'"),
        ("client,start_s,end_s\na,5,1\n", "intervals must be sorted"),
        ("client,start_s,end_s\na,5,9000\n", "within the period"),
    ],
)
def test_bad_availability(content: str, expected: str, tmp_path: Path) -> None:
    name = text(tmp_path, "there.csv", content)
    table = fedllm(fleet={"availability": {"kind": "trace", "file": name, "period": "1 h"}})
    assert expected in refused(tmp_path, table)
