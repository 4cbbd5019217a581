"""A calibrated profile: found, read, checked, written, and what it says of its device.

Needs no torch, so that a scenario can be run with a shipped profile by somebody who has none.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any, Final

import tomli_w
from pydantic import ValidationError

from fedsim.calibration.profile_file import MAX_NOISE, SCHEMA, ProfileFile
from fedsim.calibration.storage import mistakes_of, write_together
from fedsim.errors import ScenarioError, nearest
from fedsim.resources import resource_dir
from fedsim.spec.device import CODEC_FEATURES, FEATURES, Z95, DeviceSpec, Regime
from fedsim.spec.memory_margin import UNMEASURED, MemoryMargin, MemoryMargins
from fedsim.text_file import decoded

__all__ = [
    "Profile",
    "find_profile",
    "load_profile",
    "profile_names",
    "write_profile",
]

_CURE: Final = "Restore the file or measure again with 'fedsim calibrate'."


@dataclass(frozen=True)
class Profile:
    """A loaded profile.

    Attributes
    ----------
    file : ProfileFile
    path : Path
    sha256 : str
        Of ``profile.toml``, to name the profile in results.
    """

    file: ProfileFile
    path: Path
    sha256: str

    @property
    def device(self) -> DeviceSpec:
        """The measured device in 32-bit arithmetic, or the first that was measured."""
        fits = self.file.fit
        return self.device_for("float32" if "float32" in fits else next(iter(fits)))

    @property
    def memory_margins(self) -> MemoryMargins:
        """How far its measured peaks of memory were from counted ones, configurations left out.

        What it did not measure is taken from :data:`fedsim.spec.memory_margin.UNMEASURED`.
        """
        memory = self.file.memory
        found = (None, None) if memory is None else (memory.padded_ratio, memory.unpadded_ratio)
        if found == (None, None):
            return UNMEASURED
        padded, unpadded = (
            other if table is None else MemoryMargin(table.low, table.high)
            for table, other in zip(found, (UNMEASURED.padded, UNMEASURED.unpadded), strict=True)
        )
        return MemoryMargins(padded, unpadded, f"held-out errors of profile '{self.file.name}'")

    def unusable(self, precision: str) -> str:
        """Why a format's seconds must not be believed; empty where they may be."""
        fit = self.file.fit[precision]
        if fit.is_usable:
            return ""
        return (
            f"profile '{self.file.name}' is unusable in {precision}: its machine took "
            f"{fit.noise['model'].median:.0%} more or less time (median) when it did the same "
            f"passes over the model again, and {MAX_NOISE:.0%} is allowed. Its seconds say "
            "nothing, whatever their interval: measure again on a quiet machine with 'fedsim "
            "calibrate --out FOLDER --force'"
        )

    def device_for(self, precision: str) -> DeviceSpec:
        """The measured device in one kind of arithmetic.

        Parameters
        ----------
        precision : str
            See :func:`fedsim.spec.dtype.precision_name`.

        Raises
        ------
        ScenarioError
            If it was not measured: no other format is taken for it.
        """
        file = self.file
        fit = file.fit.get(precision)
        if fit is None:
            raise ScenarioError(
                f"profile '{file.name}' was measured in {', '.join(file.fit)}, and this computes "
                f"in {precision}; choose model.compute_dtype and model.weights_dtype by it, or "
                "measure that format with 'fedsim calibrate --plan FILE'."
            )
        intervals: dict[Regime, tuple[float, float]] = {
            regime: (1 / factor, factor) for regime, factor in fit.interval_95.items()
        }
        widest = fit.interval_95.get("model", max(fit.interval_95.values(), default=1.0))
        return DeviceSpec(
            name=file.name,
            seconds_per_unit=dict(fit.seconds_per_unit),
            relative_sigma=log(widest) / Z95,
            form=fit.form,
            interval_95=intervals,
            memory_bytes=file.machine.memory_bytes,
            precision=precision,
            precisions=tuple(file.fit),
            is_calibrated=True,
            source=f"fedsim calibrate, {file.provenance.date}, {file.machine.processor}",
            memory_margins=self.memory_margins,
            warning=self.unusable(precision),
        )


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


def load_profile(path: Path, *, checks_features: bool = True) -> Profile:
    """Read and check a profile and its measurements' hash. Measures nothing.

    Parameters
    ----------
    path : Path
        Of ``profile.toml``.
    checks_features : bool
        False only for who will fit it again: the kinds of work may be another fedsim's.

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
        table = tomllib.loads(decoded(content, f"profile {path}", cure=_CURE))
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"profile {path}: not valid TOML: {error}. {_CURE}") from error
    file = _validated(path, table)
    if checks_features:
        _check_features(path, file)
    _check_raw(path, file)
    return Profile(file, path, hashlib.sha256(content).hexdigest())


def write_profile(
    folder: Path, file: ProfileFile, measurements: str, others: Mapping[str, str] | None = None
) -> Path:
    """Write measurements and profile, each to a temporary name first and then renamed.

    Parameters
    ----------
    folder : Path
    file : ProfileFile
    measurements : str
        Content of ``file.raw.file``.
    others : mapping of str to str, optional
        Further files by name; the profile comes last, so that it never stands for what is not
        there.

    Raises
    ------
    CalibrationError
        If the folder cannot be written; nothing that was there is changed.
    """
    profile = tomli_w.dumps(file.model_dump(by_alias=True, exclude_none=True))
    texts = {**(others or {}), file.raw.file: measurements, "profile.toml": profile}
    write_together(folder, texts)
    return folder / "profile.toml"


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
        raise ScenarioError(
            f"profile {path}: {mistakes_of(error)}. Restore the file or measure again with "
            "'fedsim calibrate'."
        ) from error
    if not file.fit:
        raise ScenarioError(
            f"profile {path}: fit is empty. Restore the file or measure again with "
            "'fedsim calibrate'."
        )
    return file


def _check_features(path: Path, file: ProfileFile) -> None:
    for precision, fit in file.fit.items():
        for name in ("seconds_per_unit", "standard_error"):
            # One without codecs still answers: they are priced by an estimate.
            differing = (set(getattr(fit, name)) ^ set(FEATURES)) - set(CODEC_FEATURES)
            if not differing:
                continue
            raise ScenarioError(
                f"profile {path}: fit.{precision}.{name} has other kinds of work than "
                f"this fedsim ({', '.join(sorted(differing))} on one side only). Fit it again with "
                "'fedsim calibrate fit FOLDER', or measure again with 'fedsim calibrate'."
            )


def _check_raw(path: Path, file: ProfileFile) -> None:
    raw = path.parent / file.raw.file
    try:
        content = raw.read_bytes()
    except OSError as error:
        raise ScenarioError(
            f"profile {path}: its measurements {file.raw.file} cannot be read "
            f"({error.strerror}). Keep both files in one folder."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    num_rows = max(0, content.count(b"\n") - 1)
    if num_rows != file.raw.num_rows:
        raise ScenarioError(
            f"profile {path}: {file.raw.file} has {num_rows} rows, the profile was fitted to "
            f"{file.raw.num_rows}. Restore the file or measure again with 'fedsim calibrate'."
        )
    if found != file.raw.sha256:
        raise ScenarioError(
            f"profile {path}: {file.raw.file} has sha256 {found[:12]}..., the profile was fitted "
            f"to {file.raw.sha256[:12]}.... Restore the file or measure again with "
            "'fedsim calibrate'."
        )
