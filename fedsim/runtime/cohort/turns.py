"""Whose turn it is: the steps of clients that compute together, a kind of step at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from fedsim.errors import ScenarioError
from fedsim.protocol.operation import ForwardToCut
from fedsim.protocol.step import Compute, Repeat, Step, Transfer, leaf_steps
from fedsim.spec.plan import ClientPlan
from fedsim.spec.tuning import LoraTuning

__all__ = [
    "Steps",
    "Turn",
    "check_goes_together",
    "groups_of_tokens",
    "lora_of",
    "next_turn",
    "unrolled",
]

Steps = deque[Compute | Transfer]
Turn = Mapping[str, Compute]


def check_goes_together(
    plans: Sequence[ClientPlan], *, counts_flop: bool, tracks_memory: bool
) -> None:
    """Refuse what only one client at a time can do, all at once.

    Raises
    ------
    ScenarioError
        With everything that does not go.
    """
    wrong = []
    if counts_flop:
        wrong.append("counts FLOP (a pass computes less than its steps count)")
    if tracks_memory:
        wrong.append("tracks memory (it is shared by all)")
    if any(plan.cut is not None and plan.server_variant == "v2" for plan in plans):
        wrong.append("server_variant = 'v2' (clients take turns at one server-side model)")
    for padding in sorted({text.padding for plan in plans for text in plan.train_epochs}):
        if padding != "none":
            wrong.append(f"padding = '{padding}' (allowed: 'none')")
    if wrong:
        raise ScenarioError(
            f"cohort mode does not go with {'; '.join(wrong)}. Change that, or train one "
            "client after the other (sequential mode)."
        )


def groups_of_tokens(
    programs: Mapping[str, tuple[Step, ...]], tokens_at_once: int
) -> Iterator[list[str]]:
    """Clients that take their turns together: all, or as many as may wait behind a cut."""
    group: list[str] = []
    num_tokens = 0
    for client_id, steps in programs.items():
        own = _tokens_behind_cut(steps)
        if group and num_tokens + own > tokens_at_once:
            yield group
            group, num_tokens = [], 0
        group.append(client_id)
        num_tokens += own
    if group:
        yield group


def next_turn(left: Mapping[str, Steps]) -> Turn:
    """The next steps of all clients whose next one is of the first one's kind, taken off."""
    waiting = {client_id: steps[0] for client_id, steps in left.items() if steps}
    heads = {cid: step for cid, step in waiting.items() if isinstance(step, Compute)}
    if not heads:
        return {}
    kind = type(next(iter(heads.values())).operation)
    turn = {cid: step for cid, step in heads.items() if type(step.operation) is kind}
    for client_id in turn:
        left[client_id].popleft()
    return turn


def unrolled(steps: Sequence[Step]) -> Iterator[Compute | Transfer]:
    """Steps as often as they run."""
    for step in steps:
        if isinstance(step, Repeat):
            for _ in range(step.times):
                yield from unrolled(step.steps)
        else:
            yield step


def _tokens_behind_cut(steps: Sequence[Step]) -> int:
    """Tokens of the largest batch that a client keeps a graph of until gradients come back."""
    return max(
        (
            step.operation.batch.num_tokens
            for _, step in leaf_steps(tuple(steps))
            if isinstance(step, Compute) and isinstance(step.operation, ForwardToCut)
        ),
        default=0,
    )


def lora_of(plan: ClientPlan) -> LoraTuning:
    """A client's adapters.

    Raises
    ------
    ScenarioError
        If it trains all weights.
    """
    lora = plan.training.lora
    if lora is None:
        raise ScenarioError(
            "cohort mode does not train with full fine-tuning (clients share the frozen weights). "
            "Use LoRA, or train one client after the other (sequential mode)."
        )
    return lora
