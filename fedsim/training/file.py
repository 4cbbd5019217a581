"""A case of a scenario file, read to be run: the same file, the same pass, and what a run adds.

Decides which case is meant, and what of a case belongs to a run's identity. What keys may say is
for the scenario's own checks; what a real run cannot do is for :mod:`fedsim.training.check`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from fedsim.errors import ScenarioError
from fedsim.protocol import Framework
from fedsim.runtime.data import check_dataset
from fedsim.scenario.build.case import case_entries, case_entry, with_case
from fedsim.scenario.build.checked_case import STAND_INS, CheckedCase, checked_cases
from fedsim.scenario.file.document import Document, Source, read_document
from fedsim.scenario.file.mistake import Mistake, refusal, shown
from fedsim.scenario.file.override import Overrides
from fedsim.scenario.file.settings import Settings
from fedsim.scenario.file.training_tables import DataTable, TrainTable
from fedsim.spec.dataset import TextSource
from fedsim.spec.federation import FederationSpec
from fedsim.spec.policy import PolicySpec
from fedsim.training.check import run_mistakes
from fedsim.training.translate import mistakes_of

__all__ = ["TrainingDocument", "read_training", "read_trainings"]

#: Tables and keys on which no round of a real run depends, so that they may change within one.
_NOT_OF_A_RUN: Final = (
    *("question", "goal", "engine", "profile", "device", "link", "server", "price", "case"),
    *("workload.num_rounds", "workload.lengths", "workload.available_samples"),
    *("learning.curves", "learning.transfer", "learning.extrapolate", "learning.target_accuracy"),
    *(f"learning.budget_{name}" for name in ("time", "bytes", "energy", "money")),
    *("train.seeds", "train.checkpoint_every"),
)
_NOT_OF_A_CLASS: Final = ("device", "link")
#: Of a case, as its own table has it.
_MAX_NAME: Final = 60


@dataclass(frozen=True)
class TrainingDocument:
    """One case of a scenario file, to be run.

    Attributes
    ----------
    name : str
        The file as the user gave it.
    case : CheckedCase
        The case with its settings and plans.
    given : frozenset of str
        Tables that the file has, of those that a run does without.
    """

    name: str
    case: CheckedCase
    given: frozenset[str]

    @classmethod
    def of(cls, name: str, folder: Path, table: Mapping[str, Any]) -> TrainingDocument:
        """A table that fedsim itself made, of a study's run."""
        return _read(Document(name, folder, dict(table), plain=dict(table)), None)

    @property
    def folder(self) -> Path:
        """Where relative paths of the file start."""
        return self.case.context.folder

    @property
    def settings(self) -> Settings:
        """All tables of the case."""
        return self.case.settings

    @property
    def framework(self) -> Framework:
        """What a round is."""
        return self.case.case.framework

    @property
    def federation(self) -> FederationSpec:
        """Classes of clients with their plans, as a scenario has them."""
        return self.case.federation

    @property
    def policy(self) -> PolicySpec:
        """How many clients a round asks."""
        return self.case.policy

    @property
    def data(self) -> DataTable:
        """``[data]``."""
        assert self.settings.data is not None
        return self.settings.data

    @property
    def train(self) -> TrainTable:
        """``[train]``."""
        return self.settings.train

    @property
    def seeds(self) -> tuple[int, ...]:
        """One run each."""
        return (self.settings.seed,) if self.train.seeds is None else self.train.seeds

    @property
    def source(self) -> TextSource:
        """Where the clients' texts come from."""
        return self.data.dataset.source(self.folder)

    @property
    def public_source(self) -> TextSource | None:
        """Where public texts come from; None for the clients' own data set."""
        table = self.data.public_dataset
        found = None if table is None else table.source(self.folder)
        return None if found == self.source else found

    def check_data(self, data_dir: Path | None) -> None:
        """See that the folders of its data sets are there.

        Raises
        ------
        ScenarioError
            If one is not.
        """
        for key, source in (("dataset", self.source), ("public_dataset", self.public_source)):
            if source is None:
                continue
            try:
                check_dataset(source, data_dir)
            except ScenarioError as error:
                mistakes = mistakes_of(error, f"[data] {key}")
                raise refusal(m.line(self.name) for m in mistakes) from error

    def configuration(self) -> dict[str, Any]:
        """All keys that the file has or could have, defaults included, as JSON."""
        found = self.settings.model_dump(mode="json", by_alias=True)
        for name in STAND_INS:
            if name not in self.given:
                found.pop(name)
        return {"case": self.case.case.case_name, "framework": self.framework.name, **found}

    def run_configuration(self) -> dict[str, Any]:
        """The keys that a round depends on."""
        found = self.configuration()
        for path in _NOT_OF_A_RUN:
            table, _, name = path.rpartition(".")
            (found[table] if table else found).pop(name, None)
        for entry in found["fleet"]["class"]:
            for name in _NOT_OF_A_CLASS:
                entry.pop(name)
        return found

    def sha256(self) -> str:
        """Hash of the keys that a round depends on."""
        text = json.dumps(self.run_configuration(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read_training(
    source: Source, overrides: Overrides = (), case: str | None = None
) -> TrainingDocument:
    """Read the case of a scenario file that is to be run.

    Parameters
    ----------
    source : str or mapping
        A file, a shipped scenario, or a table with what a file would hold.
    overrides : iterable of str, or mapping
        As for :func:`fedsim.scenario.run_scenario`.
    case : str, optional
        Name of the case; without it, the only one.

    Raises
    ------
    ScenarioError
        With a line for every mistake.
    """
    return _read(read_document(source, overrides), case)


def read_trainings(
    source: Source,
    overrides: Overrides = (),
    cases: Iterable[str] = (),
    frameworks: Iterable[str | Framework] = (),
) -> list[TrainingDocument]:
    """Read several cases of a file, all of them where none is named.

    Parameters
    ----------
    source, overrides
        See :func:`read_training`.
    cases : iterable of str
        Their names.
    frameworks : iterable of str or Framework
        Instead of cases: these, under the file's case of each, or else its base tables.
    """
    document = read_document(source, overrides)
    entries = [case_entry(document, name) for name in cases]
    for given in frameworks:
        name = given if isinstance(given, str) else given.name
        if not isinstance(given, str):
            document = replace(document, frameworks={**document.frameworks, name: given})
        own = [entry for entry in case_entries(document) if entry.get("framework") == name]
        entries += own or [{"name": name[:_MAX_NAME], "framework": name}]
    entries = entries or case_entries(document)
    return [_read(with_case(document, entry), None) for entry in entries] or [_read(document, None)]


def _read(document: Document, case: str | None) -> TrainingDocument:
    cases = case_entries(document)
    if case is not None:
        cases = [case_entry(document, case)]
    elif len(cases) > 1:
        names = ", ".join(repr(entry.get("name")) for entry in cases)
        raise ScenarioError(
            f"{document.file}: {len(cases)} cases; a run is of one: give --case NAME (in a program "
            f"case) with one of {names}."
        )
    lines: list[str] = []
    if cases:
        entry, lines = _without_sweep(document, cases[0])
        document = with_case(document, entry)
    try:
        (found, *_), _ = checked_cases(document, run_mistakes)
    except ScenarioError as error:
        raise refusal([*lines, *str(error).splitlines()]) from error
    if lines:
        raise refusal(lines)
    given = frozenset(name for name in STAND_INS if name in found.case.table)
    return TrainingDocument(document.file, found, given)


def _without_sweep(
    document: Document, entry: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The case at the first of its values, with a line for each axis that has several."""
    sweep = entry.get("sweep")
    if not isinstance(sweep, Mapping):
        return dict(entry), []
    lines, single = [], {}
    for key, axis in sweep.items():
        single[key] = axis[:1] if isinstance(axis, list) else axis
        if isinstance(axis, list) and len(axis) > 1 and key not in document.overridden:
            text = f"a run has one value of each key; write --set {key}={shown(axis[0])}, say."
            where = f"[[case]] '{entry.get('name')}' sweep '{key}'"
            lines.append(Mistake(where, shown(axis), text).line(document.file))
    return {**entry, "sweep": single}, lines
