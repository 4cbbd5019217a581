"""What each figure of an answer claims to be, and what a reader must know of it."""

from __future__ import annotations

from fedsim.analytic import AnalyticResult
from fedsim.fleet.detection import detection_note
from fedsim.protocol.operation import Content
from fedsim.protocol.step import Direction, Each, Protocol, Transfer, contents, leaf_steps
from fedsim.scenario.answer.outcome import Outcome
from fedsim.scenario.answer.replication import is_drawn
from fedsim.scenario.answer.simulated import Simulated
from fedsim.scenario.build.privacy import privacy_notes
from fedsim.scenario.file.settings import Settings

__all__ = ["exactness", "notes"]


def exactness(settings: Settings, found: Outcome) -> dict[str, str]:
    """What each quantity claims to be."""
    time = "simulated" if found.answer.round_time.is_exact else "lower_bound"
    if found.simulated is not None:
        time = "approximate" if found.simulated.result.approximation else "simulated"
    workload = settings.workload
    # Without padding to a fixed length, counts follow the texts: a distribution stands for them.
    follows_texts = workload.padding != "max_tokens"
    count = "approximate" if follows_texts else "exact"
    sent = _sent(found)
    per_token = {Content.ACTIVATIONS, Content.ACTIVATION_GRADIENTS}
    if settings.model.head == "language_model":
        per_token.add(Content.LOGITS)
    payload = count if sent & per_token else "exact"
    received = {c for protocol in _protocols(found) for c in contents(protocol.setup)}
    setup = count if Content.PUBLIC_TEXT in received else "exact"
    if found.protection is not None:
        # No real run masks or adds noise, so none reproduces what that takes.
        count = "approximate"
        if found.protection.hides_sums:
            payload = "approximate"
            if found.simulated is not None:
                time = "approximate"
            elif len(found.answer.classes) > 1:
                # Its messages wait for the slowest client, which no segment of the round says.
                time = "lower_bound"
    return {
        "uplink_payload_bytes": payload,
        "downlink_payload_bytes": payload,
        "uplink_message_bytes": payload,
        "downlink_message_bytes": payload,
        "client_flop": count,
        "server_flop": count,
        "peak_memory_bytes": "approximate",
        "energy_j": "simulated",
        "setup": setup,
        "totals": count if found.simulated is None else "simulated",
        "round_time_s": time,
        "makespan_s": time,
    }


def notes(settings: Settings, found: Outcome) -> list[str]:
    """What a reader must know of one result, as sentences without their full stop."""
    lines: list[str] = []
    answer = found.answer
    if found.simulated is not None:
        lines.extend(_simulation_notes(found, found.simulated))
    elif not answer.round_time.is_exact:
        lines.append(f"time is a lower bound: {answer.round_time.why}")
    if settings.workload.padding != "max_tokens":
        lines.append(
            "lengths of texts are drawn from a distribution, and one order of them stands for all "
            "rounds: counts that follow the texts are approximate"
        )
    if _adapters_differ(found):
        lines.append(
            "clients send adapters of different shapes: what they cost is counted, how the server "
            "averages them is not said"
        )
    asked = settings.policy.clients_per_round or 0
    num_clients = sum(cost.client_class.num_clients for cost in answer.classes)
    if asked > num_clients:
        lines.append(
            f"policy.clients_per_round = {asked:,} of {num_clients:,} clients: all are asked"
        )
    if found.looks_further:
        lines.append(
            f"a schedule looks at {', '.join(found.looks_further)}: what one client costs is given "
            "without it, totals and times with it"
        )
    lines.extend(_rank_notes(answer))
    lines.extend(privacy_notes(found.protection, _sent(found)))
    return lines


def _rank_notes(answer: AnalyticResult) -> list[str]:
    """Adapters that are counted as peft trains them, and are larger than what they adapt."""
    found: dict[str, None] = {}
    for cost in answer.classes:
        training = cost.client_class.plan.training
        narrow = training.lora and training.lora.narrowest(training.model)
        if training.lora is not None and narrow:
            width = min(narrow.num_inputs, narrow.num_outputs)
            found[
                f"r = {training.lora.r} is above the width of {narrow.path} ({width}): counted as "
                "peft trains it, and no better than r = that width"
            ] = None
    return list(found)


def _simulation_notes(found: Outcome, simulated: Simulated) -> list[str]:
    notes = [f"simulated by engine '{found.choice.engine}'"]
    if simulated.result.approximation:
        notes.append(simulated.result.approximation)
    simulation, draws = simulated.simulation, found.draws or {}
    num_rounds = simulation.federation.num_rounds
    replicated = draws.get("num_rounds", num_rounds)
    if replicated < num_rounds:
        notes.append(
            f"the 95 % interval was simulated over {replicated:,} of {num_rounds:,} rounds"
        )
    federation, policy = simulation.federation, simulation.policy
    if is_drawn(federation, policy, found.framework) and len(draws.get("seeds", ())) < 2:
        notes.append(
            "one draw of the clients: the 95 % interval does not hold what other draws would "
            "give; --seeds 5 draws it five times"
        )
    notes.extend(filter(None, [detection_note(simulation)]))
    if any(c.client_samples is not None for c in simulated.simulation.federation.classes):
        notes.append(
            "what one client costs is given for a client of middling data; totals are of all"
        )
    return notes


def _adapters_differ(found: Outcome) -> bool:
    """Whether clients of unequal classes send parameters of unequal shapes."""
    sent = {
        tuple(
            step.payload
            for segment in protocol.round
            if isinstance(segment, Each)
            for _, step in leaf_steps(segment.steps)
            if isinstance(step, Transfer)
            and step.direction is Direction.UP
            and step.payload.content in (Content.ADAPTERS, Content.MASKED_ADAPTERS)
        )
        for protocol in _protocols(found)
    }
    return len(sent) > 1


def _protocols(found: Outcome) -> list[Protocol]:
    return [found.framework(cost.client_class.plan) for cost in found.answer.classes]


def _sent(found: Outcome) -> frozenset[Content]:
    """What any client sends or receives in a round."""
    return frozenset(c for protocol in _protocols(found) for c in contents(protocol.round))
