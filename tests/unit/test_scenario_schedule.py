"""``[[schedule]]``: what changes by round, in every figure of an answer."""

from __future__ import annotations

import copy
import re
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario import run_scenario
from fedsim.scenario.file.merge import merged
from scenarios import SMALL, written

DOCS: Final = Path(__file__).parents[2] / "docs"
#: Texts of one length, so that a run of a period alone has the very texts of the period.
PLAIN: Final[dict[str, Any]] = merged(
    copy.deepcopy({k: v for k, v in SMALL.items() if k != "case"}),
    {
        "workload": {"padding": "max_tokens", "num_rounds": 6},
        "server": {"device": {"like": "rpi5-16g", "power": "9 W"}},
        "device": {"like": "rpi5-8g", "power": "5 W", "idle_power": "2 W"},
        "link": {"like": "lte-uk", "transmit_power": "1 W", "uplink_energy_per_mb": "1 J"},
        "price": {"per_uplink_gb": 3.0, "per_kwh": 0.3, "per_accelerator_hour": 2.0},
    },
)
CASES: Final = SMALL["case"]
GROWING: Final = [
    {"key": "workload.batch_size", "from_round": [3, 5], "value": [8, 2]},
    {"key": "workload.samples_per_client", "from_round": [4], "value": [7]},
    {"key": "workload.local_epochs", "from_round": 5, "value": 2},
]
#: First rounds of the periods of GROWING, with how many rounds each has and its workload.
PERIODS: Final = (
    (2, {}),
    (1, {"batch_size": 8}),
    (1, {"batch_size": 8, "samples_per_client": 7}),
    (2, {"batch_size": 2, "samples_per_client": 7, "local_epochs": 2}),
)
TOTALS: Final = ("uplink_payload_bytes", "downlink_message_bytes", "client_flop", "server_flop")


def results(table: dict[str, Any], framework: str, engine: str = "auto") -> dict[str, Any]:
    """The result of one case."""
    case = next(c for c in CASES if c["framework"] == framework)
    (found,) = run_scenario({**table, "case": [case]}, engine=engine).results
    return found


def test_a_schedule_of_the_same_values_changes_no_figure() -> None:
    """To the last bit, in every framework."""
    same = [
        {"key": "workload.batch_size", "from_round": [1, 2], "value": [4, 4]},
        {"key": "workload.samples_per_client", "from_round": [2], "value": [10]},
        {"key": "workload.local_epochs", "from_round": [1], "value": [1]},
    ]
    table = merged(copy.deepcopy(SMALL), {"schedule": same})
    assert run_scenario(table).results == run_scenario(SMALL).results


@pytest.mark.parametrize("framework", ["fedllm", "kd_fedllm", "split_fedllm"])
def test_all_rounds_are_the_sum_of_their_periods(framework: str) -> None:
    """Counts to the last one; seconds, joules and money up to rounding."""
    whole = results({**PLAIN, "schedule": GROWING}, framework)
    parts = [
        results(merged(PLAIN, {"workload": {**changes, "num_rounds": num}}), framework)
        for num, changes in PERIODS
    ]
    for name in TOTALS:
        setup = whole["setup"].get(name, 0)
        assert whole["totals"][name] - setup == sum(p["totals"][name] - setup for p in parts), name
    for read in (
        lambda r: r["makespan_s"]["mean"],
        lambda r: r["energy"]["rounds_j"],
        lambda r: r["energy"]["clients"]["radio_j"],
        lambda r: r["money"]["rounds"],
    ):
        assert read(whole) == pytest.approx(sum(map(read, parts)), rel=1e-9)
    found = [(p["first"], p["last"]) for p in whole["periods"]]
    assert found == [(1, 2), (3, 3), (4, 4), (5, 6)]
    for period, part in zip(whole["periods"], parts, strict=True):
        assert period["classes"][0]["per_client_round"] == part["classes"][0]["per_client_round"]
        assert period["round_time_s"] == part["round_time_s"]["mean"]
        assert period["server_per_round"]["flop"] == part["server_per_round"]["flop"]
    # What a client takes in a round is the first round's, but for the memory that all rounds need.
    first = whole["classes"][0]["per_client_round"]
    assert first["client_flop"] == parts[0]["classes"][0]["per_client_round"]["client_flop"]
    peaks = [p["classes"][0]["per_client_round"]["peak_memory_bytes"] for p in parts]
    assert first["peak_memory_bytes"] == max(peaks) > peaks[0]


@pytest.mark.parametrize("engine", ["des", "scale"])
def test_a_simulation_finds_the_same(engine: str) -> None:
    """Where nobody waits and nothing is drawn, the closed form is exact."""
    closed, simulated = (
        results({**PLAIN, "schedule": GROWING}, "fedllm", e) for e in ("analytic", engine)
    )
    assert simulated["engine_used"] == engine
    assert simulated["totals"] == closed["totals"]
    for name in ("low", "mean", "high"):
        assert simulated["makespan_s"][name] == pytest.approx(closed["makespan_s"][name], rel=1e-9)
    for name in ("rounds_j", "total_j"):
        assert simulated["energy"][name] == pytest.approx(closed["energy"][name], rel=1e-9)
    assert simulated["money"]["rounds"] == pytest.approx(closed["money"]["rounds"], rel=1e-9)
    assert [p["round_time_s"] for p in simulated["periods"]] == pytest.approx(
        [p["round_time_s"] for p in closed["periods"]], rel=1e-9
    )


