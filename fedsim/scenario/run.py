"""Answer a scenario: read, check everything, and only then compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

from fedsim.analytic import AnalyticResult
from fedsim.calibration.profile import Profile
from fedsim.comparison.result import Result
from fedsim.comparison.verdict import label, verdicts
from fedsim.errors import ProtocolError, ScenarioError
from fedsim.fleet.progress import ProgressCallback
from fedsim.fleet.trace import TraceEvent
from fedsim.scenario.answer.blind import blind_settings, settings_without_effect
from fedsim.scenario.answer.compare import compared
from fedsim.scenario.answer.crossover import Side, crossovers
from fedsim.scenario.answer.engine_choice import check_shares, check_traceable, chosen_engine
from fedsim.scenario.answer.outcome import Excluded
from fedsim.scenario.answer.planned_case import (
    PlannedCase,
    closed_form,
    draws_of,
    result_of,
    run_of,
)
from fedsim.scenario.answer.replication import MAX_REPEATED_WORK, undrawn
from fedsim.scenario.answer.result import ScenarioResult
from fedsim.scenario.answer.simulated import traced_events
from fedsim.scenario.build.case import case_entry, with_case
from fedsim.scenario.build.checked_case import CheckedCase, checked_cases
from fedsim.scenario.file.document import Document, in_another_world, read_document
from fedsim.scenario.file.goal_table import GoalTable
from fedsim.scenario.file.mistake import refusal
from fedsim.scenario.file.override import Overrides

__all__ = ["PlannedCase", "Question", "read_scenario", "run_scenario"]

#: Told the name and number of each result ahead of its computation.
Progress = Callable[[str, int], None]


class Question:
    """A scenario that was read and checked; its results are ready to be computed.

    What is left for :meth:`answer` to refuse is found by simulating alone: clients that never come,
    say.

    Parameters
    ----------
    document : Document
    profile : Profile or None
    planned : list of PlannedCase
        One a result.
    world : list of PlannedCase, optional
        The same in the world that ``goal.instead_of`` describes.

    Attributes
    ----------
    planned : list of PlannedCase
        The results, each with the engine that answers it.
    entries : list of CheckedCase
        Their inputs.
    warnings : list of str
        Settings that change nothing.
    """

    def __init__(
        self,
        document: Document,
        profile: Profile | None,
        planned: list[PlannedCase],
        world: list[PlannedCase] | None = None,
    ) -> None:
        self.document = document
        self.profile = profile
        self.entries = [each.checked for each in planned]
        self.warnings = blind_settings(document, self.entries)
        self.planned = planned
        self._world = world

    def answer(
        self,
        progress: Progress | None = None,
        num_seeds: int | None = None,
        rounds: ProgressCallback | None = None,
    ) -> ScenarioResult:
        """Compute all results.

        Parameters
        ----------
        progress : callable, optional
            Called with each result's name and number ahead of its computation.
        num_seeds : int, optional
            Draws of each simulated result, instead of the number that its work allows.
        rounds : callable, optional
            Told how many rounds of a simulated result are done, and of how many.
        """
        first = self.entries[0].settings
        results = [
            _result(self.document.file, entry, number, progress, num_seeds, rounds)
            for number, entry in enumerate(self.planned)
        ]
        worlds = None
        if self._world is not None:
            worlds = {
                entry.checked.case.name: _result(
                    self.document.file, other, number, progress, num_seeds, rounds
                )
                for number, (entry, other) in enumerate(
                    zip(self.planned, self._world, strict=True), len(results)
                )
            }
        profile = self.profile
        return ScenarioResult(
            {
                "file": self.document.file,
                "question": first.question,
                "goal": first.goal.model_dump(mode="json"),
                "seed": first.seed,
                "engine": first.engine,
                "profile": None
                if profile is None
                else {"name": profile.file.name, "sha256": profile.sha256},
                "warnings": [*self.warnings, *self._without_effect(results)],
                **compared(first.goal, results, worlds),
                "would_change": self._crossovers(first.goal, results),
                "results": results,
            }
        )

    def _without_effect(self, tables: list[dict[str, Any]]) -> list[str]:
        """Settings that change what results are computed from, and no figure of them."""
        file = self.document.file

        def run_without(document: Document) -> list[dict[str, Any] | None]:
            found, _ = checked_cases(document)
            planned = _planned(file, found)
            return [
                result_of(entry, run_of(entry), undrawn(entry.checked.settings.seed))
                if entry.choice.work <= MAX_REPEATED_WORK
                else None
                for entry in planned
            ]

        return settings_without_effect(
            self.document, self.entries, tables, run_without, self.warnings
        )

    def _crossovers(self, goal: GoalTable, tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What would turn the answer over, from the closed form where it answers."""
        results = [Result(table) for table in tables]
        key = goal.least[0]
        verdict = next((v for v in verdicts(results) if v.metric.key == key), None)
        if verdict is None or len(verdict.ranking) < 2 or goal.first or goal.instead_of:
            return []
        by_name = {entry.checked.case.name: entry for entry in self.planned}
        sides = []
        for rank in verdict.ranking:
            entry = by_name[rank.result.name]
            if entry.choice.engine != "analytic" or not entry.closed_form.round_time.is_exact:
                return []
            target = rank.result.table["to_target"] if verdict.target is not None else None
            rounds = target["rounds"]["mean"] if target else 1.0
            sides.append(Side(entry.checked, label(rank.result, results), rounds))
        found = [
            each
            for more in sides[1:]
            for each in crossovers(key, sides[0], more, to_target=verdict.target is not None)
        ]
        return sorted(found, key=lambda each: abs(log(each["factor"])))

    def check_traceable(self) -> None:
        """Refuse a trace of this question, if there cannot be one.

        Raises
        ------
        ScenarioError
            If it has several results, or one that is too large or that nobody can run.
        """
        file = self.document.file
        if len(self.entries) != 1:
            raise ScenarioError(
                f"{file}: {len(self.entries)} results; a trace is of one. Leave one case in the "
                "file, without a sweep."
            )
        entry = self.entries[0]
        if self.planned[0].closed_form.infeasible is not None:
            raise ScenarioError(
                f"{file}: '{entry.case.name}': nothing to trace: "
                f"{self.planned[0].closed_form.infeasible}."
            )
        try:
            check_traceable(entry.federation, entry.policy, entry.case.framework)
        except ScenarioError as error:
            raise ScenarioError(f"{file}: '{entry.case.name}': {error}") from error

    def trace(self) -> tuple[TraceEvent, ...]:
        """Every event of the one result that this question has, by the reference engine.

        Raises
        ------
        ScenarioError
            As :meth:`check_traceable` does, or if the run cannot come to an end.
        """
        self.check_traceable()
        entry = self.entries[0]
        try:
            return traced_events(
                entry.federation, entry.case.framework, entry.policy, entry.settings.seed
            )
        except ScenarioError as error:
            raise ScenarioError(f"{self.document.file}: '{entry.case.name}': {error}") from error


