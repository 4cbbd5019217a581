"""Measured learning curves as a file: what was run, under which conditions, by which machine.

Decides what makes two runs comparable: the same framework and the same *conditions* (data set,
model, weights, batch, learning rate and whatever else was chosen) form a group; within a group only
the *covariates* differ, which a law may interpolate.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedsim.errors import ScenarioError
from fedsim.files import write_file
from fedsim.text_file import read_text

__all__ = ["COVARIATES", "CurveGroup", "Curves", "Run", "read_curves", "write_curves"]

#: What a law may interpolate in: all positive numbers, on logarithmic scales.
COVARIATES: Final = (
    "r",
    "samples_per_client",
    "public_samples",
    "num_clients",
    "participation",
    "staleness",
)

_Unit = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Run(_Part):
    """One training run.

    Attributes
    ----------
    name : str
    seed : int
    covariates : dict of str to float
        The same names in all runs of a group.
    rounds : tuple of int
        Ascending; 0 is the model ahead of the first round.
    accuracy : tuple of float
        Of the global model on the test set, after so many rounds.
    """

    name: str
    seed: int
    covariates: dict[Literal[COVARIATES], _Positive]  # type: ignore[valid-type]
    rounds: tuple[Annotated[int, Field(ge=0)], ...]
    accuracy: tuple[_Unit, ...]

    @model_validator(mode="after")
    def _check(self) -> Run:
        if len(self.rounds) != len(self.accuracy) or len(self.rounds) < 2:
            raise ValueError(
                f"run '{self.name}': {len(self.rounds)} rounds and {len(self.accuracy)} accuracies;"
                " as many of each are needed, at least 2."
            )
        if any(b <= a for a, b in zip(self.rounds, self.rounds[1:], strict=False)):
            raise ValueError(f"run '{self.name}': rounds must ascend.")
        return self


class CurveGroup(_Part):
    """Runs that differ by covariates and seeds alone.

    Attributes
    ----------
    framework : str
    conditions : dict of str to str, int, float or bool
        What all runs have in common.
    chance : float
        Accuracy of guessing.
    test_samples : int
        Of the test set: what an accuracy is rounded to.
    runs : tuple of Run
    """

    framework: str
    conditions: dict[str, str | int | float | bool]
    chance: _Unit
    test_samples: Annotated[int, Field(ge=1)]
    runs: Annotated[tuple[Run, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> CurveGroup:
        names = {tuple(sorted(run.covariates)) for run in self.runs}
        if len(names) > 1:
            raise ValueError(f"{self.framework}: runs have different covariates: {sorted(names)}.")
        return self

    @property
    def last_round(self) -> int:
        """The most rounds that any run has."""
        return max(run.rounds[-1] for run in self.runs)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Least and largest value of each covariate."""
        names = sorted(self.runs[0].covariates)
        values = {name: [run.covariates[name] for run in self.runs] for name in names}
        return {name: (min(found), max(found)) for name, found in values.items()}

    def configurations(self) -> dict[tuple[float, ...], tuple[Run, ...]]:
        """Runs by their covariates' values."""
        found: dict[tuple[float, ...], list[Run]] = {}
        for run in self.runs:
            key = tuple(run.covariates[name] for name in sorted(run.covariates))
            found.setdefault(key, []).append(run)
        return {key: tuple(runs) for key, runs in sorted(found.items())}


class Curves(_Part):
    """A file of curves.

    Attributes
    ----------
    schema_version : int
    provenance : dict
        Command, machine, date, versions, weights.
    groups : tuple of CurveGroup
    """

    schema_version: Literal[2] = 2
    provenance: dict[str, Any]
    groups: Annotated[tuple[CurveGroup, ...], Field(min_length=1)]

    def own_conditions(self, group: CurveGroup) -> str:
        """What tells a group from others of its framework, in words."""
        others = [o for o in self.groups if o.framework == group.framework and o is not group]
        return ", ".join(
            f"{name.rpartition('.')[2]} = {value}"
            for name, value in group.conditions.items()
            if any(other.conditions.get(name) != value for other in others)
        )


def read_curves(path: Path) -> Curves:
    """Read and check a file.

    Raises
    ------
    ScenarioError
        With what is wrong in it, and where.
    """
    try:
        table = json.loads(
            read_text(path, missing=f"{path}: there is no such file of learning curves.")
        )
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"{path}: cannot be read as learning curves ({error}).") from error
    try:
        return Curves.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ScenarioError(
            f"{path}: {where}: {first['msg']} ({error.error_count()} mistakes in all); write it "
            "anew with 'fedsim learn collect'."
        ) from error


def write_curves(curves: Curves, path: Path) -> None:
    """Write a file, whole or not at all."""
    text = json.dumps(curves.model_dump(mode="json"), indent=1, ensure_ascii=False)
    # A line for each run's numbers: a file that is read in a diff.
    write_file(path, _compact(text) + "\n")


def _compact(text: str) -> str:
    """Lists of numbers on one line each."""
    lines, open_list = [], ""
    for line in text.splitlines():
        if open_list:
            open_list += line.strip()
            if line.strip().startswith("]"):
                lines.append(open_list.replace(",", ", "))
                open_list = ""
        elif line.endswith(('"rounds": [', '"accuracy": [')):
            open_list = line
        else:
            lines.append(line)
    return "\n".join(lines)