def test_how_many_are_asked_changes_by_round() -> None:
    """Both engines ask so many; the closed form says that it has no such thing."""
    asked = [{"key": "policy.clients_per_round", "from_round": [2, 4], "value": [1, 3]}]
    table = {**PLAIN, "schedule": asked}
    one, other = (results(table, "kd_fedllm", engine) for engine in ("des", "scale"))
    assert one["rounds"]["num_asked"] == other["rounds"]["num_asked"] == 4 + 2 * 1 + 3 * 3
    assert one["totals"] == other["totals"]
    assert one["makespan_s"] == pytest.approx(other["makespan_s"], rel=1e-9)
    assert [p["clients_per_round"] for p in one["periods"]] == [None, 1, 3]
    with pytest.raises(ScenarioError, match=r"cannot honour policy\.clients_per_round by round"):
        results(table, "kd_fedllm", "analytic")


def test_every_mistake_of_the_schedules_is_told_at_once(tmp_path: Path) -> None:
    """With where, what was found and what is allowed."""
    schedule: list[dict[str, Any]] = [
        {"key": "lora.r", "from_round": 2, "value": 8},
        {"key": "workload.batchsize", "from_round": 2, "value": 8},
        {"key": "batch_size", "from_round": 2, "value": 8},
        {"key": "workload.batch_size", "from_round": [4, 2, 9], "value": [0, 2.5]},
        {"key": "workload.local_epochs", "value": [3], "classes": ["phones"]},
        {"key": "policy.clients_per_round", "from_round": 1, "value": 2, "classes": "phones"},
        {"from_round": [1]},
        {"use": "nowhere:nothing", "value": [1]},
        {"use": "nowhere:nothing"},
        {"key": "workload.accumulation_steps", "from_round": 1, "value": 2},
        {"key": "workload.accumulation_steps", "from_round": 3, "value": 2},
    ]
    path = written(tmp_path, {**PLAIN, "case": CASES[:1], "schedule": schedule})
    with pytest.raises(ScenarioError) as found:
        run_scenario(path)
    text = str(found.value)
    for line in (
        "number 1 key = 'lora.r': what it takes when this key changes by round is not counted yet",
        "number 2 key = 'workload.batchsize': allowed: workload.batch_size, ",
        "Did you mean 'workload.batch_size'?",
        "number 4 value = [0, 2.5]: 3 rounds and 2 values",
        "number 4 from_round = [4, 2, 9]: rounds rise",
        "number 4 from_round = 9: never comes: workload.num_rounds = 6",
        "number 4 value = 0: allowed: 1 or more",
        "number 4 value = 2.5: a whole number is needed",
        "number 5 from_round is missing",
        "number 5 classes = 'phones': no such class; there are none",
        "number 6 classes = ['phones']: a round asks of all classes together",
        "number 7 key is missing; write key =",
        "number 8 value: a schedule of one's own says all by itself",
        "number 9 use = 'nowhere:nothing': module 'nowhere' cannot be imported",
        "key = 'workload.accumulation_steps': scheduled twice for the same clients",
    ):
        assert line in text, line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": {"mode": "buffered", "buffer_size": 2}}, "has no rounds by which anything"),
        ({"privacy": {"secure_aggregation": "secagg"}}, "how many clients share masks is settled"),
        ({"workload": {"samples_alpha": 1.0}}, "clients have numbers of samples of their own"),
        ({"workload": {"available_samples": 45}}, "more than available_samples = 45"),
    ],
)
def test_what_has_no_meaning_together_is_refused(changes: dict[str, Any], message: str) -> None:
    """A schedule beside what it contradicts."""
    schedule = [
        {"key": "workload.samples_per_client", "from_round": 2, "value": 30},
        {"key": "policy.clients_per_round", "from_round": 2, "value": 3},
    ]
    with pytest.raises(ScenarioError, match=re.escape(message)):
        results(merged(PLAIN, {**changes, "schedule": schedule}), "fedllm")


def test_a_schedules_values_are_set_and_swept() -> None:
    """By the key that it is of."""
    table = {**PLAIN, "schedule": GROWING[:1]}
    case = {
        **CASES[0],
        "sweep": {"schedule.workload.batch_size.value": [[8, 2], [1, 1]]},
    }
    small, large = run_scenario({**table, "case": [case]}).results
    assert small["name"] == "fedllm schedule.workload.batch_size.value=[8, 2]"
    assert [p["classes"][0]["batch_size"] for p in large["periods"]] == [4, 1]
    key = {"schedule.workload.batch_size.value": [8, 2]}
    (same,) = run_scenario({**table, "case": CASES[:1]}, {**key}).results
    assert same["totals"] == small["totals"]
    for wrong, message in (
        ({"schedule.workload.local_epochs.value": [1, 2]}, "no [[schedule]] of that key"),
        ({"schedule.value": [1, 2]}, "write schedule.KEY.value"),
        ({"schedule": []}, "write schedule.KEY.value"),
    ):
        with pytest.raises(ScenarioError, match=re.escape(message)):
            run_scenario({**table, "case": CASES[:1]}, wrong)


