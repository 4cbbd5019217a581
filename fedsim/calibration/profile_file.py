"""``profile.toml``, table for table: fitted coefficients with where they come from."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from fedsim.calibration.storage import StrictTable
from fedsim.spec.device import Form, Regime

__all__ = [
    "MAX_NOISE",
    "SCHEMA",
    "CoverageTable",
    "ErrorTable",
    "Fit",
    "Machine",
    "MemoryTable",
    "NoiseTable",
    "ProfileFile",
    "Provenance",
    "RatioTable",
    "Raw",
    "SentinelTable",
    "Split",
]

SCHEMA: Final = 2
#: Test-retest noise of passes over the model, median, above which a fit is unusable: a machine that
#: does not give its own figures again has none to predict with.
MAX_NOISE: Final = 0.15
#: What was left out together, each in turn.
Split = Literal["configuration", "width_or_depth", "batch_and_tokens", "framework", "larger_model"]
_Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Machine(StrictTable):
    """What was measured."""

    device: str
    processor: str
    num_threads: int = Field(ge=1)
    memory_bytes: int = Field(ge=1)
    operating_system: str


class Provenance(StrictTable):
    """How and with what it was measured."""

    command: str
    date: str
    commit: str
    python: str
    torch: str
    transformers: str
    peft: str
    plan: str
    plan_sha256: str
    held_out_sha256: str
    num_visits: int = Field(ge=1)
    num_redone: int = Field(ge=0)
    sentinel_flop: int = Field(ge=1)
    duration_s: _Finite


class NoiseTable(StrictTable):
    """The machine's own test-retest spread: an error below it is luck."""

    median: _Finite
    p95: _Finite


class ErrorTable(StrictTable):
    """Relative errors on points that the fit did not see."""

    num_points: int = Field(ge=1)
    median: _Finite
    p95: _Finite
    largest: _Finite
    bias: float = Field(allow_inf_nan=False)


class CoverageTable(StrictTable):
    """Held-out points inside the 95 % interval, with the share's own binomial interval."""

    num_points: int = Field(ge=1)
    num_covered: int = Field(ge=0)
    share: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class Fit(StrictTable):
    """The time model of one number format.

    ``interval_95`` is the factor by which measured times of a regime may be above or below the
    prediction; ``held_out`` are the errors of passes over the model by what was left out.
    """

    form: Form
    num_shapes: int = Field(ge=1)
    seconds_per_unit: dict[str, _Finite]
    standard_error: dict[str, _Finite]
    interval_95: dict[Regime, Annotated[float, Field(ge=1, allow_inf_nan=False)]]
    noise: dict[Regime, NoiseTable]
    held_out: dict[Split, ErrorTable]
    by_regime: dict[Regime, ErrorTable]
    coverage: dict[Regime, CoverageTable]

    @model_validator(mode="after")
    def _every_regime_is_judged(self) -> Fit:
        for name in ("interval_95", "noise"):
            missing = {"model", *self.by_regime} - set(getattr(self, name))
            if missing:
                raise ValueError(f"{name} lacks {', '.join(sorted(missing))}")
        return self

    @property
    def is_usable(self) -> bool:
        """Whether the machine gave its own figures again when it was measured."""
        return self.noise["model"].median <= MAX_NOISE


class RatioTable(StrictTable):
    """5 % and 95 % quantiles of measured over counted peaks, at most and at least 1."""

    low: float = Field(gt=0, le=1)
    high: float = Field(ge=1, allow_inf_nan=False)


class MemoryTable(StrictTable):
    """Peak memory: exact categories plus a fitted allocator term, where that helps."""

    workspace_factor: _Finite
    peak: ErrorTable
    unfitted_peak: ErrorTable
    unpadded_peak: ErrorTable | None = None
    saved: ErrorTable | None = None
    padded_ratio: RatioTable | None = None
    unpadded_ratio: RatioTable | None = None


class SentinelTable(StrictTable):
    """One sentinel kernel over all visits."""

    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    noise: _Finite


class Raw(StrictTable):
    """The measurements beside the profile."""

    file: str
    sha256: str
    num_rows: int = Field(ge=1)


class ProfileFile(StrictTable):
    """``profile.toml``, key for key."""

    schema_version: Literal[2] = Field(alias="schema")
    fedsim: str
    name: str
    machine: Machine
    provenance: Provenance
    sentinel: dict[str, SentinelTable]
    fit: dict[str, Fit]
    memory: MemoryTable | None = None
    raw: Raw
