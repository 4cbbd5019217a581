"""A device of one's own with a catalogue entry's effective figures is that entry."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.cost.duration import compute_seconds
from fedsim.cost.work import Work
from fedsim.scenario import run_scenario
from fedsim.scenario.build.hardware import device_spec
from fedsim.scenario.file.hardware_tables import DeviceTable
from fedsim.spec.device import FEATURES
from fedsim.spec.device_catalogue import device, device_facts, device_names
from fedsim.spec.quantity import FROM_FILE
from scenarios import changed, written

CATALOGUE: Final = [
    (name, dtype) for name in device_names() for dtype in device_facts(name).achieved_fraction
]
#: FLOP, bytes, operators, tensors, messages: from nothing to what no step needs.
AMOUNTS: Final = st.lists(st.integers(0, 10**15), min_size=len(FEATURES), max_size=len(FEATURES))


def effective_figures(name: str, dtype: str) -> dict[str, str]:
    """What a data sheet's reader would write down: peaks times what is assumed of them."""
    facts = device_facts(name)
    compute = facts.peak_flop_per_s[dtype].value * facts.achieved_fraction[dtype]
    bandwidth = facts.bandwidth_bytes_per_s.value * facts.bandwidth_fraction
    return {
        "compute": f"{compute!r} FLOP/s",
        "memory_bandwidth": f"{bandwidth!r} B/s",
        "operator_time": f"{facts.operator_s!r} s",
    }


def table(**keys: object) -> DeviceTable:
    """A table as it is read from a file."""
    return DeviceTable.model_validate(keys, context=FROM_FILE)


@given(st.sampled_from(CATALOGUE), AMOUNTS)
def test_an_own_device_with_a_catalogue_entrys_figures_gives_its_times(
    entry: tuple[str, str], amounts: list[int]
) -> None:
    """Every kind of work, messages and weights among them, in any mixture."""
    own = device_spec(table(**effective_figures(*entry)), entry[1], None)

    work = Work(**dict(zip(FEATURES, amounts, strict=True)))
    assert compute_seconds(work, own) == compute_seconds(work, device(*entry))


@pytest.mark.parametrize("max_tokens", [1, 24])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_own_device_is_not_faster_than_the_entry_it_copies(
    tmp_path: Path, batch_size: int, max_tokens: int
) -> None:
    """Whole answers, clients and server, three frameworks: small batches read weights too."""
    workload = {"batch_size": batch_size, "max_tokens": max_tokens, "padding": "max_tokens"}
    like = changed(workload=workload, device={"like": "agx-orin-64g", "memory": "8 GB"})
    own = changed(workload=workload)
    power = f"{device_facts('agx-orin-64g').power_watts.value} W"
    own["device"] = {"name": "agx-orin-64g", "memory": "8 GB", "power": power}
    own["device"] |= effective_figures("agx-orin-64g", "float32")

    expected = run_scenario(written(tmp_path, like, "like.toml")).results
    found = run_scenario(written(tmp_path, own, "own.toml")).results
    for key in ("round_time_s", "makespan_s", "energy"):
        assert [result[key] for result in found] == [result[key] for result in expected]


@pytest.mark.parametrize("base", ["agx-orin-64g", None])
def test_a_changed_memory_bandwidth_moves_all_work_on_bytes(base: str | None) -> None:
    """Half the bandwidth: twice the time of every byte, and of nothing else."""
    figures = {"like": base} if base else effective_figures("agx-orin-64g", "float32")
    bandwidth = device_facts("agx-orin-64g").bandwidth_bytes_per_s.value
    before = device_spec(
        table(**figures | {"memory_bandwidth": f"{bandwidth} B/s"}), "float32", None
    )
    after = device_spec(
        table(**figures | {"memory_bandwidth": f"{bandwidth / 2} B/s"}), "float32", None
    )

    for feature in FEATURES:
        factor = 2 if feature.endswith("_bytes") else 1
        assert after.seconds_per_unit[feature] == factor * before.seconds_per_unit[feature]


def test_a_changed_operator_time_moves_all_work_that_is_launched() -> None:
    """Operators on activations and on parameters, tensors of a message, and messages."""
    spec = device_spec(table(like="agx-orin-64g", operator_time="1 ms"), "float32", None)

    launched = [f for f in FEATURES if f.startswith("num_") and f != "num_calls"]
    assert [spec.seconds_per_unit[feature] for feature in launched] == [1e-3] * len(launched)
