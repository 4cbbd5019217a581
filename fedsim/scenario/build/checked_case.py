"""Everything that can be wrong with a scenario, found before anything is computed.

Decides in which order the checks run and which of them still make sense after a mistake. What is
wrong is for the declarations, the checks and the specs to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from fedsim.analytic import periods
from fedsim.calibration.profile import Profile, find_profile, load_profile
from fedsim.errors import ProtocolError, ScenarioError
from fedsim.fleet.overlap import STREAMED, can_stream
from fedsim.learning.store import Laws
from fedsim.protocol.step import Direction, Each, Protocol, Transfer, leaf_steps
from fedsim.scenario.build.case import Case, unrolled_cases
from fedsim.scenario.build.check import combination_mistakes, is_buildable, scenario_size_mistake
from fedsim.scenario.build.data import with_data
from fedsim.scenario.build.federation import built_federation, built_policy
from fedsim.scenario.build.privacy import Protection, length_mistakes
from fedsim.scenario.file.all_mistakes import mended_settings
from fedsim.scenario.file.context import Context
from fedsim.scenario.file.document import Document
from fedsim.scenario.file.mistake import Mistake, refusal, validation_mistakes
from fedsim.scenario.file.settings import Settings
from fedsim.spec.federation import FederationSpec
from fedsim.spec.policy import PolicySpec
from fedsim.spec.quantity import FROM_FILE

__all__ = ["STAND_INS", "CheckedCase", "RunMistakes", "checked_cases"]

#: What a real run does without; the figures of the stand-ins are told to nobody.
STAND_INS: Final[Mapping[str, Any]] = {
    "question": "?",
    "server": {"device": {"like": "a100-80g-sxm"}},
    "device": {"like": "a100-80g-sxm"},
    "link": {"like": "home-global"},
}

#: What a real run cannot do of what a scenario may ask for.
RunMistakes = Callable[[Settings, Case], Iterable[Mistake]]


@dataclass(frozen=True)
class CheckedCase:
    """One result's input, with nothing left to refuse.

    Attributes
    ----------
    case : Case
        Its protocol hides what ``[privacy]`` says.
    settings : Settings
        With what ``[data]`` says.
    federation : FederationSpec
        Of a real run: as if all texts had ``max_tokens``, for its own are read later.
    policy : PolicySpec
    protection : Protection or None
        None where nothing is hidden.
    laws : Laws or None
        Of learning, where the scenario names some.
    context : Context
        Where relative paths start, and the profile.
    """

    case: Case
    settings: Settings
    federation: FederationSpec
    policy: PolicySpec
    protection: Protection | None = None
    laws: Laws | None = None
    context: Context = field(default_factory=lambda: Context(Path()))

    def federation_at(self, seed: int) -> FederationSpec:
        """The same federation with the numbers of samples that another seed draws."""
        settings = self.settings.model_copy(update={"seed": seed})
        federation, mistakes = built_federation(settings, self.context)
        # What was built with one seed is built with any.
        assert federation is not None, mistakes
        names = {c.name for c in self.federation.classes}
        return replace(federation, classes=tuple(c for c in federation.classes if c.name in names))


def checked_cases(
    document: Document, run_mistakes: RunMistakes | None = None
) -> tuple[list[CheckedCase], Profile | None]:
    """All results' inputs, and the profile if there is one.

    Parameters
    ----------
    document : Document
    run_mistakes : callable, optional
        The cases are run and not answered: what of them cannot be. Question, devices and links may
        be missing then, and texts have lengths of their own.

    Raises
    ------
    ScenarioError
        With a line for every mistake.
    """
    found, lines = unrolled_cases(document, are_run=run_mistakes is not None)
    context = Context(document.folder, _profile(document, lines), document.inputs)
    log = _MistakeLog(document.file, found)
    read = [
        (each, settings)
        for each in found
        if (settings := _read(each, context, log, run_mistakes)) is not None
    ]
    size = scenario_size_mistake(settings for _, settings in read)
    if size is not None:
        raise refusal([*lines, *log.lines(), size.line(document.file)])
    entries = [
        entry
        for case, settings in read
        if (entry := _built(case, settings, context, log, run_mistakes)) is not None
    ]
    lines.extend(log.lines())
    if lines:
        raise refusal(lines)
    return entries, context.profile


class _MistakeLog:
    """Mistakes by the cases that make them: what all of a case share is said once."""

    def __init__(self, file: str, found: list[Case]) -> None:
        self.file = file
        self.found = found
        self.makers: dict[Mistake, list[Case]] = {}

    def add(self, case: Case, mistakes: Iterable[Mistake]) -> None:
        for mistake in mistakes:
            makers = self.makers.setdefault(mistake, [])
            # A server's plan and a class's often make the same mistake.
            if not makers or makers[-1] is not case:
                makers.append(case)

    def has(self, case: Case) -> bool:
        """Whether a case makes a mistake."""
        return any(maker is case for makers in self.makers.values() for maker in makers)

    def lines(self) -> list[str]:
        return [
            mistake.line(
                self.file, "" if mistake.where.startswith("[[case]]") else self._case(makers)
            )
            for mistake, makers in self.makers.items()
        ]

    def _case(self, makers: list[Case]) -> str:
        if len(makers) == len(self.found):
            return ""
        names = list(dict.fromkeys(case.case_name for case in makers))
        if len(makers) == 1:
            return f"case '{makers[0].name}': "
        return f"case{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}: "


def _profile(document: Document, lines: list[str]) -> Profile | None:
    name = document.table.get("profile")
    if not isinstance(name, str) or not name:
        return None
    try:
        path = find_profile(name, document.folder)
        profile = load_profile(path)
    except (ScenarioError, OSError, ValueError) as error:
        lines.append(f"{document.file}: profile = {name!r}: {error}")
        return None
    document.inputs.update((path, path.with_name(profile.file.raw.file)))
    return profile


def _read(
    case: Case, context: Context, log: _MistakeLog, run_mistakes: RunMistakes | None
) -> Settings | None:
    """Settings that can be built, or None with the mistakes logged."""
    table = case.table if run_mistakes is None else {**STAND_INS, **case.table}
    try:
        settings = Settings.model_validate(table, context=FROM_FILE)
    except ValidationError as error:
        log.add(case, validation_mistakes(error, Settings))
        log.add(case, _later_mistakes(case, table, error, context, run_mistakes))
        return None
    settings, mistakes = with_data(settings, context)
    log.add(case, mistakes)
    log.add(case, _combined(settings, case, run_mistakes))
    if run_mistakes is not None or is_buildable(settings):
        return settings
    log.add(case, built_federation(_padded(settings), context)[1])
    return None


def _combined(
    settings: Settings, case: Case, run_mistakes: RunMistakes | None
) -> Iterable[Mistake]:
    if run_mistakes is None:
        return combination_mistakes(settings, case.framework)
    return (
        *combination_mistakes(_padded(settings), case.framework),
        *run_mistakes(settings, case),
    )


def _later_mistakes(
    case: Case,
    table: Mapping[str, Any],
    error: ValidationError,
    context: Context,
    run_mistakes: RunMistakes | None,
) -> Iterable[Mistake]:
    """What the later checks find in a table that pydantic refused, its mistakes left out."""
    settings = mended_settings(table, error)
    is_bare = settings is None
    settings = settings or mended_settings(table, error, is_bare=True)
    if settings is None:
        return
    settings, _ = with_data(settings, context)
    torn = {f"[{details['loc'][0]}]" for details in error.errors()}
    for mistake in (
        *_combined(settings, case, run_mistakes),
        *built_federation(_padded(settings), context)[1],
    ):
        if is_bare and not mistake.text.startswith("is missing"):
            continue
        # What was left out is missing now, and was named already.
        if "missing" not in mistake.text or mistake.where.partition(" ")[0] not in torn:
            yield mistake


def _padded(settings: Settings) -> Settings:
    """The settings without texts' lengths, so that the rest of them can be checked."""
    workload = settings.workload.model_copy(update={"padding": "max_tokens"})
    return settings.model_copy(update={"workload": workload})


