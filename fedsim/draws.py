"""All randomness of a federation, counter-based and keyed.

A draw is named by (seed, round, client, purpose), so it does not depend on which other draws were
made before it, on the order of clients in a file or on the interpreter that asks.

Two ways lead to a draw. :func:`generator` gives a generator of its own to whoever needs many values
for one name. :func:`uniforms` gives one value for each of many clients, and is plain arithmetic of
64-bit words, so that compiled engines can repeat it to the last bit.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GOLDEN",
    "MIX_1",
    "MIX_2",
    "chosen",
    "client_id",
    "client_key",
    "client_keys",
    "failures",
    "generator",
    "normals",
    "participants",
    "purpose_key",
    "replication_seeds",
    "turn_order",
    "uniforms",
    "visiting_order",
]

#: 2^64 over the golden ratio; SplitMix64's increment (Steele, Lea and Flood, OOPSLA 2014).
GOLDEN: Final = 0x9E3779B97F4A7C15
#: Multipliers of Stafford's "Mix13" finalizer, which SplitMix64 uses.
MIX_1: Final = 0xBF58476D1CE4E5B9
MIX_2: Final = 0x94D049BB133111EB


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


def turn_order(seed: int, round_index: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Order in which clients take whole turns at one shared server-side model (Split V2).

    Parameters
    ----------
    seed, round_index : int
    keys : ndarray of uint64, shape (n,)
        See :func:`client_keys`.

    Returns
    -------
    ndarray of int64, shape (n,)
        Places in ``keys``. Who is not among them changes nothing for the others.
    """
    draws = uniforms(purpose_key(seed, "turns"), round_index, keys)
    return np.argsort(draws, kind="stable").astype(np.int64)


def failures(
    seed: int,
    round_index: int | NDArray[np.uint64],
    keys: NDArray[np.uint64],
    chance: float | NDArray[np.float64],
    attempt: int = 0,
) -> NDArray[np.bool_]:
    """Who fails in an attempt at the work of a round.

    Parameters
    ----------
    seed : int
    round_index : int or ndarray of uint64, shape (n,)
        The round, or each client's own iteration.
    keys : ndarray of uint64, shape (n,)
        See :func:`client_keys`.
    chance : float or ndarray, shape (n,)
        Of each client.
    attempt : int
        0 is the first.
    """
    return np.asarray(uniforms(purpose_key(seed, "fails"), round_index, keys, attempt) < chance)


def chosen(
    seed: int, purpose: str, round_index: int, keys: NDArray[np.uint64], wanted: int
) -> NDArray[np.int64]:
    """Some clients at random, without repetition.

    Parameters
    ----------
    seed : int
    purpose : str
        What they are drawn for.
    round_index : int
    keys : ndarray of uint64, shape (n,)
        See :func:`client_keys`.
    wanted : int
        How many; all where there are fewer.

    Returns
    -------
    ndarray of int64, shape (min(wanted, n),)
        Places in ``keys``, sorted.
    """
    if wanted >= len(keys):
        return np.arange(len(keys))
    if wanted <= 0:
        return np.empty(0, dtype=np.int64)
    draws = uniforms(purpose_key(seed, purpose), round_index, keys)
    return np.sort(np.argpartition(draws, wanted - 1)[:wanted])


def participants(
    seed: int,
    round_index: int,
    client_ids: tuple[str, ...],
    dropout_probability: float,
    clients_per_round: int | None = None,
) -> tuple[str, ...]:
    """Clients that take part in a round of a real run, in the given order.

    The server asks some of them at random (``clients_per_round``), or all. Those take part that do
    not fail at the first attempt (:func:`failures`). Where all would, the one whose draw is the
    highest stays: a round of nobody is none.
    """
    keys = np.array([client_key(client_id) for client_id in client_ids], dtype=np.uint64)
    if clients_per_round is not None:
        asked = chosen(seed, "selection", round_index, keys, clients_per_round)
        client_ids, keys = tuple(client_ids[place] for place in asked), keys[asked]
    if dropout_probability == 0:
        return client_ids
    fails = failures(seed, round_index, keys, dropout_probability)
    if fails.all():
        fails[np.argmax(uniforms(purpose_key(seed, "fails"), round_index, keys))] = False
    return tuple(cid for cid, is_out in zip(client_ids, fails.tolist(), strict=True) if not is_out)


def replication_seeds(seed: int, num_seeds: int) -> tuple[int, ...]:
    """Seeds of a run and of its replications: the run's own, then others that follow from it."""
    others = (_hashed(f"{seed}/replication/{number}") >> 1 for number in range(1, num_seeds))
    return (seed, *others)


def purpose_key(seed: int, purpose: str) -> int:
    """64-bit key of everything that is drawn for one purpose."""
    return _hashed(f"{seed}/{purpose}")


def client_id(class_name: str, number: int, num_clients: int) -> str:
    """A client's name: its class and its number in it; a class's only client bears its name.

    Examples are ``phones/17`` and ``server-room``.
    """
    return class_name if num_clients == 1 else f"{class_name}/{number}"


def client_key(client: str) -> np.uint64:
    """The key of a client by its name; see :func:`client_id` and :func:`client_keys`."""
    name, slash, number = client.rpartition("/")
    is_numbered = bool(slash) and number.isdecimal() and number.isascii()
    class_name, index = (name, int(number)) if is_numbered else (client, 0)
    key: np.uint64 = _keys(class_name, np.array([index], dtype=np.uint64))[0]
    return key


def client_keys(class_name: str, num_clients: int) -> NDArray[np.uint64]:
    """64-bit keys of a class's clients, by name: they do not depend on the other classes."""
    return _keys(class_name, np.arange(num_clients, dtype=np.uint64))


def _keys(class_name: str, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return _mixed(numbers * np.uint64(GOLDEN) + np.uint64(_hashed(f"class/{class_name}")))


def uniforms(
    key: int, round_index: int | NDArray[np.uint64], clients: NDArray[np.uint64], attempt: int = 0
) -> NDArray[np.float64]:
    """One draw for each client, uniform over the open interval (0, 1).

    Parameters
    ----------
    key : int
        See :func:`purpose_key`.
    round_index : int or ndarray of uint64, shape (n,)
        The round, or each client's own iteration.
    clients : ndarray of uint64, shape (n,)
        See :func:`client_keys`.
    attempt : int
        Whatever else tells two draws apart: a retry, a try, a period.

    Notes
    -----
    ``mix(mix(mix(key + G * round) + G * attempt) ^ client)`` with Stafford's 64-bit finalizer: a
    hash of a counter, not a sequence. The upper 52 bits, and half of the last one, so that neither
    0 nor 1 is drawn.
    """
    golden = np.uint64(GOLDEN)
    with np.errstate(over="ignore"):
        word = np.asarray(round_index, dtype=np.uint64) * golden + np.uint64(key)
        word = _mixed(_mixed(word) + np.uint64(attempt) * golden)
        word = _mixed(word ^ clients)
    return np.asarray(((word >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)


def normals(
    key: int, round_index: int | NDArray[np.uint64], clients: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """One standard normal draw for each client, by Box and Muller's transform."""
    radius = np.sqrt(-2.0 * np.log(uniforms(key, round_index, clients, 0)))
    return np.asarray(radius * np.cos(2.0 * np.pi * uniforms(key, round_index, clients, 1)))


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mixed(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        word = (word ^ (word >> np.uint64(30))) * np.uint64(MIX_1)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(MIX_2)
        return np.asarray(word ^ (word >> np.uint64(31)))
