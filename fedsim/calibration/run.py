"""Run a calibration from plan to profile; fit a folder of measurements again."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from fedsim.calibration.disturbance import latest, unsettled
from fedsim.calibration.judge import held_out_hash
from fedsim.calibration.measurements import Visit, read_csv, to_csv
from fedsim.calibration.memory_fit import MemoryFit, fit_memory
from fedsim.calibration.plan import MeasurementPlan, plan_hash, points
from fedsim.calibration.profile import Profile, load_profile, write_profile
from fedsim.calibration.profile_file import Machine, ProfileFile, Provenance
from fedsim.calibration.shape import Point
from fedsim.calibration.validation import Validation, validate
from fedsim.errors import CalibrationError
from fedsim.spec.device import CODEC_FEATURES, FEATURES
from fedsim.text_file import read_text
from fedsim.version import __version__

__all__ = ["Calibration", "finish", "provenance_of", "refit"]

MEASUREMENTS: Final = "measurements.csv"
VALIDATION: Final = "validation.json"
#: The sentinel is a middling product; larger ones may be somewhat faster.
_PEAK_MARGIN: Final = 1.5


@dataclass(frozen=True)
class Calibration:
    """What a calibration found.

    Attributes
    ----------
    profile : Profile
        As it was written and read back.
    validations : mapping of str to Validation
        By number format.
    memory : MemoryFit or None
    visits : tuple of Visit
    disturbed : frozenset of str
        Names of points that never settled.
    num_resumed : int
        Visits that an interrupted run had left.
    """

    profile: Profile
    validations: Mapping[str, Validation]
    memory: MemoryFit | None
    visits: tuple[Visit, ...]
    disturbed: frozenset[str]
    num_resumed: int = 0


def finish(
    visits: Sequence[Visit],
    out: Path,
    *,
    name: str,
    machine: Machine,
    provenance: Mapping[str, Any],
    num_resumed: int = 0,
) -> Calibration:
    """Fit, judge and write a profile with its measurements and its validation.

    Parameters
    ----------
    visits : sequence of Visit
    out : Path
    name : str
    machine : Machine
    provenance : mapping
        Everything of :class:`fedsim.calibration.profile.Provenance` but the counts that follow
        from the visits.
    num_resumed : int
    """
    # Fitted is what is written, digit for digit: whoever fits the file again gets the same.
    visits = read_csv(to_csv(visits, set(), set()), MEASUREMENTS)
    used = latest(visits)
    _check_held_out(visits, provenance["held_out_sha256"])
    validations = validate(
        visits,
        _bounds(used, int(provenance["sentinel_flop"])),
        has_own_memory=machine.device == "cuda",
    )
    memory, disturbed = fit_memory(visits), unsettled(visits)
    text = to_csv(visits, {v.key for v in used}, disturbed)
    counts = {"num_visits": len(visits), "num_redone": sum(v.attempt > 0 for v in visits)}
    file = ProfileFile.model_validate(
        {
            "schema": 2,
            "fedsim": __version__,
            "name": name,
            "machine": machine,
            "provenance": Provenance(**{**provenance, **counts}),
            "sentinel": _sentinels(used),
            "fit": {precision: _fit_table(v) for precision, v in validations.items()},
            "memory": None if memory is None else asdict(memory),
            "raw": {
                "file": MEASUREMENTS,
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
                "num_rows": text.count("\n") - 1,
            },
        }
    )
    report = json.dumps(validation_document(file, validations, memory, disturbed), indent=1)
    profile = load_profile(write_profile(out, file, text, {VALIDATION: report + "\n"}))
    return Calibration(
        profile, validations, memory, tuple(visits), frozenset(disturbed), num_resumed
    )


def _check_held_out(visits: Sequence[Visit], fixed_sha256: str) -> None:
    """What is left out must be what was fixed ahead of measuring."""
    found = {Point(phase, visit.shape) for visit in visits for phase in visit.seconds}
    if held_out_hash(tuple(found)) != fixed_sha256:
        raise CalibrationError(
            "the measured points are not those of the plan: some are missing, or were added. "
            "Restore the file, or measure again with 'fedsim calibrate'."
        )


def refit(folder: Path) -> Calibration:
    """Fit a measured folder again, without measuring: after an update of fedsim, say.

    Raises
    ------
    ScenarioError, CalibrationError
        If the folder holds no profile, or its measurements are not whole.
    """
    path = folder / "profile.toml"
    file = load_profile(path, checks_features=False).file
    raw = folder / file.raw.file
    text = read_text(
        raw,
        error=CalibrationError,
        cure="Restore the file or measure again with 'fedsim calibrate'.",
    )
    visits = read_csv(text, str(raw))
    return finish(
        visits,
        folder,
        name=file.name,
        machine=file.machine,
        provenance=file.provenance.model_dump(),
    )


def provenance_of(
    plan: MeasurementPlan, *, command: str, commit: str, versions: Mapping[str, str]
) -> dict[str, Any]:
    """What a profile tells of its own making, but for what only the end of the run knows."""
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": commit,
        "plan": plan.name,
        "plan_sha256": plan_hash(plan),
        "held_out_sha256": held_out_hash(tuple(points(plan))),
        **versions,
    }


def validation_document(
    file: ProfileFile,
    validations: Mapping[str, Validation],
    memory: MemoryFit | None,
    disturbed: set[str],
) -> dict[str, Any]:
    """``validation.json``: all that the report shows, with every point."""
    return {
        "schema": 1,
        "profile": file.name,
        "held_out_sha256": file.provenance.held_out_sha256,
        "precisions": {
            precision: {
                "form": v.model.form,
                "form_errors": dict(v.form_errors),
                "nested": asdict(v.nested),
                "nested_choices": dict(v.nested_choices),
                "held_out": {name: asdict(e) for name, e in v.held_out.items()},
                "by_regime": {name: asdict(e) for name, e in v.regimes.items()},
                "noise": {name: asdict(n) for name, n in v.noise.items()},
                "coverage": {name: asdict(c) for name, c in v.coverage.items()},
                "baselines": {name: asdict(e) for name, e in v.baselines.items()},
                "own_on_baseline": {name: asdict(e) for name, e in v.own_on_baseline.items()},
                "features": list(FEATURES),
                "covariance": v.covariance.tolist(),
                "points": [
                    {
                        "name": point.name,
                        "measured_s": float(measured),
                        "predicted_s": float(predicted),
                        "is_disturbed": point.name in disturbed,
                    }
                    for point, measured, predicted in zip(
                        v.points, v.seconds, v.predicted, strict=True
                    )
                ],
            }
            for precision, v in validations.items()
        },
        "memory": None if memory is None else asdict(memory),
    }


def _fit_table(v: Validation) -> dict[str, Any]:
    # Measurements without codecs say nothing of them, and nothing is not 0 s.
    left_out = () if "codec" in v.regimes else CODEC_FEATURES
    coefficients = {n: float(c) for n, c in zip(FEATURES, v.model.coefficients, strict=True)}
    return {
        "form": v.model.form,
        "num_shapes": v.num_shapes,
        "seconds_per_unit": {n: c for n, c in coefficients.items() if n not in left_out},
        "standard_error": {n: e for n, e in v.standard_error.items() if n not in left_out},
        "interval_95": dict(v.interval_95),
        "noise": {regime: asdict(noise) for regime, noise in v.noise.items()},
        "held_out": {name: asdict(errors) for name, errors in v.held_out.items()},
        "by_regime": {regime: asdict(errors) for regime, errors in v.regimes.items()},
        "coverage": {regime: asdict(c) for regime, c in v.coverage.items()},
    }


def _sentinels(visits: Sequence[Visit]) -> dict[str, dict[str, float]]:
    found = {}
    for name in visits[0].sentinel_s:
        values = [v.sentinel_s[name] for v in visits]
        middle = median(values)
        found[name] = {
            "seconds": middle,
            "noise": median(abs(value / middle - 1) for value in values),
        }
    return found


def _bounds(visits: Sequence[Visit], sentinel_flop: int) -> dict[str, float]:
    fastest = min(v.sentinel_s["product"] for v in visits)
    bound = fastest / (_PEAK_MARGIN * sentinel_flop)
    if not bound > 0:
        raise CalibrationError("the product sentinel took no time; measure again.")
    return {"linear_flop": bound, "attention_flop": bound, "head_flop": bound}
