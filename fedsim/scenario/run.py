"""Answer a scenario: read, check everything, and only then compute."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedsim.analytic import evaluate
from fedsim.calibration.profile import Profile
from fedsim.errors import ProtocolError, ScenarioError
from fedsim.protocol.duration import transfer_seconds
from fedsim.protocol.step import Each, Transfer, leaf_steps
from fedsim.scenario.document import Document, read_document
from fedsim.scenario.inspection import Inspected, inspected
from fedsim.scenario.result import ScenarioResult, result_table

__all__ = ["Question", "read_scenario", "run_scenario"]


class Question:
    """A scenario that was read and checked: :meth:`answer` has nothing left to refuse.

    Parameters
    ----------
    document : Document
    profile : Profile or None
    entries : list of Inspected
        One a result.
    """

    def __init__(
        self, document: Document, profile: Profile | None, entries: list[Inspected]
    ) -> None:
        self.document = document
        self.profile = profile
        self.entries = entries

    def answer(self) -> ScenarioResult:
        """Compute all results."""
        first = self.entries[0].settings
        profile = self.profile
        return ScenarioResult(
            {
                "file": self.document.file,
                "question": first.question,
                "seed": first.seed,
                "engine": first.engine,
                "profile": None
                if profile is None
                else {"name": profile.file.name, "sha256": profile.sha256},
                "results": [_result(self.document.file, entry) for entry in self.entries],
            }
        )


def run_scenario(
    path: str | Path, overrides: Iterable[str] = (), engine: str | None = None
) -> ScenarioResult:
    """Answer a scenario.

    Parameters
    ----------
    path : str or Path
        A TOML file, or the name of a shipped scenario.
    overrides : iterable of str
        ``section.key=value``, as for ``--set``.
    engine : str, optional
        Instead of the file's.

    Raises
    ------
    ScenarioError
        With a line for every mistake in the file.
    """
    return read_scenario(path, overrides, engine).answer()


def read_scenario(
    path: str | Path, overrides: Iterable[str] = (), engine: str | None = None
) -> Question:
    """Read and check a scenario without answering it; see :func:`run_scenario`."""
    document = read_document(str(path), overrides)
    if engine is not None:
        document.table["engine"] = engine
    entries, profile = inspected(document)
    return Question(document, profile, entries)


def _result(file: str, entry: Inspected) -> dict[str, Any]:
    variant = entry.variant
    try:
        answer = evaluate(entry.federation, variant.protocol)
    except (ScenarioError, ProtocolError) as error:
        raise ScenarioError(f"{file}: '{variant.name}': {error}") from error
    return result_table(
        variant.name,
        variant.framework,
        entry.settings,
        entry.federation,
        answer,
        _setup_seconds(entry),
    )


def _setup_seconds(entry: Inspected) -> float:
    """One-off transfers of the slowest client, nobody queueing [s]."""
    slowest = 0.0
    for client_class in entry.federation.classes:
        steps = (
            (times, step)
            for segment in entry.variant.protocol(client_class.plan).setup
            if isinstance(segment, Each)
            for times, step in leaf_steps(segment.steps)
        )
        seconds = sum(
            times * transfer_seconds(step.payload.message_bytes, step.direction, client_class.link)
            for times, step in steps
            if isinstance(step, Transfer)
        )
        slowest = max(slowest, seconds)
    return slowest
