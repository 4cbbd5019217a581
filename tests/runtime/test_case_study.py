"""The case study on a model of no size: every series is run, collected and judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from fedsim.cli import main
from fedsim.learning import read_curves, read_laws
from fedsim.study.case_study.costs import CostPoint, cost_findings
from fedsim.study.case_study.findings import SeriesPoint, findings
from fedsim.study.case_study.plan import SERIES, Scale, study_runs

_SMALL = {
    "model.name": '"gpt2-tiny"',
    "model.num_classes": "8",
    "data.dataset": '"generated"',
    "data.test_samples": "20",
    "workload.max_tokens": "12",
    "workload.num_rounds": "2",
    "split.cut_layer": "1",
    "train.evaluate_every": "1",
}


def test_runs_differ_by_what_their_series_says() -> None:
    for scale in get_args(Scale):
        runs = study_runs(scale)
        assert len({run.name for run in runs}) == len(runs)
        assert runs[0].series == "fedllm"
        for run in runs:
            framework, varied, _ = SERIES[run.series]
            table, key = varied.split(".")
            share = 100 if key == "dropout_probability" else 1
            assert run.table[table][key] * share == pytest.approx(run.value)
            assert run.table["case"] == [{"name": run.series, "framework": framework}]
    full = {run.name: run.table for run in study_runs("full")}
    assert full["fedllm-8"]["train"]["seeds"] == [0, 1, 42]
    assert full["fedllm-8"]["workload"]["num_rounds"] == 100
    assert full["split-v2-1667"]["split"]["server_variant"] == "v2"
    assert full["fedllm-scaled-rate-8"]["learning"]["learning_rate"] == pytest.approx(1e-3)
    assert full["fedllm-scaled-rate-32"]["learning"]["learning_rate"] == pytest.approx(8e-3)


def test_the_study_from_command_to_verdict(tmp_path: Path) -> None:
    """Two runs; then again, with nothing left to train."""
    arguments = ["reproduce", "case-study", "--quick", "--first", "2", "--output", str(tmp_path)]
    for key, value in _SMALL.items():
        arguments += ["--set", f"{key}={value}"]
    # Sizes that the generated data has; the sweep's own are of Banking77.
    arguments += ["--set", "workload.samples_per_client=8"]
    first = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    curves = read_curves(tmp_path / "curves.json")
    assert [group.framework for group in curves.groups] == ["fedllm", "kd_fedllm"]
    assert all(run.rounds == (0, 1, 2) for group in curves.groups for run in group.runs)
    assert len(read_laws(tmp_path / "laws.json").laws) == 2
    found = json.loads((tmp_path / "findings.json").read_text())
    assert {point["series"] for point in found["points"]} == {"fedllm", "kd"}
    assert {cost["framework"] for cost in found["costs"]} == {"fedllm", "kd_fedllm"}
    for name in ("accuracy", "costs", "curves"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5_000
    assert "Side by side: a client and round" in first.output
    before = (tmp_path / "curves.json").read_bytes()
    again = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert again.exit_code == 0, again.output
    assert (tmp_path / "curves.json").read_bytes() == before
    # Another seed has only begun: costs are those of the rounds that are there.
    metrics = tmp_path / "fedllm-8" / "metrics.jsonl"
    begun = {**json.loads(metrics.read_text().splitlines()[0]), "seed": 9}
    metrics.write_text(metrics.read_text() + json.dumps(begun) + "\n")
    report = CliRunner().invoke(main, [*arguments, "--report"], catch_exceptions=False)
    assert report.exit_code == 0, report.output
    assert json.loads((tmp_path / "findings.json").read_text())["costs"] == found["costs"]


def _point(series: str, value: int, *accuracy: float, rounds: int = 5) -> SeriesPoint:
    return SeriesPoint(series, value, rounds, dict(enumerate(accuracy)))


def test_verdicts_need_seeds_that_agree() -> None:
    clear = [_point("fedllm", 1, 0.1, 0.11, 0.12), _point("fedllm", 8, 0.3, 0.31, 0.32)]
    noisy = [_point("kd", 500, 0.1, 0.4, 0.2), _point("kd", 5002, 0.3, 0.2, 0.3)]
    by_claim = {finding.claim: finding for finding in findings([*clear, *noisy])}
    assert by_claim["FedLLM's accuracy rises with the rank"].verdict == "holds"
    assert "+20.0 points" in by_claim["FedLLM's accuracy rises with the rank"].evidence
    assert by_claim["KD-FedLLM's rises with the public set"].verdict == "undecided"
    assert by_claim["Split-FedLLM's rises with training samples"].verdict == "not measured"
    falling = findings([_point("fedllm", 1, 0.5, 0.52, 0.51), _point("fedllm", 8, 0.3, 0.32, 0.3)])
    assert falling[0].verdict == "does not hold"


def test_a_rank_that_collapsed_proves_no_capacity() -> None:
    """From 2 % at rank 1 to 72 % at rank 32 is a step that was too large, and is said to be."""
    points = [_point("fedllm", 1, 0.020, 0.021), _point("fedllm", 32, 0.723, 0.719)]
    claim = "FedLLM's accuracy rises with the rank"
    (found,) = (f for f in findings(points, chance=1 / 77) if f.claim == claim)
    assert found.verdict == "holds under conditions"
    assert "stayed at chance" in found.evidence
    assert "the step size" in found.evidence
    learned = [_point("fedllm", 1, 0.436, 0.432), points[1]]
    (found,) = (f for f in findings(learned, chance=1 / 77) if f.claim == claim)
    assert found.verdict == "holds"


def test_what_is_equal_is_no_order() -> None:
    """SFL-V1 is FedLLM computed in two places."""
    points = [_point("fedllm", 8, 0.3, 0.4), _point("split", 1667, 0.3, 0.4)]
    claim = "FedLLM is more accurate than Split-FedLLM (V1)"
    (found,) = (finding for finding in findings(points) if finding.claim == claim)
    assert found.verdict == "does not hold"
    assert "equal in every seed" in found.evidence


def test_one_seed_and_unequal_rounds_decide_nothing() -> None:
    one = findings([_point("fedllm", 1, 0.1), _point("fedllm", 8, 0.3)])
    assert one[0].verdict == "undecided"
    uneven = findings([_point("fedllm", 1, 0.1, 0.2, rounds=4), _point("fedllm", 8, 0.3, 0.4)])
    assert uneven[0].verdict == "not measured"


def _cost(series: str, value: int, num_bytes: float, flop: float) -> CostPoint:
    return CostPoint(series, SERIES[series][0], value, num_bytes, flop, 0.0)


def test_verdicts_on_costs_say_under_which_conditions() -> None:
    """METHODS' case study: an adapter's bytes are a line in the rank that begins at the head."""
    points = [
        _cost("fedllm", 1, 2 * 384_000, 46.092e12),
        _cost("fedllm", 32, 2 * 4_955_136, 47.000e12),
        _cost("kd", 500, 2 * 154_000, 67.12e12),
        _cost("kd", 5002, 2 * 1_540_616, 254.65e12),
        _cost("split", 400, 197.4e6, 3.623e12),
        _cost("split", 1667, 820.2e6, 15.101e12),
    ]
    by_claim = {finding.claim: finding for finding in cost_findings(points)}

    def verdict(words: str) -> str:
        (found,) = (finding for claim, finding in by_claim.items() if words in claim)
        return found.verdict

    assert verdict("communication is proportional to the rank") == "holds under conditions"
    assert "x 12.9" in by_claim["FedLLM's communication is proportional to the rank"].evidence
    assert verdict("flat in the rank") == "holds"
    assert verdict("KD-FedLLM's communication is proportional") == "holds"
    assert verdict("KD-FedLLM's computation is proportional") == "holds under conditions"
    assert verdict("Split-FedLLM's communication is proportional") == "holds"
    assert verdict("KD-FedLLM sends least") == "holds under conditions"
    assert verdict("Split-FedLLM sends most") == "holds"
    assert verdict("clients compute most") == "holds"
    assert verdict("clients compute least") == "holds"


def test_drop_outs_are_held_against_the_same_run_without() -> None:
    """The same largest data, seed by seed."""
    points = [_point("split", 400, 0.5, 0.5), _point("split-dropouts", 30, 0.4, 0.42)]
    (found,) = (f for f in findings(points) if "drop out" in f.claim)
    assert found.claim.startswith("Split-FedLLM")
    assert "+9.0 points" in found.evidence
