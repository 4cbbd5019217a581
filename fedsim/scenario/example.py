"""A framework's protocol for a plan that everybody can look up: the case study's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedsim.errors import ProtocolError, ScenarioError
from fedsim.planning import View
from fedsim.planning import plan as planned_by
from fedsim.protocol import Framework
from fedsim.protocol.privacy import with_privacy
from fedsim.protocol.step import Protocol
from fedsim.scenario.build.codec import read_codecs
from fedsim.scenario.build.federation import built_federation
from fedsim.scenario.build.framework import find_framework
from fedsim.scenario.build.own_schedule import own_schedule
from fedsim.scenario.file.context import Context
from fedsim.scenario.file.document import read_document
from fedsim.scenario.file.mistake import refusal
from fedsim.scenario.file.settings import Settings
from fedsim.spec.plan import ClientPlan
from fedsim.spec.privacy import PrivacySpec
from fedsim.spec.quantity import FROM_FILE

__all__ = ["Example", "example_protocol"]

_PUBLIC_SAMPLES = 5002
_CUT_LAYER = 4


@dataclass(frozen=True)
class Example:
    """A protocol with its plan.

    Attributes
    ----------
    plan : ClientPlan
    protocol : Protocol
    words : str
        The plan in words.
    """

    plan: ClientPlan
    protocol: Protocol
    words: str


def example_protocol(
    name: str,
    privacy: PrivacySpec | None = None,
    num_participants: int | None = None,
    codecs: Sequence[str] = (),
    schedules: Sequence[str] = (),
    *,
    round_index: int = 1,
    group: int = 0,
) -> Example:
    """The protocol of a framework for the shipped case study's plan.

    Parameters
    ----------
    name : str
        ``fedllm``, ``kd_fedllm``, ``split_fedllm`` or ``module:function``; a module is looked for
        in the current folder.
    privacy : PrivacySpec, optional
        What hides the clients' contributions.
    num_participants : int, optional
        Clients that a round asks; the case study's by default.
    codecs : sequence of str
        As :func:`fedsim.scenario.build.codec.read_codecs` takes them.
    schedules : sequence of str
        ``module:NAME`` of one's own; modules are looked for in the current folder.
    round_index : int
        Which round's plan is shown.
    group : int
        Of which group of clients, under every schedule.

    Raises
    ------
    ScenarioError
        If there is no such framework, codec or schedule, or it refuses the plan or the privacy.
    """
    try:
        framework = find_framework(name, Path.cwd())
    except ScenarioError as error:
        raise ScenarioError(f"framework '{name}': {error}") from error
    overrides = (f"workload.public_samples={_PUBLIC_SAMPLES}", f"split.cut_layer={_CUT_LAYER}")
    document = read_document("case_study", overrides)
    table = {key: value for key, value in document.table.items() if key != "case"}
    settings = Settings.model_validate(table, context=FROM_FILE)
    federation, mistakes = built_federation(settings, Context(document.folder))
    if federation is None:
        raise refusal(mistake.line(document.file) for mistake in mistakes)
    try:
        chosen = read_codecs(codecs, Path.cwd())
    except ScenarioError as error:
        raise ScenarioError(f"--codec {error}") from error
    plan = replace(federation.server_plan, codecs=chosen)
    for name_of_schedule in schedules:
        plan = _scheduled(plan, name_of_schedule, round_index, group)
    spec, num = privacy or PrivacySpec(), num_participants or federation.num_clients
    try:
        protocol = with_privacy(framework, spec, num)(plan)
    except ProtocolError as error:
        raise ScenarioError(f"framework '{name}': {error}") from error
    words = ", ".join([_words(settings, framework, plan), *(f"codec {text}" for text in codecs)])
    if schedules:
        words += f", schedule {', '.join(schedules)} in round {round_index}, group {group}"
    if spec.secure_aggregation is not None:
        words += f", {spec.secure_aggregation} of {num:,} clients"
    return Example(plan, protocol, words)


def _scheduled(plan: ClientPlan, name: str, round_index: int, group: int) -> ClientPlan:
    try:
        found, _ = own_schedule(name, Path.cwd())
        needs = sorted({need.value for schedule in found for need in schedule.needs})
        if needs:
            raise ScenarioError(
                f"looks at {', '.join(needs)}, which is known in a simulation or a real run alone; "
                "see there what it makes of a round ('fedsim scenario', 'fedsim train')."
            )
        return planned_by(plan, found, [group] * len(found), View(round_index))
    except ScenarioError as error:
        raise ScenarioError(f"--schedule {name}: {error}") from error


def _words(settings: Settings, framework: Framework, plan: ClientPlan) -> str:
    workload, rank = settings.workload, settings.lora.r if settings.lora is not None else 0
    parts = [
        settings.model.name,
        f"r = {rank}",
        f"{plan.train_epochs[0].num_samples:,} samples of {workload.max_tokens} tokens",
        f"batches of {plan.batch_size}",
    ]
    if "workload.public_samples" in (framework.reads or ()):
        parts.append(f"{_PUBLIC_SAMPLES:,} public samples")
    if "split" in (framework.reads or ()):
        parts.append(f"cut after block {_CUT_LAYER}")
    return ", ".join(parts)
