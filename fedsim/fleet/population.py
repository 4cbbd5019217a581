"""Classes of clients drawn into single clients: one array a figure.

Decides which client gets which device speed, link, plan and weight. The order is by class name and
number within the class, so the order of a scenario file changes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.draws import client_id, client_keys, purpose_key, uniforms
from fedsim.spec.distribution import Distribution, is_joint, values_at
from fedsim.spec.federation import ClientClass, FederationSpec
from fedsim.spec.link import loss_limited_bytes_per_s
from fedsim.spec.plan import ClientPlan

__all__ = ["ClientGroup", "Population", "draw_population"]

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class ClientGroup:
    """Clients of one class with one plan: they differ in speed and link alone.

    Attributes
    ----------
    class_index : int
        Into ``federation.classes``.
    plan : ClientPlan
    """

    class_index: int
    plan: ClientPlan


@dataclass(frozen=True, eq=False)
class Population:
    """All clients of a federation, as arrays of shape (n,).

    Attributes
    ----------
    class_names : tuple of str
        In the order of ``class_index``.
    first_index : tuple of int
        Of each class's first client.
    class_index, group_index : ndarray of int32
    groups : tuple of ClientGroup
    keys : ndarray of uint64
        What draws are named by.
    slowdown : ndarray
        Factor on the seconds of the class's device.
    uplink, downlink : ndarray
        Rates of the wire, at factor 1 of a rate trace [B/s].
    round_trip : ndarray
        [s].
    payload_fraction : ndarray
    num_samples : ndarray of int64
        Private samples.
    """

    class_names: tuple[str, ...]
    first_index: tuple[int, ...]
    class_index: NDArray[np.int32]
    group_index: NDArray[np.int32]
    groups: tuple[ClientGroup, ...]
    keys: NDArray[np.uint64]
    slowdown: Reals
    uplink: Reals
    downlink: Reals
    round_trip: Reals
    payload_fraction: Reals
    num_samples: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.class_index)

    def client_id(self, index: int) -> str:
        """A client's name; see :func:`fedsim.draws.client_id`."""
        number = bisect_right(self.first_index, index) - 1
        first = self.first_index[number]
        ends = (*self.first_index[1:], len(self))
        return client_id(self.class_names[number], index - first, ends[number] - first)


def draw_population(federation: FederationSpec, seed: int) -> Population:
    """Draw every client of a federation.

    Parameters
    ----------
    federation : FederationSpec
        Its classes in order of their names.
    seed : int
        The scenario's.
    """
    classes = federation.classes
    sizes = [c.num_clients for c in classes]
    firsts = tuple(int(n) for n in np.concatenate(([0], np.cumsum(sizes)[:-1])))
    keys = [client_keys(c.name, c.num_clients) for c in classes]
    groups: list[ClientGroup] = []
    group_index, num_samples = [], []
    for number, client_class in enumerate(classes):
        own, index, samples = _groups_of(client_class, number)
        group_index.append(index + len(groups))
        num_samples.append(samples)
        groups.extend(own)
    columns = [_links_and_speeds(c, k, seed) for c, k in zip(classes, keys, strict=True)]
    slowdown, uplink, downlink, round_trip = (
        np.concatenate([column[i] for column in columns]) for i in range(4)
    )
    fractions = [c.link.payload_fraction for c in classes]
    return Population(
        class_names=tuple(c.name for c in classes),
        first_index=firsts,
        class_index=np.repeat(np.arange(len(classes), dtype=np.int32), sizes),
        group_index=np.concatenate(group_index).astype(np.int32),
        groups=tuple(groups),
        keys=np.concatenate(keys),
        slowdown=slowdown,
        uplink=uplink,
        downlink=downlink,
        round_trip=round_trip,
        payload_fraction=np.repeat(fractions, sizes),
        num_samples=np.concatenate(num_samples),
    )


def _groups_of(
    client_class: ClientClass, class_index: int
) -> tuple[list[ClientGroup], NDArray[np.int64], NDArray[np.int64]]:
    if client_class.client_samples is None:
        same = client_class.plan.train_epochs[0].num_samples
        zeros = np.zeros(client_class.num_clients, dtype=np.int64)
        return [ClientGroup(class_index, client_class.plan)], zeros, zeros + same
    samples = np.asarray(client_class.client_samples, dtype=np.int64)
    distinct, index = np.unique(samples, return_inverse=True)
    groups = [ClientGroup(class_index, client_class.plans[int(n)]) for n in distinct]
    return groups, index.astype(np.int64), samples


def _links_and_speeds(
    client_class: ClientClass, keys: NDArray[np.uint64], seed: int
) -> tuple[Reals, Reals, Reals, Reals]:
    spread, link = client_class.spread, client_class.link

    def drawn(name: str, law: Distribution | None, otherwise: float) -> Reals:
        if law is None:
            return np.full(len(keys), otherwise)
        # Columns of one file belong together: a fast phone stays with its own link.
        purpose = "table" if is_joint(law) else name
        return values_at(law, uniforms(purpose_key(seed, purpose), 0, keys))

    slowdown = drawn("slowdown", spread.slowdown, 1.0)
    uplink = drawn("uplink", spread.uplink, link.uplink_bytes_per_s)
    downlink = drawn("downlink", spread.downlink, link.downlink_bytes_per_s)
    round_trip = drawn("round_trip", spread.round_trip, link.round_trip_s)
    if link.loss_probability > 0:
        limits = np.array(
            [loss_limited_bytes_per_s(link.loss_probability, r) for r in round_trip.tolist()]
        )
        limits /= link.payload_fraction
        uplink, downlink = np.minimum(uplink, limits), np.minimum(downlink, limits)
    return slowdown, uplink, downlink, round_trip
