"""Which engine answers a scenario too large to be simulated batch by batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario import run_scenario

_FLEET = """
question = "Split by many"
engine = "auto"
extends = "case_study"
[fleet]
num_clients = 3000
[[fleet.class]]
name = "boards"
share = 1.0
link = "home-global"
device = { like = "rpi5-8g", slowdown_p95 = 2.0 }
[server]
uplink = "1 Gbit/s"
downlink = "1 Gbit/s"
[workload]
num_rounds = 2
samples_per_client = 100
available_samples = 300_000
[[case]]
name = "split"
framework = "split_fedllm"
split.cut_layer = 4
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(_FLEET, encoding="utf-8")
    return path


def test_sampled_when_asked_for(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer says that it is approximate, by how many clients, and is near the exact one."""
    monkeypatch.setattr("fedsim.scenario.answer.engine_choice._LARGEST_SAMPLE", 1000)
    (found,) = run_scenario(fleet, engine="sampled").results
    (exact,) = run_scenario(fleet, engine="scale").results
    assert (found["engine_used"], found["exactness"]["round_time_s"]) == ("sampled", "approximate")
    assert exact["exactness"]["round_time_s"] == "simulated"
    assert any("clients of a round stand for all" in note for note in found["notes"])
    assert found["round_time_s"]["mean"] == pytest.approx(exact["round_time_s"]["mean"], rel=0.02)
    assert found["totals"] == exact["totals"]


def test_sampled_where_all_would_be_too_many(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsim.scenario.answer.engine_choice._MAX_SCALE_VISITS", 10_000)
    monkeypatch.setattr("fedsim.scenario.answer.engine_choice._LEAST_SAMPLE", 100)
    monkeypatch.setattr("fedsim.scenario.answer.engine_choice._SAMPLED_VISITS", 10_000)
    (found,) = run_scenario(fleet).results
    assert found["engine_used"] == "sampled"
    assert "visits" in found["engine_reason"]
    with pytest.raises(ScenarioError, match="visits of links and accelerators"):
        run_scenario(fleet, engine="scale")


def test_what_cannot_be_sampled_is_too_large(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsim.scenario.answer.engine_choice._MAX_SCALE_VISITS", 10_000)
    with pytest.raises(ScenarioError, match="visits of links and accelerators"):
        run_scenario(fleet, ["policy.retries=1"])
    with pytest.raises(ScenarioError, match=r"engine = 'sampled' knows no policy.retries = 1"):
        run_scenario(fleet, ["policy.retries=1"], engine="sampled")
