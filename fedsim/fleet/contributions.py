"""The server's work once a round, for those who contributed: each with what its own plan sends.

An average reads what clients sent, and clients of unequal plans (ranks, cuts) send unequal amounts:
a stand-in plan for all would price tensors that nobody has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedsim.cost.duration import gathered_seconds, operation_seconds
from fedsim.errors import ProtocolError
from fedsim.protocol.operation import Operation
from fedsim.protocol.step import Compute, Once, Protocol, leaf_steps
from fedsim.spec.device import DeviceSpec
from fedsim.spec.plan import TrainingSpec

__all__ = ["Contributions"]

_Plan = tuple[Protocol, TrainingSpec]
_Timed = tuple[int, Compute, float]


class Contributions:
    """Seconds of the server's steps once a round, by who contributed.

    Parameters
    ----------
    plans : sequence of (Protocol, TrainingSpec)
        Of each group of clients.
    server : (Protocol, TrainingSpec)
        Of the server's own plan.
    device : DeviceSpec
        The server's.
    """

    def __init__(self, plans: Sequence[_Plan], server: _Plan, device: DeviceSpec) -> None:
        self._server = server
        self._device = device
        # Clients whose contributions are alike count together, or a million would be a thousand
        # kinds for nothing but their numbers of samples.
        places: dict[tuple[object, ...], int] = {}
        self._kinds: list[_Plan] = []
        kind_of: list[int] = []
        for protocol, training in plans:
            gathered = tuple(
                operation
                for segment in protocol.round
                if isinstance(segment, Once)
                for operation in _gathering(segment)
            )
            key = (training, gathered)
            if key not in places:
                places[key] = len(self._kinds)
                self._kinds.append((protocol, training))
            kind_of.append(places[key])
        self._kind_of: NDArray[np.int64] = np.array(kind_of, dtype=np.int64)
        self._known: dict[tuple[int, tuple[int, ...]], tuple[_Timed, ...]] = {}

    def steps(self, segment: int, groups: NDArray[np.integer]) -> tuple[_Timed, ...]:
        """Every step of one ``Once`` with how often it is done and the seconds of one time [s].

        Parameters
        ----------
        segment : int
            Number of the segment in the round.
        groups : ndarray of int, shape (n,)
            Group of each client that contributed.

        Raises
        ------
        ProtocolError
            If clients' plans gather other things than the server's.
        """
        return self._steps(segment, np.bincount(self._kind_of[groups], minlength=len(self._kinds)))

    def of_counts(self, segment: int, counts: Sequence[int]) -> tuple[_Timed, ...]:
        """:meth:`steps` for so many contributions of each group."""
        return self._steps(segment, np.bincount(self._kind_of, counts, len(self._kinds)))

    def _steps(self, segment: int, of_kind: NDArray[np.generic]) -> tuple[_Timed, ...]:
        key = segment, tuple(of_kind.astype(np.int64).tolist())
        if key not in self._known:
            self._known[key] = tuple(self._timed(*key))
        return self._known[key]

    def _timed(self, segment: int, counts: tuple[int, ...]) -> list[_Timed]:
        protocol, own = self._server
        once = protocol.round[segment]
        assert isinstance(once, Once)
        given = [_gathering(kind.round[segment]) for kind, _ in self._kinds]
        found: list[_Timed] = []
        place = 0
        for times, step in leaf_steps(once.steps):
            if not isinstance(step, Compute):
                continue
            if not step.operation.facts.gathers:
                one_s = operation_seconds(step.operation, own, self._device)
                found.append((times, step, one_s))
                continue
            try:
                parts = [
                    (operations[place], training, count)
                    for operations, (_, training), count in zip(
                        given, self._kinds, counts, strict=True
                    )
                    if count
                ]
            except IndexError as error:
                raise ProtocolError(
                    f"framework '{protocol.name}': step '{step.label}' gathers what not all "
                    "clients' plans send; the plans of one round must gather the same steps."
                ) from error
            found.append((times, step, gathered_seconds(parts, self._device)))
            place += 1
        return found


def _gathering(segment: object) -> tuple[Operation, ...]:
    """Operations of a ``Once`` that read what was gathered, in their order."""
    assert isinstance(segment, Once)
    return tuple(
        step.operation
        for _, step in leaf_steps(segment.steps)
        if isinstance(step, Compute) and step.operation.facts.gathers
    )
