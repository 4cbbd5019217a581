"""The smallest change of a plan that fits a memory: what to write where a part cannot be held.

Every suggestion is checked with the real peak, never estimated. Few keys come first: where one
change is enough, each kind of change that is; else pairs, and so on. Within a set no value is
changed further than it has to be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import combinations
from typing import Any, Final

from fedsim.analytic.peak_memory import client_peak_bytes, server_peak_bytes
from fedsim.errors import FedsimError
from fedsim.protocol.step import Protocol
from fedsim.spec.batch import TextLengths
from fedsim.spec.dtype import FloatDtype
from fedsim.spec.plan import ClientPlan, Cut
from fedsim.spec.tuning import LoraTuning

__all__ = ["Suggestion", "client_suggestions", "server_suggestions"]

#: More ways out than this help nobody to choose.
_MAX_SUGGESTIONS: Final = 6
#: Half as long as float32; the first has its range.
_SHORT_FORMATS: Final[tuple[FloatDtype, ...]] = ("bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class _State:
    """What a peak depends on.

    Attributes
    ----------
    plan : ClientPlan
    num_clients : int
        Whose contributions, or server-side copies, are held at once.
    """

    plan: ClientPlan
    num_clients: int = 1


Framework = Callable[[ClientPlan], Protocol]
Peak = Callable[[_State], int]
Fits = Callable[[_State], bool]
Changes = tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class _Move:
    """A kind of change, from as it is (0) to as far as it goes.

    Attributes
    ----------
    num_steps : int
        How far it goes; 1 for a switch.
    changed : callable
        The state after so many steps.
    changes : callable
        The keys to write for so many steps.
    """

    num_steps: int
    changed: Callable[[_State, int], _State]
    changes: Callable[[int], Changes]


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
    framework: Framework, plan: ClientPlan, memory_bytes: int, formats: Collection[str] = ()
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
    formats : collection of str
        Number formats in which all devices can be priced.

    Returns
    -------
    tuple of Suggestion
        The smallest sets of changes that are enough; empty where all together are not.
    """

    def peak(state: _State) -> int:
        return client_peak_bytes(framework(state.plan), state.plan)

    state = _State(plan)
    return _suggestions(state, list(_plan_moves(plan, peak, formats)), peak, memory_bytes)


def server_suggestions(
    framework: Framework,
    plan: ClientPlan,
    clients: Sequence[tuple[ClientPlan, int]],
    num_held: int,
    memory_bytes: int,
    formats: Collection[str] = (),
) -> tuple[Suggestion, ...]:
    """Changes with which the server fits its memory.

    Parameters
    ----------
    framework : callable
    plan : ClientPlan
        The server's.
    clients : sequence of (ClientPlan, int)
        Plans of the clients, and how many have each.
    num_held : int
        Clients whose contributions, or server-side copies, it holds at once.
    memory_bytes : int
        [B].
    formats : collection of str
        Number formats in which all devices can be priced.
    """

    def peak(state: _State) -> int:
        senders = []
        for own, count in clients:
            moved = _following(own, plan, state.plan)
            senders.append((framework(moved), moved, count))
        return server_peak_bytes(framework(state.plan), state.plan, senders, state.num_clients)

    moves = [*_server_moves(plan, num_held), *_plan_moves(plan, peak, formats)]
    return _suggestions(_State(plan, num_held), moves, peak, memory_bytes)


def _following(own: Any, base: Any, changed: Any) -> Any:
    """A class's value where the base's is changed: what the class has of its own stays."""
    if own == base:
        return changed
    if is_dataclass(own) and type(own) is type(base) is type(changed):
        values = {
            field.name: _following(*(getattr(each, field.name) for each in (own, base, changed)))
            for field in fields(own)
        }
        return replace(own, **values)  # type: ignore[type-var]
    if isinstance(own, tuple) and len(own) == len(base) == len(changed):
        return tuple(map(_following, own, base, changed))
    return own


def _suggestions(
    state: _State, moves: list[_Move], peak: Peak, memory_bytes: int
) -> tuple[Suggestion, ...]:
    def fits(changed: _State) -> bool:
        try:
            return peak(changed) <= memory_bytes
        except FedsimError:
            # No such plan: a cut that leaves nothing to train, say.
            return False

    for size in range(1, len(moves) + 1):
        found = [
            Suggestion(changes, peak(changed))
            for chosen in combinations(moves, size)
            for changes, changed in _mildest(state, chosen, fits)
        ]
        if found:
            return tuple(found[:_MAX_SUGGESTIONS])
    return ()


