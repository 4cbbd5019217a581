"""Answer a scenario: read, check everything, and only then compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsim.analytic import AnalyticResult, evaluate
from fedsim.calibration.profile import Profile
from fedsim.errors import ProtocolError, ScenarioError
from fedsim.fleet.trace import TraceEvent
from fedsim.protocol.duration import transfer_seconds
from fedsim.protocol.step import Each, Transfer, leaf_steps
from fedsim.scenario.document import Document, read_document
from fedsim.scenario.engine import Choice, check_shares, check_traceable, chosen_engine
from fedsim.scenario.inspection import Inspected, inspected
from fedsim.scenario.mistake import refusal
from fedsim.scenario.result import Found, ScenarioResult, result_table
from fedsim.scenario.simulated import simulate_result, traced_events

__all__ = ["Question", "Weighed", "read_scenario", "run_scenario"]

#: Told the name and number of each result ahead of its computation.
Progress = Callable[[str, int], None]


@dataclass(frozen=True, eq=False)
class Weighed:
    """One result's input, its closed form, and which engine answers it.

    Attributes
    ----------
    inspected : Inspected
    closed_form : AnalyticResult
    choice : Choice
    """

    inspected: Inspected
    closed_form: AnalyticResult
    choice: Choice


class Question:
    """A scenario that was read and checked; its results are ready to be computed.

    What is left for :meth:`answer` to refuse is found by simulating alone: clients that never come,
    say.

    Parameters
    ----------
    document : Document
    profile : Profile or None
    weighed : list of Weighed
        One a result.

    Attributes
    ----------
    entries : list of Inspected
        Their inputs.
    """

    def __init__(self, document: Document, profile: Profile | None, weighed: list[Weighed]) -> None:
        self.document = document
        self.profile = profile
        self.entries = [each.inspected for each in weighed]
        self._weighed = weighed

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
                    for number, entry in enumerate(self._weighed)
                ],
            }
        )

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
        if self._weighed[0].closed_form.infeasible is not None:
            raise ScenarioError(
                f"{file}: '{entry.variant.name}': nothing to trace: "
                f"{self._weighed[0].closed_form.infeasible}."
            )
        try:
            check_traceable(entry.federation, entry.policy, entry.variant.protocol)
        except ScenarioError as error:
            raise ScenarioError(f"{file}: '{entry.variant.name}': {error}") from error

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
                entry.federation, entry.variant.protocol, entry.policy, entry.settings.seed
            )
        except ScenarioError as error:
            raise ScenarioError(f"{self.document.file}: '{entry.variant.name}': {error}") from error


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
    return Question(document, profile, _weighed(document.file, entries))


def _weighed(file: str, found: list[Inspected]) -> list[Weighed]:
    """Each result with its engine; what no engine can take is told at once."""
    entries, lines = [], []
    for each in found:
        try:
            answer = _closed_form(each)
            choice = chosen_engine(
                each.settings, each.federation, each.policy, each.variant.protocol, answer
            )
        except (ScenarioError, ProtocolError) as error:
            lines.append(f"{file}: '{each.variant.name}': {error}")
            continue
        entries.append(Weighed(each, answer, choice))
    if lines:
        raise refusal(lines)
    try:
        check_shares(entry.choice for entry in entries)
    except ScenarioError as error:
        raise ScenarioError(f"{file}: {error}") from error
    return entries


def _result(file: str, entry: Weighed, number: int, progress: Progress | None) -> dict[str, Any]:
    each, variant = entry.inspected, entry.inspected.variant
    if progress is not None:
        progress(variant.name, number)
    simulated = None
    if entry.choice.engine != "analytic":
        try:
            simulated = simulate_result(
                entry.choice,
                each.federation,
                variant.protocol,
                each.policy,
                each.settings.seed,
            )
        except ScenarioError as error:
            raise ScenarioError(f"{file}: '{variant.name}': {error}") from error
    return result_table(
        variant.name,
        variant.framework,
        each.settings,
        each.federation,
        Found(
            entry.closed_form,
            _setup_seconds(each),
            entry.choice,
            variant.protocol,
            simulated,
            each.protection,
            each.laws,
        ),
    )


def _closed_form(entry: Inspected) -> AnalyticResult:
    at_once = entry.policy.num_asked(entry.federation.num_clients)
    return evaluate(entry.federation, entry.variant.protocol, at_once)


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
