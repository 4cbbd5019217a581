"""Laws of learning curves: found again where they are known, honest where nothing was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import binom

from fedsim.cli import main
from fedsim.errors import ScenarioError
from fedsim.learning import (
    CurveGroup,
    Curves,
    LearningLaw,
    Run,
    Unseen,
    check_curves,
    coverage,
    fit_configuration,
    fit_group,
    group_laws,
    read_curves,
    read_laws,
    write_curves,
)
from fedsim.learning.check import Coverage, HeldOut
from fedsim.learning.law import law_values
from fedsim.learning.reach import is_between
from fedsim.resources import resource_dir

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
    """Nine configurations of two seeds over 30 rounds."""
    random = np.random.default_rng(seed)
    rounds = np.arange(0.0, 31.0, 3.0)
    runs = []
    for r in (1, 4, 16):
        for samples in (500, 900, 1620):
            for number in range(2):
                off = np.zeros(7)
                off[:2] = random.normal(0.0, scatter, 2)
                values = curve(r, samples, rounds, off) + random.normal(0.0, noise, len(rounds))
                runs.append(
                    Run(
                        name=f"r{r}-{samples}-{number}",
                        seed=number,
                        covariates={"r": r, "samples_per_client": samples, "num_clients": 3},
                        rounds=tuple(range(0, 31, 3)),
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


def own_law(**options: Any) -> LearningLaw:
    """Of one measured configuration: r = 4, 900 samples."""
    every = group(**options)
    runs = tuple(run for run in every.runs if run.name.startswith("r4-900"))
    return fit_configuration(every, runs)


def test_no_number_is_named_beyond_half_as_many_rounds_again(law: LearningLaw) -> None:
    """A hundred rounds are not told by fifteen: the last that was measured is."""
    own = own_law()
    assert own.accuracy(30, **where()).basis == "measured"
    later = own.accuracy(45, **where())
    assert (later.basis, later.extrapolates) == (
        "later rounds",
        ("45 rounds; measured up to 30",),
    )
    assert later.mean is not None
    beyond = own.accuracy(46, **where())
    assert (beyond.mean, beyond.low, beyond.high) == (None, None, None)
    last = own.measured[0].accuracy
    assert beyond.extrapolates == (f"not measured beyond 30 rounds, {last:.1%} after 30",)
    never = own.rounds_to(0.95, **where())
    assert (never.mean, never.basis) == (None, "not measured")
    # What lies between configurations was not measured at all, so it ends where these do.
    assert law.accuracy(30, **where(2.0, 600.0)).basis == "interpolated"
    assert law.accuracy(31, **where(2.0, 600.0)).mean is None


def test_an_interval_grows_with_the_rounds_that_were_not_measured() -> None:
    own = own_law()
    widths = []
    for rounds in (30, 38, 45):
        found = own.accuracy(rounds, **where())
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[0] < widths[1] < widths[2]


def test_extrapolating_is_a_range_over_families() -> None:
    """Three or more that fit alike; the truth, which is one of them, is within."""
    own = own_law(scatter=0.0, noise=0.001)
    assert len(own.families) >= 3
    found = own.accuracy(200, extrapolates=True, **where())
    truth = float(curve(4, 900, np.array([200.0]))[0])
    assert found.mean is None
    assert found.basis == "families"
    assert found.low is not None
    assert found.high is not None
    assert found.low - 0.01 < truth < found.high + 0.01
    assert found.high - found.low > 0.05
    target = float(curve(4, 900, np.array([60.0]))[0])
    rounds = own.rounds_to(target, extrapolates=True, **where())
    assert rounds.mean is None
    assert rounds.low is not None
    assert rounds.low < 61
    assert rounds.high is None or rounds.high > 59


def shipped() -> Curves:
    return read_curves(resource_dir("calibrate") / "cpu-2-threads" / "learning" / "curves.json")


def test_a_hundred_rounds_of_the_shipped_curves_are_68_to_100_percent() -> None:
    """Four families fit the fifteen that were measured equally well, and so far apart they end."""
    curves = next(
        g for g in shipped().groups if g.conditions["lora.init_lora_weights"] == "gaussian"
        and g.framework == "fedllm"
    )  # fmt: skip
    own = next(
        law for law in group_laws(curves)
        if not law.covariates and law.fixed["r"] == 8 and law.fixed["participation"] == 1
    )  # fmt: skip
    assert {family.name for family in own.families} == {"mmf", "weibull", "power", "logarithm"}
    found = own.accuracy(100, extrapolates=True, **own.fixed)
    assert found.low == pytest.approx(0.68, abs=0.01)
    assert found.high == pytest.approx(1.0, abs=0.01)
    assert own.accuracy(100, **own.fixed).mean is None


def test_a_rank_between_one_that_learned_and_one_that_did_not_has_no_accuracy() -> None:
    """r = 1 stayed at chance, so r = 2 and 4 are not told by r = 8 and 32; r = 1 is, as measured.

    A law without r = 1 said 40 % there and 57 % at r = 2, which was seen to stay at chance too.
    """
    curves = next(
        g for g in shipped().groups if g.conditions["lora.init_lora_weights"] == "gaussian"
        and g.framework == "fedllm"
    )  # fmt: skip
    law, *own = group_laws(curves)
    here = {"samples_per_client": 1667.0, "num_clients": 3.0, "participation": 1.0}
    for r in (2.0, 4.0, 16.0):
        with pytest.raises(ScenarioError, match=r"8 and 32 alone were measured .*r = 1 stayed at"):
            law.accuracy(15, r=r, **here)
    first = next(one for one in own if one.fixed["r"] == 1)
    assert first.measured[0].is_at_chance
    assert first.accuracy(15, **first.fixed).mean == pytest.approx(0.02, abs=0.005)
    assert first.accuracy(100, extrapolates=True, **first.fixed).mean is None


def test_two_values_are_not_interpolated() -> None:
    """Nothing says how well that would go; just these two are told."""
    two = group()
    two = two.model_copy(
        update={"runs": tuple(r for r in two.runs if r.covariates["samples_per_client"] != 900)}
    )
    law = group_laws(two, num_draws=10)[0]
    assert law.accuracy(20, **where(2.0, 500.0)).mean is not None
    with pytest.raises(ScenarioError, match="500 and 1620 alone were measured"):
        law.accuracy(20, **where(4.0, 900.0))


def test_outside_what_was_measured_is_refused(law: LearningLaw) -> None:
    """A corner of the box that no configuration spans is outside as well."""
    with pytest.raises(ScenarioError, match=r"lies outside what was measured \(r 1 to 16"):
        law.accuracy(20, **where(r=64.0))
    assert not is_between([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [0.0, 2.0])
    assert is_between([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [0.5, 0.5])


def test_one_run_has_no_interval() -> None:
    """Nothing says how far a second would be off it."""
    every = group()
    single = every.model_copy(update={"runs": every.runs[:1]})
    (law,) = group_laws(single)
    found = law.accuracy(20, **law.fixed)
    assert found.mean is not None
    assert (found.low, found.high) == (None, None)


def _refutes(found: Coverage, share: float, level: float = 0.001) -> bool:
    """Whether so few hits are less likely than ``level``, if the share were this one."""
    return bool(binom.cdf(found.num_covered, found.num_runs, share) < level)


def test_coverage_of_the_shipped_curves_is_not_refuted() -> None:
    """Later rounds and other seeds: 90 % within, at the 0.1 % level; a tenth as wide is refuted."""
    found: list[HeldOut] = []
    for one in shipped().groups:
        errors = check_curves(one)
        found += [*errors.later, *errors.seeds]
    assert len(found) >= 40
    assert not _refutes(coverage(tuple(found)), 0.9)
    narrow = tuple(
        replace(
            one,
            low=one.predicted - 0.1 * (one.predicted - one.low),
            high=one.predicted + 0.1 * (one.high - one.predicted),
        )
        for one in found
    )
    assert _refutes(coverage(narrow), 0.9)


def test_a_share_of_hits_has_its_own_interval() -> None:
    """Clopper and Pearson's, from their tables: 7 of 9 is 40 to 97 %."""
    hit, miss = HeldOut("a", 1, 0.5, 0.5, 0.4, 0.6), HeldOut("a", 1, 0.9, 0.5, 0.4, 0.6)
    share = coverage((hit,) * 7 + (miss,) * 2)
    assert (share.low, share.high) == (
        pytest.approx(0.400, abs=5e-4),
        pytest.approx(0.972, abs=5e-4),
    )
    assert share.width == pytest.approx(0.2)
    assert coverage((hit,) * 3).high == 1.0
    assert coverage((miss,) * 3).low == 0.0
    assert not _refutes(share, 0.9)
    assert _refutes(coverage((hit,) * 2 + (miss,) * 7), 0.9)


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
    """Settings between others, later rounds, other seeds: as far off as seeds are apart."""
    errors = check_curves(group(), num_draws=40)
    # The middle of each side of the grid, and the middle of all.
    assert len(errors.configurations) == 10
    assert len(errors.later) == len(errors.seeds) == 18
    for found in (errors.configurations, errors.later, errors.seeds):
        assert np.median([abs(one.error) for one in found]) < 0.05
    # By the first 18 rounds, half as many again.
    assert {one.rounds for one in errors.later} == {27}
    shuffled = group()
    first, second = shuffled.runs[0], shuffled.runs[-1]
    swapped = (
        first.model_copy(update={"accuracy": second.accuracy}),
        *shuffled.runs[1:-1],
        second.model_copy(update={"accuracy": first.accuracy}),
    )
    worse = check_curves(shuffled.model_copy(update={"runs": swapped}), num_draws=40)
    assert max(abs(o.error) for o in worse.seeds) > max(abs(o.error) for o in errors.seeds)