def run_scenario(
    path: str | Path | Mapping[str, Any],
    overrides: Overrides = (),
    engine: str | None = None,
    num_seeds: int | None = None,
) -> ScenarioResult:
    """Answer a scenario.

    Parameters
    ----------
    path : str, Path or mapping
        A TOML file, the name of a shipped scenario, or a table with what a file would hold.
    overrides : iterable of str, or mapping
        ``section.key=value``, as for ``--set``, or keys with their values.
    engine : str, optional
        Instead of the file's.
    num_seeds : int, optional
        Draws of each simulated result, instead of the number that its work allows.

    Raises
    ------
    ScenarioError
        With a line for every mistake in the file.
    """
    return read_scenario(path, overrides, engine).answer(num_seeds=num_seeds)


def read_scenario(
    path: str | Path | Mapping[str, Any],
    overrides: Overrides = (),
    engine: str | None = None,
    case: str | None = None,
) -> Question:
    """Read and check a scenario, or one case of it, without answering; see :func:`run_scenario`."""
    document = read_document(path if isinstance(path, Mapping) else str(path), overrides)
    if case is not None:
        document = with_case(document, case_entry(document, case))
    if engine is not None:
        document.table["engine"] = engine
    entries, profile = checked_cases(document)
    planned = _planned(document.file, entries)
    return Question(document, profile, planned, _world(document, entries))


def _world(document: Document, entries: list[CheckedCase]) -> list[PlannedCase] | None:
    """Every result in the world that ``goal.instead_of`` describes, where it does.

    Raises
    ------
    ScenarioError
        If that world makes a mistake, or has other results.
    """
    changes = entries[0].settings.goal.instead_of
    if changes is None:
        return None
    other = in_another_world(document, changes)
    try:
        found, _ = checked_cases(other)
        if [e.case.case_name for e in found] != [e.case.case_name for e in entries]:
            raise ScenarioError("it has other results than this one: it may not change a sweep.")
        return _planned(document.file, found)
    except ScenarioError as error:
        raise ScenarioError(f"{document.file}: [goal] instead_of: {error}") from error


def _planned(file: str, found: list[CheckedCase]) -> list[PlannedCase]:
    """Each result with its engine; what no engine can take is told at once."""
    entries, lines = [], []
    for each in found:
        try:
            fitting, answer, excluded = _without_unfit(each, closed_form(each))
            choice = chosen_engine(
                fitting.settings,
                fitting.federation,
                fitting.policy,
                fitting.case.framework,
                answer,
            )
        except (ScenarioError, ProtocolError) as error:
            lines.append(f"{file}: '{each.case.name}': {error}")
            continue
        entries.append(PlannedCase(fitting, answer, choice, excluded))
    if lines:
        raise refusal(lines)
    try:
        check_shares(entry.choice for entry in entries)
    except ScenarioError as error:
        raise ScenarioError(f"{file}: {error}") from error
    return entries


def _without_unfit(
    entry: CheckedCase, answer: AnalyticResult
) -> tuple[CheckedCase, AnalyticResult, tuple[Excluded, ...]]:
    """The result without the classes that cannot hold the plan, where the policy says so.

    Where nobody can, or the server cannot, everybody stays: then that is the answer.
    """
    unfit = {
        cost.client_class.name: Excluded(
            cost.client_class.name,
            cost.client_class.num_clients,
            f"needs {cost.peak_memory_bytes:,} B of memory a client and "
            f"'{cost.client_class.device.name}' has {cost.client_class.device.memory_bytes:,} B",
        )
        for cost in answer.classes
        if not cost.fits
    }
    if not entry.settings.policy.exclude_unfit or not unfit or len(unfit) == len(answer.classes):
        return entry, answer, ()
    federation = replace(
        entry.federation,
        classes=tuple(c for c in entry.federation.classes if c.name not in unfit),
    )
    fitting = replace(entry, federation=federation)
    return fitting, closed_form(fitting), tuple(unfit.values())


def _result(
    file: str,
    entry: PlannedCase,
    number: int,
    progress: Progress | None,
    num_seeds: int | None,
    rounds: ProgressCallback | None,
) -> dict[str, Any]:
    name = entry.checked.case.name
    if progress is not None:
        progress(name, number)
    try:
        simulated = run_of(entry, rounds)
        draws = draws_of(entry, simulated, num_seeds)
    except ScenarioError as error:
        raise ScenarioError(f"{file}: '{name}': {error}") from error
    return result_of(entry, simulated, draws)
