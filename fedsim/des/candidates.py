"""Who fills a free slot where clients start one by one: at random, or the fastest."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedsim.des.world import World
from fedsim.draws import purpose_key, uniforms

__all__ = ["Candidates"]

#: Draws ahead of the search in order of the index.
_NUM_TRIES: Final = 64


class Candidates:
    """Clients that are idle, and among them those that could start.

    Parameters
    ----------
    world : World
    alone_s : ndarray
        What a round takes each client with nobody else there [s].
    """

    def __init__(self, world: World, alone_s: NDArray[np.float64]) -> None:
        simulation = world.simulation
        self._world = world
        self._key = purpose_key(simulation.seed, "candidate")
        self._num = len(world.clients)
        self._is_fastest_first = simulation.policy.selection == "resource"
        # A stable sort: among equals the smaller index.
        self._by_speed: list[int] = np.argsort(alone_s, kind="stable").tolist()
        self._place = {client: place for place, client in enumerate(self._by_speed)}
        self._idle = set(range(self._num))
        #: Since nobody could start: who became idle or came. None: everybody may be eligible.
        self._fresh: set[int] | None = None

    def add(self, client: int) -> None:
        """A client is idle again."""
        self._idle.add(client)
        if self._fresh is not None:
            self._fresh.add(client)

    def arrive(self, client: int) -> None:
        """A client is available from now on."""
        if self._fresh is not None and client in self._idle:
            self._fresh.add(client)

    def watch_no_more(self) -> None:
        """Stop tracking arrivals."""
        self._fresh = None

    def pick(self, number: int) -> int | None:
        """Take the client for the pick of this number; None if nobody is eligible."""
        pool = self._idle if self._fresh is None else self._fresh
        client = self._one_of(pool, number)
        if client is None:
            self._fresh = set()
            return None
        self._idle.discard(client)
        if self._fresh is not None:
            self._fresh.discard(client)
        return client

    def _one_of(self, pool: set[int], number: int) -> int | None:
        # However few there are, the draws decide; but with one there is nothing to decide.
        if len(pool) <= _NUM_TRIES:
            pool = {client for client in pool if self._is_there(client)}
            if len(pool) <= 1:
                return next(iter(pool), None)
        if self._is_fastest_first:
            return self._fastest(pool)
        return self._drawn(pool, number)

    def _fastest(self, pool: set[int]) -> int | None:
        if len(pool) <= _NUM_TRIES:
            return min(pool, key=self._place.__getitem__)
        return next((c for c in self._by_speed if c in pool and self._is_there(c)), None)

    def _drawn(self, pool: set[int], number: int) -> int | None:
        nobody = np.zeros(1, dtype=np.uint64)
        client = 0
        for attempt in range(_NUM_TRIES):
            draw = float(uniforms(self._key, number, nobody, attempt=attempt)[0])
            client = min(int(draw * self._num), self._num - 1)
            if client in pool and self._is_there(client):
                return client
        for step in range(1, self._num + 1):
            following = (client + step) % self._num
            if following in pool and self._is_there(following):
                return following
        return None

    def _is_there(self, client: int) -> bool:
        world = self._world
        if not world.attendance.varies:
            return True
        return world.attendance.leave_s(client, world.agenda.now) is not None