def _mildest(
    state: _State, moves: tuple[_Move, ...], fits: Fits
) -> Iterator[tuple[Changes, _State]]:
    """These changes and no other, none of them further than needed; nothing if they do not do."""
    steps = [move.num_steps for move in moves]

    def changed(steps: list[int]) -> _State:
        result = state
        for move, num_steps in zip(moves, steps, strict=True):
            result = move.changed(result, num_steps)
        return result

    if not fits(changed(steps)):
        return
    # Those that change training most are taken back first.
    for place in reversed(range(len(moves))):
        ahead, behind = steps[:place], steps[place + 1 :]

        def is_enough(n: int, ahead: list[int] = ahead, behind: list[int] = behind) -> bool:
            return fits(changed([*ahead, n, *behind]))

        steps[place] = _fewest(steps[place], is_enough)
    keys = [move.changes(n) for move, n in zip(moves, steps, strict=True)]
    yield tuple(pair for pairs in keys for pair in pairs), changed(steps)


def _fewest(most: int, fits: Callable[[int], bool]) -> int:
    """Fewest steps from 1 to ``most`` that fit, where ``most`` fit and so do all above."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low


def _server_moves(plan: ClientPlan, num_clients: int) -> Iterator[_Move]:
    if plan.cut is not None and plan.server_variant == "v1":
        yield _Move(
            1,
            lambda state, _: replace(state, plan=replace(state.plan, server_variant="v2")),
            lambda _: (("split.server_variant", "v2"),),
        )
    if num_clients > 1:
        yield _Move(
            num_clients - 1,
            lambda state, n: replace(state, num_clients=num_clients - n),
            lambda n: (("policy.clients_per_round", num_clients - n),),
        )


def _plan_moves(plan: ClientPlan, peak: Peak, formats: Collection[str]) -> Iterator[_Move]:
    """Changes of a plan, those that change training least first."""
    training = plan.training
    numerics = training.numerics
    short = next((each for each in _SHORT_FORMATS if each in formats), None)
    if short is not None and numerics.weights_dtype == "float32":
        keys: Changes = (("model.weights_dtype", short),)
        if numerics.compute_dtype != short:
            keys = (*keys, ("model.compute_dtype", short))
        yield _Move(
            1,
            lambda state, _: _with_numerics(state, weights_dtype=short, compute_dtype=short),
            lambda _: keys,
        )
    if not numerics.is_checkpointed:
        yield _Move(
            1,
            lambda state, _: _with_numerics(state, is_checkpointed=True),
            lambda _: (("model.gradient_checkpointing", True),),
        )
    size = plan.batch_size
    if size > 1:
        yield _Move(
            size - 1,
            lambda state, n: replace(state, plan=replace(state.plan, batch_size=size - n)),
            lambda n: (("workload.batch_size", size - n),),
        )
    if plan.cut is not None:
        yield from _cut_move(plan, plan.cut, peak)
    yield from _size_moves(plan)


def _size_moves(plan: ClientPlan) -> Iterator[_Move]:
    """Fewer trained values, shorter texts: another result of training."""
    tuning = plan.training.tuning
    if isinstance(tuning, LoraTuning) and tuning.r > 1:
        rank = tuning.r
        yield _Move(
            rank - 1,
            lambda state, n: replace(state, plan=_ranked(state.plan, rank - n)),
            lambda n: (("lora.r", rank - n),),
        )
    longest = plan.train_epochs[0].max_tokens
    if longest > 1:
        yield _Move(
            longest - 1,
            lambda state, n: replace(state, plan=_shortened(state.plan, longest - n)),
            lambda n: (("workload.max_tokens", longest - n),),
        )


def _cut_move(plan: ClientPlan, cut: Cut, peak: Peak) -> Iterator[_Move]:
    """The cut in the direction that needs less: fewer blocks of a client, more of a server."""
    lowest = 0 if cut.is_half_block else 1
    ends = {}
    for layer in {lowest, plan.training.model.num_layers - 1} - {cut.layer}:
        try:
            ends[layer] = peak(_State(replace(plan, cut=replace(cut, layer=layer))))
        except FedsimError:
            continue
    if not ends:
        return
    end = min(ends, key=lambda layer: (ends[layer], layer))
    toward = 1 if end > cut.layer else -1

    def changed(state: _State, n: int) -> _State:
        moved = replace(cut, layer=cut.layer + toward * n)
        return replace(state, plan=replace(state.plan, cut=moved))

    yield _Move(
        abs(end - cut.layer), changed, lambda n: (("split.cut_layer", cut.layer + toward * n),)
    )


def _with_numerics(state: _State, **changes: object) -> _State:
    training = state.plan.training
    numerics = replace(training.numerics, **changes)  # type: ignore[arg-type]
    return replace(state, plan=replace(state.plan, training=replace(training, numerics=numerics)))


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
