"""Answer a scenario: read, check everything, and only then compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedsim.analytic import AnalyticResult, evaluate
from fedsim.calibration.profile import Profile
from fedsim.errors import ProtocolError, ScenarioError
from fedsim.fleet.trace import TraceEvent
from fedsim.protocol.duration import transfer_seconds
from fedsim.protocol.step import Each, Transfer, leaf_steps
from fedsim.scenario.document import Document, read_document
from fedsim.scenario.engine import Choice, chosen_engine
from fedsim.scenario.inspection import Inspected, inspected
from fedsim.scenario.result import Found, ScenarioResult, result_table
from fedsim.scenario.simulated import simulate_result

__all__ = ["Question", "read_scenario", "run_scenario"]

#: Told the name and number of each result ahead of its computation.
Progress = Callable[[str, int], None]


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

    def answer(self, progress: Progress | None = None) -> ScenarioResult:
        """Compute all results.

        Parameters
        ----------
        progress : callable, optional
            Called with each result's name and number ahead of its computation.
        """
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
                "results": [
                    _result(self.document.file, entry, number, progress)
                    for number, entry in enumerate(self.entries)
                ],
            }
        )

    def trace(self) -> tuple[TraceEvent, ...]:
        """Every event of the one result that this question has, by the reference engine.

        Raises
        ------
        ScenarioError
            If it has several results, or the closed form alone can answer it.
        """
        file = self.document.file
        if len(self.entries) != 1:
            raise ScenarioError(
                f"{file}: {len(self.entries)} results; a trace is of one. Leave one case in the "
                "file, without a sweep."
            )
        entry = self.entries[0]
        entry = replace(entry, settings=entry.settings.model_copy(update={"engine": "des"}))
        _choice(file, entry, _closed_form(file, entry))
        found = simulate_result(
            "des",
            entry.federation,
            entry.variant.protocol,
            entry.policy,
            entry.settings.seed,
            keeps_trace=True,
        )
        return found.result.trace or ()


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


def _result(file: str, entry: Inspected, number: int, progress: Progress | None) -> dict[str, Any]:
    variant = entry.variant
    if progress is not None:
        progress(variant.name, number)
    answer = _closed_form(file, entry)
    choice = _choice(file, entry, answer)
    simulated = None
    if choice.engine != "analytic" and answer.infeasible is None:
        try:
            simulated = simulate_result(
                choice.engine,
                entry.federation,
                variant.protocol,
                entry.policy,
                entry.settings.seed,
            )
        except ScenarioError as error:
            raise ScenarioError(f"{file}: '{variant.name}': {error}") from error
    return result_table(
        variant.name,
        variant.framework,
        entry.settings,
        entry.federation,
        Found(answer, _setup_seconds(entry), choice, variant.protocol, simulated),
    )


def _closed_form(file: str, entry: Inspected) -> AnalyticResult:
    try:
        at_once = entry.policy.num_asked(entry.federation.num_clients)
        return evaluate(entry.federation, entry.variant.protocol, at_once)
    except (ScenarioError, ProtocolError) as error:
        raise ScenarioError(f"{file}: '{entry.variant.name}': {error}") from error


def _choice(file: str, entry: Inspected, answer: AnalyticResult) -> Choice:
    try:
        return chosen_engine(
            entry.settings, entry.federation, entry.policy, entry.variant.protocol, answer
        )
    except ScenarioError as error:
        raise ScenarioError(f"{file}: '{entry.variant.name}': {error}") from error


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
