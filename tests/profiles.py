"""Profiles and measurements made up for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedsim.calibration.fit import TimeModel
from fedsim.calibration.measurements import Visit
from fedsim.calibration.profile import write_profile
from fedsim.calibration.profile_file import ProfileFile
from fedsim.calibration.shape import PHASES, Point, Shape
from fedsim.spec.device import FEATURES, Form

MEASUREMENTS = "phase,seconds\ntrain,0.1\n"

#: A device much like a small processor: seconds a FLOP, a byte, an operator.
TRUTH = {
    "linear_flop": 8e-12,
    "attention_flop": 2e-11,
    "head_flop": 1.2e-11,
    "lora_bytes": 1.5e-10,
    "moved_bytes": 5e-11,
    "weight_bytes": 1e-10,
    "parameter_bytes": 2e-10,
    "num_kernels": 8e-6,
    "num_parameter_kernels": 6e-6,
    "num_replaced_tensors": 5e-5,
    "num_calls": 3e-4,
    "packed_bytes": 4e-10,
    "unpacked_bytes": 1e-10,
    "num_packed_tensors": 5e-6,
    "num_unpacked_tensors": 3e-6,
    "num_messages": 2e-5,
    "copied_bytes": 0.0,
    "encoded_bytes": 3e-10,
    "decoded_bytes": 2e-10,
    "num_codec_kernels": 4e-6,
}


def true_model(form: Form = "additive", factor: float = 1.0) -> TimeModel:
    """The device that made the measurements."""
    return TimeModel(form, factor * np.array([TRUTH[name] for name in FEATURES]))


def made_up_visits(
    shapes: Sequence[Shape],
    *,
    noise: float,
    seed: int,
    num_passes: int = 3,
    num_repeats: int = 3,
    model: TimeModel | None = None,
) -> list[Visit]:
    """Visits as a device with known coefficients would give them, with log-normal noise."""
    rng = np.random.default_rng(seed)
    truth = model or true_model()
    visits = []
    for shape in shapes:
        features = np.array([Point(phase, shape).work().features() for phase in PHASES])
        exact = truth.predict(features)
        for pass_index in range(num_passes):
            seconds = {}
            for phase, value in zip(PHASES, exact, strict=True):
                level = value * np.exp(rng.normal(0.0, noise))
                repeats = level * np.exp(rng.normal(0.0, noise / 10, num_repeats))
                seconds[phase] = tuple(float(r) for r in repeats)
            sentinels = {
                name: 1e-3 * float(np.exp(rng.normal(0.0, noise / 4)))
                for name in ("product", "stream", "dispatch")
            }
            visits.append(Visit(shape, pass_index, 0, seconds, sentinels))
    return visits


def profile_content(seconds: float = 1e-9, text: str = MEASUREMENTS) -> dict[str, Any]:
    """A complete profile whose every unit of work takes as long."""
    errors = {"num_points": 10, "median": 0.01, "p95": 0.02, "largest": 0.03, "bias": -0.001}
    return {
        "schema": 2,
        "fedsim": "0.1.0",
        "name": "bench",
        "machine": {
            "device": "cpu",
            "processor": "a processor",
            "num_threads": 2,
            "memory_bytes": 10**12,
            "operating_system": "an OS",
        },
        "provenance": {
            "command": "fedsim calibrate",
            "date": "2026-01-01",
            "commit": "unknown",
            "python": "3.11",
            "torch": "2.13",
            "transformers": "5",
            "peft": "0.21",
            "plan": "quick",
            "plan_sha256": "0" * 16,
            "held_out_sha256": "0" * 64,
            "num_visits": 4,
            "num_redone": 0,
            "sentinel_flop": 10**6,
            "duration_s": 1.0,
        },
        "sentinel": {
            name: {"seconds": 1e-3, "noise": 0.01} for name in ("product", "stream", "dispatch")
        },
        "fit": {
            "float32": {
                "form": "additive",
                "num_shapes": 10,
                "seconds_per_unit": dict.fromkeys(FEATURES, seconds),
                "standard_error": dict.fromkeys(FEATURES, seconds / 10),
                "interval_95": {"model": 1.2, "parameters": 1.5, "message": 1.4},
                "noise": {"model": {"median": 0.01, "p95": 0.03}},
                "held_out": {"configuration": errors},
                "by_regime": {"model": errors},
                "coverage": {
                    "model": {
                        "num_points": 10,
                        "num_covered": 9,
                        "share": 0.9,
                        "low": 0.55,
                        "high": 0.99,
                    }
                },
            }
        },
        "raw": {
            "file": "measurements.csv",
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "num_rows": text.count("\n") - 1,
        },
    }


def written_profile(folder: Path, seconds: float = 1e-9, noise: float = 0.01) -> Path:
    """A profile on disk, of a machine with so much test-retest noise."""
    content = profile_content(seconds)
    content["fit"]["float32"]["noise"]["model"]["median"] = noise
    return write_profile(folder, ProfileFile.model_validate(content), MEASUREMENTS)
