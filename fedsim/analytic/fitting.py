"""The smallest change of a plan that fits a memory: what to write where a part cannot be held.

Every suggestion is checked with the real peak, never estimated. One change at a time, ordered by
how little it changes training; where none is enough, the savers that change least go first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from fedsim.analytic.peak_memory import client_peak_bytes, server_peak_bytes
from fedsim.errors import FedsimError
from fedsim.protocol.step import Protocol
from fedsim.spec.batch import TextLengths
from fedsim.spec.plan import ClientPlan, Cut
from fedsim.spec.tuning import LoraTuning

__all__ = ["Suggestion", "client_suggestions", "server_suggestions"]

Framework = Callable[[ClientPlan], Protocol]
Peak = Callable[[ClientPlan], int]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Keys to change, and the peak memory that comes of it.

    Attributes
    ----------
    changes : tuple of (str, object)
        Keys of a scenario file and their values.
    peak_bytes : int
        [B].
    """

    changes: tuple[tuple[str, object], ...]
    peak_bytes: int


def client_suggestions(
    framework: Framework, plan: ClientPlan, memory_bytes: int
) -> tuple[Suggestion, ...]:
    """Changes with which one client fits its memory.

    Parameters
    ----------
    framework : callable
        Plan to protocol.
    plan : ClientPlan
        The one that does not fit.
    memory_bytes : int
        [B].

    Returns
    -------
    tuple of Suggestion
        The smallest change of each kind that is enough by itself; else of each kind beside
        checkpointing and single samples; empty where even the least does not fit.
    """

    def peak(changed: ClientPlan) -> int:
        return client_peak_bytes(framework(changed), changed)

    return _suggestions(plan, peak, memory_bytes, splits=plan.cut is not None)


def server_suggestions(
    framework: Framework, plan: ClientPlan, num_clients: int, memory_bytes: int
) -> tuple[Suggestion, ...]:
    """Changes with which the server fits its memory.

    Parameters
    ----------
    framework : callable
    plan : ClientPlan
        The server's.
    num_clients : int
        Whose contributions, or server-side copies, it holds at once.
    memory_bytes : int
        [B].
    """

    def peak(changed: ClientPlan, clients: int = num_clients) -> int:
        return server_peak_bytes(framework(changed), changed, clients)

    found: list[Suggestion] = []
    if plan.cut is not None and plan.server_variant == "v1":
        shared = replace(plan, server_variant="v2")
        if peak(shared) <= memory_bytes:
            found.append(Suggestion((("split.server_variant", "v2"),), peak(shared)))
    fewer = _largest(num_clients - 1, lambda n: peak(plan, n) <= memory_bytes)
    if fewer is not None:
        found.append(Suggestion((("policy.clients_per_round", fewer),), peak(plan, fewer)))
    return (*found, *_suggestions(plan, peak, memory_bytes, splits=plan.cut is not None))


def _suggestions(
    plan: ClientPlan, peak: Peak, memory_bytes: int, *, splits: bool
) -> tuple[Suggestion, ...]:
    alone = tuple(_single(plan, peak, memory_bytes, splits=splits))
    if alone:
        return alone
    changes: list[tuple[str, object]] = []
    if not plan.training.numerics.is_checkpointed:
        plan = _checkpointed(plan)
        changes.append(("model.gradient_checkpointing", True))
    if plan.batch_size > 1:
        plan = replace(plan, batch_size=1)
        changes.append(("workload.batch_size", 1))
    if changes and _fits(plan, peak, memory_bytes):
        return (Suggestion(tuple(changes), peak(plan)),)
    return tuple(
        Suggestion((*changes, *found.changes), found.peak_bytes)
        for found in _single(plan, peak, memory_bytes, splits=splits)
    )


def _single(
    plan: ClientPlan, peak: Peak, memory_bytes: int, *, splits: bool
) -> Iterator[Suggestion]:
    """The smallest change of each kind, those that change training least first."""
    training = plan.training

    def found(key: str, value: object, changed: ClientPlan) -> Iterator[Suggestion]:
        if _fits(changed, peak, memory_bytes):
            yield Suggestion(((key, value),), peak(changed))

    if not training.numerics.is_checkpointed:
        yield from found("model.gradient_checkpointing", True, _checkpointed(plan))
    size = _largest(
        plan.batch_size - 1, lambda n: _fits(replace(plan, batch_size=n), peak, memory_bytes)
    )
    if size is not None:
        yield from found("workload.batch_size", size, replace(plan, batch_size=size))
    if splits and plan.cut is not None:
        for cut in _cuts(plan.cut, training.model.num_layers):
            changed = replace(plan, cut=cut)
            if _fits(changed, peak, memory_bytes):
                yield from found("split.cut_layer", cut.layer, changed)
                break
    if isinstance(training.tuning, LoraTuning):
        rank = _largest(
            training.tuning.r - 1, lambda r: _fits(_ranked(plan, r), peak, memory_bytes)
        )
        if rank is not None:
            yield from found("lora.r", rank, _ranked(plan, rank))
    longest = plan.train_epochs[0].max_tokens
    tokens = _largest(longest - 1, lambda t: _fits(_shortened(plan, t), peak, memory_bytes))
    if tokens is not None:
        yield from found("workload.max_tokens", tokens, _shortened(plan, tokens))


def _fits(plan: ClientPlan, peak: Peak, memory_bytes: int) -> bool:
    try:
        return peak(plan) <= memory_bytes
    except FedsimError:
        # No such plan: a cut that leaves nothing to train, say.
        return False


def _largest(most: int, fits: Callable[[int], bool]) -> int | None:
    """Largest number up to ``most`` that fits, where smaller ones fit too; None if none does."""
    if most < 1 or not fits(1):
        return None
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _cuts(cut: Cut, num_layers: int) -> Iterator[Cut]:
    """Other cuts, the nearest first; a client wants fewer blocks and a server more."""
    lowest = 0 if cut.is_half_block else 1
    others = [layer for layer in range(lowest, num_layers) if layer != cut.layer]
    for layer in sorted(others, key=lambda layer: (abs(layer - cut.layer), layer)):
        yield replace(cut, layer=layer)


def _checkpointed(plan: ClientPlan) -> ClientPlan:
    numerics = replace(plan.training.numerics, is_checkpointed=True)
    return replace(plan, training=replace(plan.training, numerics=numerics))


def _ranked(plan: ClientPlan, rank: int) -> ClientPlan:
    tuning = plan.training.tuning
    assert isinstance(tuning, LoraTuning)
    return replace(plan, training=replace(plan.training, tuning=replace(tuning, r=rank)))


def _shortened(plan: ClientPlan, max_tokens: int) -> ClientPlan:
    def cut(text: TextLengths) -> TextLengths:
        return replace(text, max_tokens=min(text.max_tokens, max_tokens))

    public = None if plan.public_text is None else cut(plan.public_text)
    return replace(
        plan, train_epochs=tuple(cut(text) for text in plan.train_epochs), public_text=public
    )
