"""Answer a scenario: read, check everything, and only then compute."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedsim.analytic import evaluate
from fedsim.calibration.profile import Profile, find_profile, load_profile
from fedsim.errors import ProtocolError, ScenarioError
from fedsim.protocol.duration import transfer_seconds
from fedsim.protocol.step import Each, Protocol, Transfer, leaf_steps
from fedsim.scenario.build import Place, built_federation
from fedsim.scenario.check import combination_mistakes
from fedsim.scenario.document import Document, read_document
from fedsim.scenario.mend import mended_settings
from fedsim.scenario.mistake import Mistake, refusal, validation_mistakes
from fedsim.scenario.result import ScenarioResult, result_table
from fedsim.scenario.settings import Settings
from fedsim.scenario.variant import Variant, variants
from fedsim.spec.federation import FederationSpec
from fedsim.spec.quantity import FROM_FILE

__all__ = ["Question", "read_scenario", "run_scenario"]

_Checked = tuple[Variant, Settings, FederationSpec]


class Question:
    """A scenario that was read and checked: :meth:`answer` has nothing left to refuse.

    Parameters
    ----------
    document : Document
    profile : Profile or None
    checked : list
        One entry a result.
    """

    def __init__(
        self, document: Document, profile: Profile | None, checked: list[_Checked]
    ) -> None:
        self.document = document
        self.profile = profile
        self.checked = checked

    def answer(self) -> ScenarioResult:
        """Compute all results."""
        first = self.checked[0][1]
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
                "results": [_result(self.document.file, *entry) for entry in self.checked],
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
    found, lines = variants(document)
    profile = _profile(document, lines)
    log = _MistakeLog(document.file, found)
    checked = [
        entry
        for variant in found
        if (entry := _checked(variant, document, profile, log)) is not None
    ]
    lines.extend(log.lines())
    if lines:
        raise refusal(lines)
    return Question(document, profile, checked)


class _MistakeLog:
    """Mistakes by the variants that make them: what all of a case share is said once."""

    def __init__(self, file: str, found: list[Variant]) -> None:
        self.file = file
        self.found = found
        self.makers: dict[Mistake, list[Variant]] = {}

    def add(self, variant: Variant, mistakes: Iterable[Mistake]) -> None:
        for mistake in mistakes:
            makers = self.makers.setdefault(mistake, [])
            # A server's plan and a class's often make the same mistake.
            if not makers or makers[-1] is not variant:
                makers.append(variant)

    def lines(self) -> list[str]:
        return [
            mistake.line(
                self.file, "" if mistake.where.startswith("[[case]]") else self._case(makers)
            )
            for mistake, makers in self.makers.items()
        ]

    def _case(self, makers: list[Variant]) -> str:
        if len(makers) == len(self.found):
            return ""
        names = list(dict.fromkeys(variant.case for variant in makers))
        if len(makers) == 1:
            return f"case '{makers[0].name}': "
        return f"case{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}: "


def _profile(document: Document, lines: list[str]) -> Profile | None:
    name = document.table.get("profile")
    if not isinstance(name, str) or not name:
        return None
    try:
        return load_profile(find_profile(name, document.folder))
    except (ScenarioError, OSError, ValueError) as error:
        lines.append(f"{document.file}: profile = {name!r}: {error}")
        return None


def _checked(
    variant: Variant, document: Document, profile: Profile | None, log: _MistakeLog
) -> _Checked | None:
    try:
        settings = Settings.model_validate(variant.table, context=FROM_FILE)
    except ValidationError as error:
        log.add(variant, validation_mistakes(error, Settings))
        mended = mended_settings(variant.table, error)
        if mended is not None:
            torn = {f"[{details['loc'][0]}]" for details in error.errors()}
            log.add(
                variant,
                # What was left out is missing, and was named already.
                (
                    mistake
                    for mistake in _later_mistakes(mended, variant, document, profile)
                    if not ("missing" in mistake.text and mistake.where.partition(" ")[0] in torn)
                ),
            )
        return None
    mistakes = list(combination_mistakes(settings, variant.framework))
    if any(mistake.where.startswith("[workload]") for mistake in mistakes):
        # Texts without lengths, or too many of them, cannot be built.
        log.add(variant, mistakes)
        return None
    federation, found = built_federation(settings, Place(document.folder, profile))
    mistakes.extend(found)
    if federation is not None and not mistakes:
        mistakes.extend(_protocol_mistakes(variant, federation))
    log.add(variant, mistakes)
    if federation is None or mistakes:
        return None
    return variant, settings, federation


def _later_mistakes(
    settings: Settings, variant: Variant, document: Document, profile: Profile | None
) -> list[Mistake]:
    """What the later checks find in a table that pydantic refused, its mistakes left out."""
    mistakes = list(combination_mistakes(settings, variant.framework))
    if any(mistake.where.startswith("[workload]") for mistake in mistakes):
        return []
    return [*mistakes, *built_federation(settings, Place(document.folder, profile))[1]]


def _protocol_mistakes(variant: Variant, federation: FederationSpec) -> list[Mistake]:
    where = f"[[case]] '{variant.case}' framework"
    try:
        protocols = [variant.protocol(c.plan) for c in federation.classes]
        protocols.append(variant.protocol(federation.server_plan))
    except (ScenarioError, ProtocolError) as error:
        return [Mistake(where, repr(variant.framework), str(error))]
    shapes = {tuple(type(segment) for segment in p.round) for p in protocols}
    if len(shapes) == 1:
        return []
    text = (
        "the classes' rounds have different segments (some clients train a part that others leave "
        "frozen); give them cut layers and lora.num_top_layers that agree in this."
    )
    return [Mistake(where, repr(variant.framework), text)]


def _result(
    file: str,
    variant: Variant,
    settings: Settings,
    federation: FederationSpec,
) -> dict[str, Any]:
    try:
        answer = evaluate(federation, variant.protocol)
    except (ScenarioError, ProtocolError) as error:
        raise ScenarioError(f"{file}: '{variant.name}': {error}") from error
    setup_s = _setup_seconds(federation, [variant.protocol(c.plan) for c in federation.classes])
    return result_table(variant.name, variant.framework, settings, federation, answer, setup_s)


def _setup_seconds(federation: FederationSpec, protocols: list[Protocol]) -> float:
    """One-off transfers of the slowest client, nobody queueing [s]."""
    slowest = 0.0
    for client_class, protocol in zip(federation.classes, protocols, strict=True):
        steps = (
            (times, step)
            for segment in protocol.setup
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
