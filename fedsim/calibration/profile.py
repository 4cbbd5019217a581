"""A calibrated profile as a file: fitted coefficients with where they come from.

Needs no torch, so that a scenario can be run with a shipped profile by somebody who has none.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedsim.errors import CalibrationError, ScenarioError, nearest
from fedsim.resources import resource_dir
from fedsim.spec.device import FEATURES, DeviceSpec

__all__ = [
    "Profile",
    "ProfileFile",
    "find_profile",
    "load_profile",
    "profile_names",
    "write_profile",
]

SCHEMA = 1
_Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Machine(_Table):
    """What was measured."""

    device: str
    processor: str
    num_threads: int = Field(ge=1)
    memory_bytes: int = Field(ge=1)
    operating_system: str


class Provenance(_Table):
    """How and with what it was measured."""

    command: str
    date: str
    commit: str
    python: str
    torch: str
    transformers: str
    peft: str
    plan: str
    duration_s: _Finite


class Fit(_Table):
    """The time model: seconds are the sum of feature times coefficient."""

    seconds_per_unit: dict[str, _Finite]
    relative_sigma: _Finite


class Quality(_Table):
    """How far to believe it; errors are relative.

    ``noise`` is the machine's own test-retest spread: an error below it is luck.
    """

    num_points: int = Field(ge=1)
    noise_median: _Finite
    noise_p95: _Finite
    held_out_by: str
    held_out_median: _Finite
    held_out_p95: _Finite
    held_out_max: _Finite
    held_out_bias: float
    coverage_95: float = Field(ge=0, le=1)


class Raw(_Table):
    """The measurements beside the profile."""

    file: str
    sha256: str


class ProfileFile(_Table):
    """``profile.toml``, key for key."""

    schema_version: Literal[1] = Field(alias="schema")
    fedsim: str
    name: str
    machine: Machine
    provenance: Provenance
    fit: Fit
    quality: Quality
    raw: Raw


@dataclass(frozen=True)
class Profile:
    """A loaded profile.

    Attributes
    ----------
    file : ProfileFile
    path : Path
    sha256 : str
        Of ``profile.toml``, to name the profile in results.
    device : DeviceSpec
        The measured device, for the time model.
    """

    file: ProfileFile
    path: Path
    sha256: str
    device: DeviceSpec


def profile_names() -> tuple[str, ...]:
    """Names of the shipped profiles."""
    root = resource_dir("calibrate")
    return tuple(sorted(path.parent.name for path in root.glob("*/profile.toml")))


def find_profile(name_or_path: str, base_dir: Path | None = None) -> Path:
    """Path of ``profile.toml`` for a shipped name, a folder or a file.

    Raises
    ------
    ScenarioError
        If there is none, with the names that exist.
    """
    given = Path(name_or_path)
    candidates = [given if base_dir is None else base_dir / given, given]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
        if (candidate / "profile.toml").is_file():
            return candidate / "profile.toml"
    names = profile_names()
    if name_or_path in names:
        return resource_dir("calibrate") / name_or_path / "profile.toml"
    raise ScenarioError(
        f"profile '{name_or_path}' is neither a shipped profile nor a file; shipped: "
        f"{', '.join(names) or 'none'}.{nearest(name_or_path, names)} "
        "Measure this machine with 'fedsim calibrate --plan quick --out FOLDER' and name FOLDER."
    )


def load_profile(path: Path) -> Profile:
    """Read and check a profile and its measurements' hash. Measures nothing.

    Raises
    ------
    ScenarioError
        If the file is missing, broken, of another version, or not what was measured.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"profile {path}: cannot be read ({error.strerror}).") from error
    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(
            f"profile {path}: not valid TOML: {error}. Restore the file or measure again with "
            "'fedsim calibrate'."
        ) from error
    file = _validated(path, table)
    _check_raw(path, file)
    device = DeviceSpec(
        name=file.name,
        seconds_per_unit=dict(file.fit.seconds_per_unit),
        relative_sigma=file.fit.relative_sigma,
        memory_bytes=file.machine.memory_bytes,
        compute_dtype="float32",
        is_calibrated=True,
        source=f"fedsim calibrate, {file.provenance.date}, {file.machine.processor}",
    )
    return Profile(file, path, hashlib.sha256(content).hexdigest(), device)


def write_profile(folder: Path, file: ProfileFile, measurements: str) -> Path:
    """Write measurements and profile, each to a temporary name first and then renamed.

    Raises
    ------
    CalibrationError
        If the folder cannot be written; nothing that was there is changed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_text(folder / file.raw.file, measurements)
        path = folder / "profile.toml"
        _write_text(path, tomli_w.dumps(file.model_dump(by_alias=True)))
    except OSError as error:
        raise CalibrationError(f"{folder}: cannot be written ({error.strerror}).") from error
    return path


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _validated(path: Path, table: dict[str, Any]) -> ProfileFile:
    version = table.get("schema")
    if version != SCHEMA:
        raise ScenarioError(
            f"profile {path}: schema = {version!r}; this fedsim reads schema {SCHEMA}. "
            "Measure again with 'fedsim calibrate'."
        )
    try:
        file = ProfileFile.model_validate(table)
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(str(part) for part in mistake['loc'])}: {mistake['msg']}"
            for mistake in error.errors()
        )
        raise ScenarioError(
            f"profile {path}: {mistakes}. Restore the file or measure again with "
            "'fedsim calibrate'."
        ) from error
    differing = set(file.fit.seconds_per_unit) ^ set(FEATURES)
    if differing:
        raise ScenarioError(
            f"profile {path}: fit.seconds_per_unit has other kinds of work than this fedsim "
            f"({', '.join(sorted(differing))} on one side only). Measure again with "
            "'fedsim calibrate'."
        )
    return file


def _check_raw(path: Path, file: ProfileFile) -> None:
    raw = path.parent / file.raw.file
    try:
        found = hashlib.sha256(raw.read_bytes()).hexdigest()
    except OSError as error:
        raise ScenarioError(
            f"profile {path}: its measurements {file.raw.file} cannot be read "
            f"({error.strerror}). Keep both files in one folder."
        ) from error
    if found != file.raw.sha256:
        raise ScenarioError(
            f"profile {path}: {file.raw.file} has sha256 {found[:12]}..., the profile was fitted "
            f"to {file.raw.sha256[:12]}.... Restore the file or measure again with "
            "'fedsim calibrate'."
        )
