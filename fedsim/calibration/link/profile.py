"""A measured link as files: ``link.toml`` with what was fitted, and the measurements beside it.

Needs neither torch nor scipy, so that a scenario can be run with a profile by somebody who measures
nothing.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import tomli_w
from pydantic import Field, ValidationError

from fedsim.calibration.storage import StrictTable, mistakes_of, write_together
from fedsim.errors import ScenarioError
from fedsim.spec.link import LinkSpec
from fedsim.text_file import decoded

__all__ = [
    "MEASUREMENTS_FILE",
    "PROFILE_FILE",
    "LinkProfile",
    "LinkProfileFile",
    "find_link_profile",
    "load_link_profile",
    "write_link_profile",
]

PROFILE_FILE: Final = "link.toml"
MEASUREMENTS_FILE: Final = "link_measurements.csv"
_SCHEMA: Final = 1
_AGAIN: Final = (
    "Restore the file, or measure again with 'fedsim calibrate link --connect HOST:PORT "
    "--out FOLDER'."
)
_Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LinkEndpoint(StrictTable):
    """What one end of the link was."""

    fedsim: str
    operating_system: str
    congestion_control: str
    slow_start_after_idle: str


class LinkProvenance(StrictTable):
    """How it was measured."""

    command: str
    date: str
    plan: str
    num_passes: int = Field(ge=1)
    largest_bytes: int = Field(ge=1)
    num_messages: int = Field(ge=1)
    duration_s: _Finite


class LinkCoefficients(StrictTable):
    """What :class:`~fedsim.spec.link.LinkSpec` needs; rates are those of message bytes."""

    uplink_bytes_per_s: _Rate
    downlink_bytes_per_s: _Rate
    round_trip_s: _Finite
    handshake_round_trips: _Finite
    initial_window_bytes: int = Field(ge=0)
    message_s: _Finite
    slow_start_visible: bool
    restarts_after_idle: Literal["yes", "no", "not seen"]


class LinkQuality(StrictTable):
    """How far to believe it; errors are relative.

    ``noise`` is the link's own test-retest spread: an error below it is luck.
    """

    num_points: int = Field(ge=1)
    noise_median: _Finite
    noise_p95: _Finite
    held_out_by: Literal["size"]
    held_out_median: _Finite
    held_out_p95: _Finite
    held_out_max: _Finite
    held_out_bias: float = Field(allow_inf_nan=False)
    held_out_new_median: _Finite
    held_out_new_max: _Finite
    held_out_reused_median: _Finite
    held_out_reused_max: _Finite


class LinkRaw(StrictTable):
    """The measurements beside the profile."""

    file: Literal["link_measurements.csv"]
    sha256: str


class LinkProfileFile(StrictTable):
    """``link.toml``, key for key; the file has a ``checksum`` of all of it besides."""

    schema_version: Literal[1] = Field(alias="schema")
    fedsim: str
    name: str = Field(min_length=1)
    here: LinkEndpoint
    there: LinkEndpoint
    provenance: LinkProvenance
    fit: LinkCoefficients
    quality: LinkQuality
    raw: LinkRaw


@dataclass(frozen=True)
class LinkProfile:
    """A loaded profile.

    Attributes
    ----------
    file : LinkProfileFile
    path : Path
    sha256 : str
        Of ``link.toml``.
    link : LinkSpec
        With a new connection for every message.
    """

    file: LinkProfileFile
    path: Path
    sha256: str
    link: LinkSpec


def find_link_profile(name: str, base_dir: Path) -> Path:
    """Path of ``link.toml`` for a folder or the file itself.

    Parameters
    ----------
    name : str
        As a scenario has it.
    base_dir : Path
        Where relative paths start: the scenario's folder.

    Raises
    ------
    ScenarioError
        If there is none.
    """
    given = base_dir / name
    path = given / PROFILE_FILE if given.is_dir() else given
    if path.name != PROFILE_FILE or not path.is_file():
        raise ScenarioError(
            f"link profile {name!r}: no {PROFILE_FILE} there; name a folder that 'fedsim calibrate "
            "link --connect HOST:PORT --out FOLDER' wrote, relative to the scenario's own folder."
        )
    return path


def load_link_profile(path: Path) -> LinkProfile:
    """Read and check a profile and its measurements' hash. Measures nothing.

    Raises
    ------
    ScenarioError
        If a file is missing, truncated, edited, or of another version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ScenarioError(
            f"link profile {path}: cannot be read ({error.strerror}). {_AGAIN}"
        ) from error
    try:
        table = tomllib.loads(decoded(content, f"link profile {path}", cure=_AGAIN))
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"link profile {path}: not valid TOML: {error}. {_AGAIN}") from error
    file = _validated(path, table)
    _check_measurements(path, file)
    sha256 = hashlib.sha256(content).hexdigest()
    fit = file.fit
    link = LinkSpec(
        name=file.name,
        uplink_bytes_per_s=fit.uplink_bytes_per_s,
        downlink_bytes_per_s=fit.downlink_bytes_per_s,
        round_trip_s=fit.round_trip_s,
        handshake_round_trips=fit.handshake_round_trips,
        initial_window_bytes=fit.initial_window_bytes,
        payload_fraction=1.0,
        message_s=fit.message_s,
        source=f"fedsim calibrate link, {file.provenance.date}, link.toml {sha256[:12]}",
    )
    return LinkProfile(file, path, sha256, link)


def write_link_profile(folder: Path, file: LinkProfileFile, measurements: str) -> Path:
    """Write measurements and profile, each to a temporary name first and then renamed.

    Raises
    ------
    CalibrationError
        If the folder cannot be written; nothing that was there is changed.
    """
    table = file.model_dump(by_alias=True)
    table = {"checksum": _checksum(table), **table}
    write_together(folder, {MEASUREMENTS_FILE: measurements, PROFILE_FILE: tomli_w.dumps(table)})
    return folder / PROFILE_FILE


def _checksum(table: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def _validated(path: Path, table: dict[str, Any]) -> LinkProfileFile:
    version = table.get("schema")
    if version != _SCHEMA:
        raise ScenarioError(
            f"link profile {path}: schema = {version!r}; this fedsim reads schema {_SCHEMA}. "
            f"{_AGAIN}"
        )
    checksum = table.pop("checksum", None)
    try:
        file = LinkProfileFile.model_validate(table)
    except ValidationError as error:
        raise ScenarioError(f"link profile {path}: {mistakes_of(error)}. {_AGAIN}") from error
    if checksum != _checksum(table):
        raise ScenarioError(
            f"link profile {path}: was edited or cut after it was written (its checksum differs). "
            f"{_AGAIN} To change a figure, write it in the scenario's [link] beside the profile."
        )
    return file


def _check_measurements(path: Path, file: LinkProfileFile) -> None:
    raw = path.parent / file.raw.file
    try:
        found = hashlib.sha256(raw.read_bytes()).hexdigest()
    except OSError as error:
        raise ScenarioError(
            f"link profile {path}: its measurements {file.raw.file} cannot be read "
            f"({error.strerror}). Keep both files in one folder. {_AGAIN}"
        ) from error
    if found != file.raw.sha256:
        raise ScenarioError(
            f"link profile {path}: {file.raw.file} has sha256 {found[:12]}..., the profile was "
            f"fitted to {file.raw.sha256[:12]}.... {_AGAIN}"
        )
