"""Fitted laws as a file beside the curves: what a scenario reads, so that it fits nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedsim.errors import ScenarioError
from fedsim.files import write_file
from fedsim.learning.families import FAMILIES, Family
from fedsim.learning.law import LearningLaw, Unseen
from fedsim.learning.reach import Measured
from fedsim.text_file import read_text

__all__ = ["Laws", "curves_hash", "read_laws", "write_laws"]

_Row = tuple[float, ...]


class _Unseen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    error: Annotated[float, Field(ge=0, le=1)]
    margin: Annotated[float, Field(ge=0, le=1)]
    num_covered: Annotated[int, Field(ge=0)]
    num_runs: Annotated[int, Field(ge=1)]


class _Family(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Literal[FAMILIES]  # type: ignore[valid-type]
    parameters: Annotated[_Row, Field(min_length=2, max_length=3)]
    error: Annotated[float, Field(ge=0)]


class _Measured(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    covariates: dict[str, float]
    rounds: Annotated[int, Field(ge=1)]
    accuracy: Annotated[float, Field(ge=0, le=1)]
    num_runs: Annotated[int, Field(ge=1)]
    is_at_chance: bool


class _Law(BaseModel):
    """A law as numbers; see :class:`fedsim.learning.law.LearningLaw`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    framework: str
    conditions: dict[str, str | int | float | bool]
    covariates: tuple[str, ...]
    fixed: dict[str, float]
    middle: _Row
    last_round: Annotated[int, Field(ge=1)]
    chance: Annotated[float, Field(ge=0, le=1)]
    measured: Annotated[tuple[_Measured, ...], Field(min_length=1)]
    parameters: _Row
    draws: tuple[_Row, ...]
    places: _Row
    scatter: tuple[_Row, ...]
    families: tuple[_Family, ...] = ()
    unseen: _Unseen | None = None

    @classmethod
    def of(cls, law: LearningLaw) -> _Law:
        """Seven digits: far beyond what the bootstrap knows, and a third of the file."""
        table = {name: getattr(law, name) for name in cls.model_fields}
        rounded: dict[str, Any] = {
            name: np.round(value, 7).tolist() if isinstance(value, np.ndarray) else value
            for name, value in table.items()
        }
        rounded["measured"] = tuple(_Measured(**asdict(one)) for one in law.measured)
        rounded["families"] = tuple(_Family(**asdict(one)) for one in law.families)
        if law.unseen is not None:
            rounded["unseen"] = _Unseen(**asdict(law.unseen))
        return cls(**rounded)

    def law(self) -> LearningLaw:
        """As arrays."""
        width = 3 + 2 * len(self.covariates)
        if len(self.parameters) != width or any(len(row) != width for row in self.draws):
            raise ValueError(f"{self.framework}: {width} parameters are needed")
        if len(self.scatter) != len(self.draws) or any(
            len(row) != len(self.places) for row in self.scatter
        ):
            raise ValueError(f"{self.framework}: each draw needs a path of scatter")
        return LearningLaw(
            framework=self.framework,
            conditions=self.conditions,
            covariates=self.covariates,
            fixed=self.fixed,
            middle=np.array(self.middle),
            last_round=self.last_round,
            chance=self.chance,
            measured=tuple(Measured(**one.model_dump()) for one in self.measured),
            parameters=np.array(self.parameters),
            draws=np.array(self.draws).reshape(len(self.draws), width),
            places=np.array(self.places),
            scatter=np.array(self.scatter).reshape(len(self.scatter), len(self.places)),
            families=tuple(Family(**one.model_dump()) for one in self.families),
            unseen=None if self.unseen is None else Unseen(**self.unseen.model_dump()),
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[2] = 2
    curves_sha256: str
    provenance: dict[str, Any]
    laws: Annotated[tuple[_Law, ...], Field(min_length=1)]


@dataclass(frozen=True, eq=False)
class Laws:
    """All laws of a file.

    Attributes
    ----------
    laws : tuple of LearningLaw
    provenance : dict
        Of the curves.
    curves_sha256 : str
        Of the file of curves that they were fitted to.
    """

    laws: tuple[LearningLaw, ...]
    provenance: dict[str, Any]
    curves_sha256: str


def curves_hash(path: Path) -> str:
    """SHA-256 of a file of curves."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_laws(laws: Laws, path: Path) -> None:
    """Write a file, whole or not at all."""
    file = _File(
        curves_sha256=laws.curves_sha256,
        provenance=laws.provenance,
        laws=tuple(_Law.of(law) for law in laws.laws),
    )
    write_file(path, json.dumps(file.model_dump(mode="json")) + "\n")


def read_laws(path: Path) -> Laws:
    """Read and check a file.

    Raises
    ------
    ScenarioError
        If it is no such file.
    """
    try:
        file = _File.model_validate_json(
            read_text(path, missing=f"{path}: there is no such file of fitted learning curves.")
        )
        return Laws(tuple(law.law() for law in file.laws), file.provenance, file.curves_sha256)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _no_laws(path, f"{where}: {first['msg']}" if where else first["msg"]) from error
    except ValueError as error:
        raise _no_laws(path, str(error)) from error


def _no_laws(path: Path, reason: str) -> ScenarioError:
    return ScenarioError(
        f"{path}: no file of fitted learning curves ({reason}); write it with 'fedsim learn fit'."
    )
