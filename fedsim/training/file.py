"""Read a training file and check it, with one line for each mistake."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from fedsim.errors import ScenarioError
from fedsim.protocol import FEDLLM, Framework
from fedsim.runtime.data import check_dataset
from fedsim.scenario.build.codec import codecs_of
from fedsim.scenario.build.framework import find_framework
from fedsim.scenario.file.document import Overrides, Source, overridden, read_toml
from fedsim.scenario.file.mistake import Mistake, refusal, shown, validation_mistakes
from fedsim.scenario.file.plain import DICT_NAME, plain_table
from fedsim.spec.quantity import FROM_FILE
from fedsim.training.check import training_mistakes
from fedsim.training.tables import TrainingFile
from fedsim.training.translate import mistakes_of

__all__ = ["TrainingDocument", "read_training"]

#: What may change between the parts of one run: nothing that a round depends on.
_NOT_OF_A_RUN: Final = (
    ("question",),
    ("workload", "num_rounds"),
    ("train", "seeds"),
    ("train", "checkpoint_every"),
)


@dataclass(frozen=True)
class TrainingDocument:
    """A training file without mistakes.

    Attributes
    ----------
    name : str
        As the user gave it.
    folder : Path
        Where relative paths in it start.
    file : TrainingFile
    framework : Framework
    """

    name: str
    folder: Path
    file: TrainingFile
    framework: Framework

    @classmethod
    def of(cls, name: str, folder: Path, table: Mapping[str, Any]) -> TrainingDocument:
        """A table that fedsim itself made, of a study's run."""
        file = TrainingFile.model_validate(table, context=FROM_FILE)
        return cls(name, folder, file, find_framework(file.train.framework, folder))

    def check_data(self, data_dir: Path | None) -> None:
        """See that the folders of its data sets are there.

        Raises
        ------
        ScenarioError
            If one is not.
        """
        data = self.file.data
        for name in ("dataset", "public_dataset"):
            source = getattr(data, name)
            if source is None:
                continue
            try:
                check_dataset(source, data_dir)
            except ScenarioError as error:
                mistakes = mistakes_of(error, f"[data] {name}")
                raise refusal(m.line(self.name) for m in mistakes) from error

    def configuration(self) -> dict[str, Any]:
        """All keys with their values, defaults included, as JSON."""
        return self.file.model_dump(mode="json")

    def run_configuration(self) -> dict[str, Any]:
        """The keys that a round depends on."""
        found = self.configuration()
        for *tables, name in _NOT_OF_A_RUN:
            table = found
            for part in tables:
                table = table[part]
            del table[name]
        return found

    def sha256(self) -> str:
        """Hash of the keys that a round depends on."""
        text = json.dumps(self.run_configuration(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read_training(source: Source, overrides: Overrides = ()) -> TrainingDocument:
    """Read a training file, or take a table of one's own with what a file would hold.

    Raises
    ------
    ScenarioError
        With a line for every mistake.
    """
    if isinstance(source, str):
        name, path = source, _training_path(source)
        given = read_toml(path, name)
    else:
        name, path, given = DICT_NAME, Path(DICT_NAME), plain_table(source)
    table, _ = overridden(given, overrides, TrainingFile)
    try:
        file = TrainingFile.model_validate(table, context=FROM_FILE)
    except ValidationError as error:
        raise refusal(m.line(name) for m in validation_mistakes(error, TrainingFile)) from error
    mistakes: list[Mistake] = []
    try:
        framework = find_framework(file.train.framework, path.parent)
    except ScenarioError as error:
        mistakes.append(Mistake("[train] framework", shown(file.train.framework), str(error)))
        # The rest of the file is checked all the same: mistakes are told at once.
        framework = FEDLLM
    try:
        codecs_of(file.codec.named(), path.parent)
    except ScenarioError as error:
        mistakes.append(Mistake("[codec]", "", str(error)))
    mistakes.extend(training_mistakes(file, framework))
    if mistakes:
        raise refusal(mistake.line(name) for mistake in mistakes)
    return TrainingDocument(name, path.parent, file, framework)


def _training_path(name: str) -> Path:
    path = Path(name)
    try:
        is_file = path.is_file()
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{shown(name)}: no usable file name ({error}).") from error
    if not is_file:
        raise ScenarioError(
            f"{name}: there is no such file; docs/examples/training holds some to begin with."
        )
    return path
