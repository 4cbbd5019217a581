"""A measurement plan of one's own, as a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from fedsim.calibration.plan import MeasurementPlan
from fedsim.calibration.shape import Attention, Precision, Shape
from fedsim.calibration.storage import StrictTable, mistakes_of
from fedsim.errors import CalibrationError
from fedsim.text_file import read_text

__all__ = ["read_plan"]


class _ShapeTable(StrictTable):
    num_layers: int = Field(ge=2, le=200)
    hidden_size: int = Field(ge=8, le=32768)
    batch_size: int = Field(ge=1, le=4096)
    num_tokens: int = Field(ge=2, le=4096)
    r: int = Field(ge=1, le=4096)
    head: Literal["classification", "language_model"] = "classification"
    vocab_size: int = Field(default=512, ge=2, le=1_000_000)
    cut_layer: int = Field(default=1, ge=1)
    is_checkpointed: bool = False
    is_padded: bool = True
    precision: Precision = "float32"
    attention: Attention = "eager"
    head_size: int = Field(default=64, ge=1)


class _PlanFile(StrictTable):
    num_passes: int = Field(default=3, ge=2, le=100)
    num_warm_ups: int = Field(default=4, ge=0, le=1000)
    num_repeats: int = Field(default=10, ge=1, le=10000)
    max_redone_share: float = Field(default=0.25, ge=0, le=2)
    shape: list[_ShapeTable] = Field(min_length=3)


def read_plan(path: Path, device_kind: Literal["cpu", "cuda"]) -> MeasurementPlan:
    """The plan of a file.

    Raises
    ------
    CalibrationError
        If the file is missing or wrong; the message names each mistake.

    Examples
    --------
    A file holds ``num_passes``, ``num_warm_ups``, ``num_repeats`` and one ``[[shape]]`` a shape
    with the fields of :class:`fedsim.calibration.shape.Shape`.
    """
    try:
        table = tomllib.loads(
            read_text(
                path,
                f"--plan {path}",
                error=CalibrationError,
                missing=f"--plan {path}: there is no such file; allowed: quick, full, or a TOML "
                "file with [[shape]] tables.",
            )
        )
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"--plan {path}: not valid TOML: {error}.") from error
    try:
        file = _PlanFile.model_validate(table)
    except ValidationError as error:
        raise CalibrationError(f"--plan {path}: {mistakes_of(error)}.") from error
    try:
        shapes = tuple(Shape(**table.model_dump()) for table in file.shape)
        return MeasurementPlan(
            path.stem,
            shapes,
            file.num_passes,
            file.num_warm_ups,
            file.num_repeats,
            file.max_redone_share,
            device_kind,
        )
    except CalibrationError as error:
        raise CalibrationError(f"--plan {path}: {error}") from error