def test_files_from_curves_to_a_law(tmp_path: Path) -> None:
    path = tmp_path / "curves.json"
    every = group()
    few = every.model_copy(
        update={"runs": tuple(r for r in every.runs if r.covariates["samples_per_client"] == 900)}
    )
    write_curves(Curves(provenance={"machine": "a test"}, groups=(few,)), path)
    assert read_curves(path).groups[0] == few
    runner = CliRunner()
    fitted = runner.invoke(main, ["learn", "fit", str(path)])
    assert fitted.exit_code == 0, fitted.output
    found, *own = read_laws(tmp_path / "laws.json").laws
    assert len(own) == 3
    assert found.unseen is not None
    fitted_here = fit_group(few, num_draws=1)
    assert found.accuracy(20, **where()).mean == pytest.approx(
        fitted_here.accuracy(20, **where()).mean, abs=1e-5
    )
    checked = runner.invoke(main, ["learn", "check", str(path)])
    assert "another seed" in checked.output
    assert "share, 95 %" in checked.output
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
    return group_laws(group(), num_draws=40)


def test_a_measured_configuration_has_a_law_of_its_own(laws: tuple[LearningLaw, ...]) -> None:
    """Beside the one that interpolates, which says how far such laws miss what is new to them."""
    interpolating, *own = laws
    assert set(interpolating.covariates) == {"r", "samples_per_client"}
    assert interpolating.unseen is not None
    assert interpolating.unseen.num_runs == 10
    assert [law.fixed["r"] for law in own] == [1, 1, 1, 4, 4, 4, 16, 16, 16]
    assert all(law.covariates == () and law.unseen is None for law in own)


