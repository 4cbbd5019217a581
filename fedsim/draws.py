"""All randomness of a federation, counter-based and keyed.

A draw is named by (seed, round, client, purpose), so it does not depend on which other draws were
made before it, on the order of clients in a file or on the interpreter that asks.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["generator", "turn_order", "visiting_order"]


def generator(seed: int, round_index: int, party: str, purpose: str) -> np.random.Generator:
    """A generator of its own for one purpose.

    Parameters
    ----------
    seed : int
        Of the scenario or run.
    round_index : int
    party : str
        Client id or ``server``.
    purpose : str
        What is drawn: ``"order.epoch0"``, ``"turns"``, ...
    """
    text = f"{seed}/{round_index}/{party}/{purpose}".encode()
    key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def visiting_order(
    seed: int, round_index: int, client_id: str, epoch: int, num_samples: int
) -> NDArray[np.int64]:
    """Order in which a client visits its samples in one local epoch."""
    order = generator(seed, round_index, client_id, f"order.epoch{epoch}").permutation(num_samples)
    return order.astype(np.int64)


def turn_order(seed: int, round_index: int, client_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Order in which clients take whole turns at one shared server-side model (Split V2)."""
    ids = sorted(client_ids)
    order = generator(seed, round_index, "server", "turns").permutation(len(ids))
    return tuple(ids[i] for i in order)
