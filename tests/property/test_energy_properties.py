"""Energy in closed form is the reference engine's wherever its time is exact."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.scenario import run_scenario
from fedsim.scenario.run import read_scenario
from scenarios import SMALL, changed, written

RATES = st.sampled_from(("0.2 Mbit/s", "1 Mbit/s", "5 Mbit/s", "80 Mbit/s"))
POWERS = st.sampled_from(("0.5 W", "1.2 W", "7 W"))


@st.composite
def powered(draw: st.DrawFn) -> dict[str, Any]:
    """One client whose every power is known, and a server whose link may be the slower one."""
    return changed(
        workload={
            "num_rounds": draw(st.integers(1, 3)),
            "samples_per_client": draw(st.integers(1, 12)),
            "public_samples": draw(st.integers(1, 12)),
            "padding": "max_tokens",
        },
        lora={"r": draw(st.integers(1, 8))},
        fleet={"num_clients": 1},
        device={"power": draw(POWERS), "idle_power": draw(POWERS)},
        link={
            **{"uplink": draw(RATES), "downlink": draw(RATES)},
            **{"transmit_power": draw(POWERS), "receive_power": draw(POWERS)},
            "downlink_energy_per_mb": "0.1 J",
        },
        server={
            **{"uplink": draw(RATES), "downlink": draw(RATES), "num_accelerators": 1},
            "device": {"power": "300 W", "idle_power": draw(POWERS)},
        },
        case=[draw(st.sampled_from(SMALL["case"]))],
    )


@settings(max_examples=8)
@given(powered())
def test_energy_in_closed_form_is_the_engines(table: dict[str, Any]) -> None:
    """A radio that waits for the server's slow link is on as long as it is simulated to be."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), table)
        formulas = read_scenario(path, engine="analytic").answer(num_seeds=1).results
        simulated = read_scenario(path, engine="des").answer(num_seeds=1).results
    num_exact = 0
    for one, other in zip(formulas, simulated, strict=True):
        assert (one["engine_used"], other["engine_used"]) == ("analytic", "des")
        if one["exactness"]["round_time_s"] != "simulated":
            continue
        num_exact += 1
        assert numbers(one["energy"]) == pytest.approx(numbers(other["energy"]), rel=1e-9)
        assert one["makespan_s"]["mean"] == pytest.approx(other["makespan_s"]["mean"], rel=1e-9)
    assert num_exact == len(formulas)


def numbers(table: Any, path: str = "") -> dict[str, float]:
    """Every figure by its place, but for the ends of intervals."""
    if isinstance(table, dict):
        found: dict[str, float] = {}
        for name, value in table.items():
            if name != "interval_95_j":
                found |= numbers(value, f"{path}/{name}")
        return found
    is_number = isinstance(table, (int, float)) and not isinstance(table, bool)
    return {path: float(table)} if is_number else {}


def test_a_radio_waits_for_the_servers_slow_link(tmp_path: Path) -> None:
    """Sending takes as long as the slower of both lets it: four times the rate, a quarter."""
    radio_j = []
    for rate in ("4 Mbit/s", "1 Mbit/s"):
        table = changed(
            fleet={"num_clients": 1},
            device={"power": "5 W", "idle_power": "1 W"},
            link={
                **{"like": "lte-uk", "uplink": "400 Mbit/s", "downlink": "400 Mbit/s"},
                **{"transmit_power": "1 W", "receive_power": "1 W", "round_trip": "1 us"},
                **{"handshake_round_trips": 0.0, "initial_window": "9 GB"},
            },
            server={"uplink": rate, "downlink": rate, "num_accelerators": 1},
            case=[{"name": "fedllm", "framework": "fedllm"}],
        )
        (result,) = run_scenario(written(tmp_path, table), engine="analytic").results
        radio_j.append(result["energy"]["clients"]["radio_j"])

    assert radio_j[1] == pytest.approx(4 * radio_j[0], rel=0.02)