def _built(
    case: Case,
    settings: Settings,
    context: Context,
    log: _MistakeLog,
    run_mistakes: RunMistakes | None,
) -> CheckedCase | None:
    planned = settings if run_mistakes is None else _padded(settings)
    federation, mistakes = built_federation(planned, context)
    log.add(case, mistakes)
    policy, mistakes = built_policy(settings, context)
    log.add(case, mistakes)
    if federation is None or policy is None or log.has(case):
        return None
    mistakes = _protocol_mistakes(case, federation, policy) or _schedule_mistakes(
        federation, policy
    )
    log.add(case, mistakes)
    if mistakes:
        return None
    laws, mistakes = _laws(settings, context)
    log.add(case, mistakes)
    if mistakes:
        return None
    protection = Protection.of(case.framework, settings, federation.num_clients, policy)
    if not protection.is_active:
        return CheckedCase(case, settings, federation, policy, laws=laws, context=context)
    mistakes = _privacy_mistakes(case, protection, federation)
    log.add(case, mistakes)
    if mistakes:
        return None
    hidden = replace(case, framework=protection.framework())
    return CheckedCase(hidden, settings, federation, policy, protection, laws, context)


def _laws(settings: Settings, context: Context) -> tuple[Laws | None, list[Mistake]]:
    """The fitted learning curves that a scenario names."""
    name = settings.learning.curves
    if name is None:
        return None, []
    try:
        return context.laws(name), []
    except ScenarioError as error:
        return None, [Mistake("[learning] curves", repr(name[:200]), str(error))]