def test_a_case_has_its_own_schedule() -> None:
    """Instead of the file's, as the question with and without it is."""
    cases = [CASES[0], {**CASES[0], "name": "as it is", "schedule": []}]
    growing, plain = run_scenario({**PLAIN, "schedule": GROWING, "case": cases}).results
    assert "periods" in growing
    assert "periods" not in plain


def test_keys_of_periods_are_on_the_page() -> None:
    """A program's author finds each of them."""
    found = results({**PLAIN, "schedule": GROWING}, "fedllm")["periods"]
    keys = {*found[0], *found[0]["classes"][0], "periods"}
    page = (DOCS / "json.md").read_text(encoding="utf-8")
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The manual's example of a schedule of one's own, in a folder outside of the package."""
    shutil.copy(DOCS / "examples" / "gentle_start.py", tmp_path)
    return tmp_path


@pytest.mark.parametrize("engine", ["analytic", "des", "scale"])
def test_a_schedule_of_ones_own_plans_every_engine(own: Path, engine: str) -> None:
    """One file outside of the package: half of the texts in the first five rounds."""
    table = {**PLAIN, "schedule": [{"use": "gentle_start:gentle_start"}], "case": CASES[:1]}
    table = merged(table, {"workload": {"num_rounds": 8}, "link": {"uplink": "1 Mbit/s"}})
    (found,) = run_scenario(written(own, table), engine=engine).results
    assert [(p["first"], p["classes"][0]["samples_per_client"]) for p in found["periods"]] == [
        (1, 5),
        (6, 10),
    ]
    alone = [
        results(merged(PLAIN, {"workload": {"num_rounds": n, "samples_per_client": s}}), "fedllm")
        for n, s in ((5, 5), (3, 10))
    ]
    assert found["totals"]["client_flop"] == sum(a["totals"]["client_flop"] for a in alone)


OF_HISTORY = """
from dataclasses import dataclass, replace
from fedsim.planning import Need

@dataclass(frozen=True)
class Rested:
    needs: frozenset = frozenset({Need.HISTORY})

    def groups(self, facts, view):
        return ((view.last_used > 0) & (view.last_used < view.round_index - 1)).astype(int)

    def plan(self, base, group, view):
        return replace(base, batch_size=2) if group else base

    def policy(self, base, view):
        return replace(base, clients_per_round=2)

@dataclass(frozen=True)
class Broken(Rested):
    needs: frozenset = frozenset()

rested, broken, unfrozen = Rested(), Broken(), 3
"""


def test_a_schedule_of_history_is_simulated(tmp_path: Path) -> None:
    """The closed form leaves it out and says so; both engines agree on it."""
    (tmp_path / "of_history.py").write_text(OF_HISTORY, encoding="utf-8")
    table = {**PLAIN, "schedule": [{"use": "of_history:rested"}], "case": CASES[:1]}
    path = written(tmp_path, table)
    one, other = (run_scenario(path, engine=engine).results[0] for engine in ("auto", "scale"))
    assert one["engine_used"] == "des"
    assert one["rounds"]["num_asked"] == 2 * 6
    assert one["totals"] == other["totals"]
    assert "periods" not in one
    assert any("a schedule looks at history" in note for note in one["notes"])
    with pytest.raises(ScenarioError, match="cannot honour a schedule that looks at history"):
        run_scenario(path, engine="analytic")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "schedule 'of_history:broken' fails: TypeError"),
        ("unfrozen", "'unfrozen' is a int; a schedule is a value"),
        ("Rested", "'Rested' is the class Rested itself"),
        ("rest", "module 'of_history' has no 'rest'. Did you mean 'rested'?"),
        ("rested:", "write module:NAME"),
    ],
)
def test_what_is_no_schedule_is_told_by_its_name(tmp_path: Path, name: str, message: str) -> None:
    """A user's own code is never a traceback."""
    (tmp_path / "of_history.py").write_text(OF_HISTORY, encoding="utf-8")
    table = {**PLAIN, "schedule": [{"use": f"of_history:{name}"}], "case": CASES[:1]}
    with pytest.raises(ScenarioError, match=re.escape(message)):
        run_scenario(written(tmp_path, table))


def test_the_page_counts_the_lines_of_its_example() -> None:
    """What a schedule of one's own takes is no guess."""
    code = (DOCS / "examples" / "gentle_start.py").read_text(encoding="utf-8")
    page = (DOCS / "add_a_schedule.md").read_text(encoding="utf-8")
    assert f"{len(code.splitlines())} lines" in page
