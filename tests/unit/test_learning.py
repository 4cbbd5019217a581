"""Laws of learning curves: found again where they are known, honest where nothing was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fedsim.cli import main
from fedsim.errors import ScenarioError
from fedsim.learning import (
    CurveGroup,
    Curves,
    LearningLaw,
    Run,
    Unseen,
    check_curves,
    fit_group,
    group_laws,
    read_curves,
    read_laws,
    write_curves,
)
from fedsim.learning.law import law_values

_CHANCE = 1 / 77
#: logit of the ceiling, log tau, log kappa; slopes in r and samples of the first two.
_TRUTH = np.array([0.8, np.log(6.0), np.log(1.4), 0.1, 0.15, -0.05, -0.6])


def curve(
    r: float, samples: float, rounds: np.ndarray, off: np.ndarray | None = None
) -> np.ndarray:
    """The law that the tests know."""
    logs = np.array([np.log(r / 4), np.log(samples / 900)])
    return law_values(_TRUTH if off is None else _TRUTH + off, rounds, logs, _CHANCE)


def group(*, scatter: float = 0.05, noise: float = 0.005, seed: int = 0) -> CurveGroup:
    """Six configurations of three seeds over 30 rounds."""
    random = np.random.default_rng(seed)
    rounds = np.arange(31.0)
    runs = []
    for r in (1, 4, 16):
        for samples in (500, 1620):
            for number in range(3):
                off = np.zeros(7)
                off[:2] = random.normal(0.0, scatter, 2)
                values = curve(r, samples, rounds, off) + random.normal(0.0, noise, 31)
                runs.append(
                    Run(
                        name=f"r{r}-{samples}-{number}",
                        seed=number,
                        covariates={"r": r, "samples_per_client": samples, "num_clients": 3},
                        rounds=tuple(range(31)),
                        accuracy=tuple(np.clip(values, 0.0, 1.0).tolist()),
                    )
                )
    return CurveGroup(
        framework="fedllm",
        conditions={"dataset": "made"},
        chance=_CHANCE,
        test_samples=3080,
        runs=tuple(runs),
    )


@pytest.fixture(scope="module")
def law() -> LearningLaw:
    return fit_group(group())


def where(r: float = 4.0, samples: float = 900.0) -> dict[str, float]:
    return {"r": r, "samples_per_client": samples, "num_clients": 3.0}


def test_a_known_law_is_found_again(law: LearningLaw) -> None:
    """Between the configurations that were measured, too."""
    for r, samples in ((4, 900), (2, 600), (16, 1620)):
        for t in (3, 10, 30):
            truth = float(curve(r, samples, np.array([float(t)]))[0])
            assert law.accuracy(t, **where(r, samples)).mean == pytest.approx(truth, abs=0.03)


def test_the_same_seed_gives_the_same_law(law: LearningLaw) -> None:
    again = fit_group(group())
    assert (again.draws == law.draws).all()
    assert again.accuracy(20, **where()) == law.accuracy(20, **where())


def test_rounds_invert_accuracy(law: LearningLaw) -> None:
    found = law.rounds_to(0.5, **where())
    assert found.mean is not None
    assert law.accuracy(found.mean, **where()).mean == pytest.approx(0.5, abs=0.002)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.mean < found.high
    assert found.extrapolates == ()


def test_a_higher_target_takes_longer(law: LearningLaw) -> None:
    found = [law.rounds_to(target, **where()).mean or 0.0 for target in (0.2, 0.4, 0.6)]
    assert 0.0 < found[0] < found[1] < found[2]


def test_extrapolation_is_said(law: LearningLaw) -> None:
    assert law.accuracy(30, **where()).extrapolates == ()
    assert law.accuracy(31, **where()).extrapolates == ("31 rounds; measured up to 30",)
    assert law.accuracy(30, **where(r=64)).extrapolates == ("r = 64; measured 1 to 16",)
    never = law.rounds_to(0.95, **where())
    assert never.mean is None
    assert never.extrapolates == ("more than 120 rounds; measured up to 30",)


def test_what_was_never_varied_is_refused(law: LearningLaw) -> None:
    with pytest.raises(ScenarioError, match="all have num_clients = 3, and 5 is asked for"):
        law.accuracy(3, r=4.0, samples_per_client=900.0, num_clients=5.0)
    with pytest.raises(ScenarioError, match="num_clients, r, samples_per_client needed"):
        law.accuracy(3, r=4.0)


def test_intervals_hold_further_runs() -> None:
    """95 % intervals over 40 new runs of 6 data sets: not below 85 %, the 0.1 % level."""
    random = np.random.default_rng(7)
    hits = []
    for seed in range(6):
        fitted = fit_group(group(seed=seed), num_draws=100)
        found = fitted.accuracy(15, **where())
        for _ in range(40):
            off = np.zeros(7)
            off[:2] = random.normal(0.0, 0.05, 2)
            truth = float(curve(4, 900, np.array([15.0]), off)[0])
            assert found.low is not None
            assert found.high is not None
            hits.append(found.low <= truth + random.normal(0.0, 0.005) <= found.high)
    assert np.mean(hits) > 0.85


def test_held_out_errors() -> None:
    errors = check_curves(group())
    assert len(errors.configurations) == 18
    assert len(errors.later) == 18
    assert np.median([abs(one.error) for one in errors.configurations]) < 0.05
    assert np.median([abs(one.error) for one in errors.later]) < 0.05
    shuffled = group()
    first, second = shuffled.runs[0], shuffled.runs[-1]
    swapped = (
        first.model_copy(update={"accuracy": second.accuracy}),
        *shuffled.runs[1:-1],
        second.model_copy(update={"accuracy": first.accuracy}),
    )
    worse = check_curves(shuffled.model_copy(update={"runs": swapped}))
    assert max(abs(o.error) for o in worse.configurations) > max(
        abs(o.error) for o in errors.configurations
    )


def test_files_from_curves_to_a_law(tmp_path: Path, law: LearningLaw) -> None:
    path = tmp_path / "curves.json"
    write_curves(Curves(provenance={"machine": "a test"}, groups=(group(),)), path)
    assert read_curves(path).groups[0] == group()
    runner = CliRunner()
    fitted = runner.invoke(main, ["learn", "fit", str(path)])
    assert fitted.exit_code == 0, fitted.output
    found, *own = read_laws(tmp_path / "laws.json").laws
    assert len(own) == 6
    assert found.unseen is not None
    assert found.accuracy(20, **where()).mean == pytest.approx(
        law.accuracy(20, **where()).mean, abs=1e-5
    )
    checked = runner.invoke(main, ["learn", "check", str(path)])
    assert "18" in checked.output
    picture = tmp_path / "curves.png"
    shown = runner.invoke(main, ["learn", "show", str(path), "--plot", str(picture)])
    assert shown.exit_code == 0, shown.output
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "cannot be read as learning curves"),
        ("{}", "Field required"),
        ('{"provenance": {}, "groups": []}', "at least 1 item"),
    ],
)
def test_bad_files(content: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "curves.json"
    path.write_text(content, encoding="utf-8")
    for command in ("fit", "check", "show"):
        told = CliRunner().invoke(main, ["learn", command, str(path)])
        assert told.exit_code == 2
        assert expected in told.output
    missing = CliRunner().invoke(main, ["learn", "fit", str(tmp_path / "no.json")])
    assert missing.exit_code == 2
    assert "there is no such file" in missing.output


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"accuracy": [0.1, 1.2]}, "less than or equal to 1"),
        ({"rounds": [1, 1]}, "rounds must ascend"),
        ({"rounds": [1]}, "1 rounds and 2 accuracies"),
        ({"covariates": {"rank": 3}}, "covariates"),
    ],
)
def test_bad_runs(change: dict[str, object], expected: str, tmp_path: Path) -> None:
    run = {
        "name": "a",
        "seed": 0,
        "covariates": {"r": 1},
        "rounds": [0, 1],
        "accuracy": [0.1, 0.2],
    }
    table = {
        "provenance": {},
        "groups": [
            {
                "framework": "fedllm",
                "conditions": {},
                "chance": 0.1,
                "test_samples": 10,
                "runs": [run | change],
            }
        ],
    }
    path = tmp_path / "curves.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(ScenarioError, match=expected):
        read_curves(path)


@pytest.fixture(scope="module")
def laws() -> tuple[LearningLaw, ...]:
    return group_laws(group())


def test_a_measured_configuration_has_a_law_of_its_own(laws: tuple[LearningLaw, ...]) -> None:
    """Beside the one that interpolates, which says how far such laws miss what is new to them."""
    interpolating, *own = laws
    assert set(interpolating.covariates) == {"r", "samples_per_client"}
    assert interpolating.unseen is not None
    assert interpolating.unseen.num_runs == 18
    assert [law.fixed["r"] for law in own] == [1, 1, 4, 4, 16, 16]
    assert all(law.covariates == () and law.unseen is None for law in own)


def test_what_stays_at_chance_says_nothing_of_the_others(laws: tuple[LearningLaw, ...]) -> None:
    """A rank that never learns has its own law, and is not interpolated over."""
    flat = [
        run.model_copy(
            update={
                "name": f"{run.name}-flat",
                "covariates": {**run.covariates, "r": 0.5},
                "accuracy": tuple(_CHANCE for _ in run.accuracy),
            }
        )
        for run in group().runs[:3]
    ]
    mixed = group().model_copy(update={"runs": (*group().runs, *flat)})
    interpolating, *own = group_laws(mixed)
    assert interpolating.ranges["r"] == (1, 16)
    assert min(law.fixed["r"] for law in own) == 0.5
    assert interpolating.parameters == pytest.approx(laws[0].parameters)


def test_an_interval_is_as_wide_as_what_was_missed(law: LearningLaw) -> None:
    """By the farthest that an unseen run lay outside, for accuracies and for rounds to a target."""
    wide = replace(law, unseen=Unseen(0.1, 0.2, 0, 6))
    one, other = (each.accuracy(10.0, **where()) for each in (wide, law))
    assert one.mean == other.mean
    assert one.low is not None
    assert other.low is not None
    assert one.low == pytest.approx(other.low - 0.2)
    one, other = (each.rounds_to(0.45, **where()) for each in (wide, law))
    assert one.mean == other.mean
    assert one.low is not None
    assert other.low is not None
    assert other.high is not None
    assert one.low < other.low
    assert one.high is None or one.high > other.high