def _protocol_mistakes(case: Case, federation: FederationSpec, policy: PolicySpec) -> list[Mistake]:
    where = f"[[case]] '{case.case_name}' framework"
    try:
        protocols = [case.framework(c.plan) for c in federation.classes]
        protocols.append(case.framework(federation.server_plan))
    except (ScenarioError, ProtocolError) as error:
        return [Mistake(where, repr(case.framework.name), str(error))]
    if policy.overlap and (codecs := _whole_codecs(protocols)):
        text = (
            f"{', '.join(codecs)} must see a whole message, or keeps it, so it cannot be sent "
            "while it is computed; leave overlap out, or the codec."
        )
        return [Mistake("[policy] overlap", "true", text)]
    shapes = {tuple(type(segment) for segment in p.round) for p in protocols}
    if len(shapes) == 1:
        return []
    text = (
        "the classes' rounds have different segments (some clients train a part that others leave "
        "frozen); give them cut layers and lora.num_top_layers that agree in this."
    )
    return [Mistake(where, repr(case.framework.name), text)]


def _whole_codecs(protocols: Iterable[Protocol]) -> list[str]:
    """Codecs that keep an upload from being sent while it is computed."""
    found = (
        repr(step.payload.codec)
        for protocol in protocols
        for segment in protocol.round
        if isinstance(segment, Each)
        for _, step in leaf_steps(segment.steps)
        if isinstance(step, Transfer)
        and step.direction is Direction.UP
        and step.payload.content in STREAMED
        and not can_stream(step.payload)
    )
    return list(dict.fromkeys(found))


def _schedule_mistakes(federation: FederationSpec, policy: PolicySpec) -> list[Mistake]:
    """What schedules of the round alone make of a plan that cannot be; others show it later."""
    known = replace(federation, schedules=tuple(s for s in federation.schedules if not s.needs))
    asking = replace(policy, schedules=tuple(s for s in policy.schedules if not s.needs))
    try:
        periods(known, asking)
    except ScenarioError as error:
        return [Mistake("[[schedule]]", "", str(error))]
    return []


def _privacy_mistakes(
    case: Case, protection: Protection, federation: FederationSpec
) -> list[Mistake]:
    """What the framework or the number of clients refuses to hide."""
    try:
        return list(length_mistakes(protection, federation))
    except ScenarioError as error:
        return [Mistake.of(error, "[privacy]")]
    except ProtocolError as error:
        return [Mistake(f"[[case]] '{case.case_name}' framework", "", str(error))]