def _flat(r: float, samples: float) -> tuple[Run, ...]:
    """Runs that never learn."""
    return tuple(
        run.model_copy(
            update={
                "name": f"{run.name}-flat",
                "covariates": {**run.covariates, "r": r, "samples_per_client": samples},
                "accuracy": tuple(_CHANCE for _ in run.accuracy),
            }
        )
        for run in group().runs[:2]
    )


def test_what_stays_at_chance_ends_what_is_told(laws: tuple[LearningLaw, ...]) -> None:
    """A rank that never learns has its own law, and nothing between it and the others is told."""
    mixed = group().model_copy(update={"runs": (*group().runs, *_flat(0.5, 900))})
    interpolating, *own = group_laws(mixed, num_draws=40)
    assert interpolating.parameters == pytest.approx(laws[0].parameters)
    assert min(law.fixed["r"] for law in own) == 0.5
    with pytest.raises(ScenarioError, match=r"\(r = 0.5 stayed at chance\)"):
        interpolating.accuracy(20, **where(r=0.7))


def test_a_law_over_a_configuration_that_did_not_learn_is_refused_and_counted_a_miss() -> None:
    """One that stayed at chance amid others is not left out of the law's errors."""
    mixed = group().model_copy(update={"runs": (*group().runs, *_flat(2.0, 900))})
    interpolating = group_laws(mixed, num_draws=40)[0]
    with pytest.raises(ScenarioError, match="r = 2, samples_per_client = 900, within what was"):
        interpolating.accuracy(20, **where(r=4.0, samples=600.0))
    missed = [one for one in check_curves(mixed, num_draws=40).configurations if "flat" in one.name]
    assert [one.is_covered for one in missed] == [False, False]
    assert interpolating.unseen is not None
    assert interpolating.unseen.margin > 0.1


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
