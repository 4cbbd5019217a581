"""Which rows are public and which client holds which of the others.

Decides how many rows each client gets (as many as every other) and which labels (a random mix, or
a mix of its own). Refuses to know texts and tokens: rows are numbers, and only labels steer them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from fedsim.errors import ScenarioError, nearest
from fedsim.runtime.data.random_stream import random_stream, seed_mistakes

IntArray = npt.NDArray[np.int64]
Split = Literal["iid", "dirichlet"]
SPLITS: tuple[Split, ...] = get_args(Split)

# One random stream a purpose, so that the public set does not depend on how the rest is split.
_ORDER_STREAM, _MIX_STREAM = 1, 2
# Below it nothing changes any more: every client already takes its labels strictly in turn.
_MIN_ALPHA = 1e-6


@dataclass(frozen=True, eq=False)
class Partition:
    """Row numbers of the public set and of every client; no row is in two of them.

    Parameters
    ----------
    public
        Rows that all clients and the server share, in drawn order; ``None`` without a public set.
    clients
        One array of row numbers a client, by client number, in drawn order.
    """

    public: IntArray | None
    clients: tuple[IntArray, ...]


def partition(
    labels: Sequence[int] | IntArray,
    *,
    num_public: int,
    num_clients: int,
    split: Split = "iid",
    dirichlet_alpha: float | None = None,
    samples_per_client: int | Sequence[int] | None = None,
    seed: int,
) -> Partition:
    r"""Random public set, and the other rows spread over the clients.

    Parameters
    ----------
    labels
        Label of every row, shape ``(num_rows,)``. ``"iid"`` reads its length only, so any values
        do for pure language modeling.
    num_public
        Size of the public set; 0 for none. [samples]
    num_clients
        Number of clients.
    split
        ``"iid"``: every client draws from the same mix of labels. ``"dirichlet"``: every client
        prefers labels of its own.
    dirichlet_alpha
        Concentration of the clients' label preferences, 1e-6 or more: small is skewed, large
        is even. Required for ``"dirichlet"``, absent for ``"iid"``.
    samples_per_client
        Rows of each client, one number for all or one each; the rows that are left belong to
        nobody. ``None`` uses every row, and then sizes differ by at most one, the first clients
        having the extra row. [samples]
    seed
        Same seed, same partition.

    Returns
    -------
    Partition
        A larger `num_public` and a larger `samples_per_client` only add rows at the end (the
        latter at equal `num_public`), so that sweeps over either compare nested sets.

    Raises
    ------
    ScenarioError
        If the rows do not suffice, or an argument is out of range; all mistakes at once.

    Notes
    -----
    Dirichlet: client :math:`k` draws preferences :math:`q_k \sim \mathrm{Dir}(\alpha 1_C)`.
    The clients then take turns, each turn one row: label :math:`c` with probability proportional
    to :math:`q_{k,c} n_c`, where :math:`n_c` rows of the label are left, and any row of it. As
    :math:`\alpha \to \infty` this is the IID split; as :math:`\alpha \to 0` every client takes
    its favorite label until none is left, then its second, and so on.

    Departures from the sources: Hsu et al. scale :math:`\alpha` by the labels' frequencies, so
    their :math:`\alpha` is this one times the number of labels. Li et al. divide each label's rows
    among the clients by a Dirichlet draw, which makes the clients' sizes differ; here sizes are
    given, so that :math:`\alpha` changes what is learned and not what a round costs. Since no row
    is used twice, late turns take what is left, and the mixes that result are less skewed than
    :math:`q_k`.

    References
    ----------
    Hsu, Qi, Brown 2019, "Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification", arXiv 1909.06335, section 3.
    Li, Diao, Chen, He 2022, "Federated Learning on Non-IID Data Silos", arXiv 2102.02079.
    """
    label_array = np.asarray(labels, dtype=np.int64)
    num_rows = len(label_array)
    mistakes = [
        *_size_mistakes(num_rows, num_public, num_clients, samples_per_client),
        *_split_mistakes(split, dirichlet_alpha, seed),
    ]
    if mistakes:
        raise ScenarioError("\n".join(f"partition: {mistake}" for mistake in mistakes))
    # Drawn order is kept, not sorted: published files are sorted by label, and whoever takes the
    # first rows of a set must get a random sample of it.
    order = random_stream(seed, _ORDER_STREAM).permutation(num_rows).astype(np.int64)
    public, rest = order[:num_public], order[num_public:]
    sizes = _client_sizes(len(rest), num_clients, samples_per_client)
    if dirichlet_alpha is None:
        clients = _dealt_rows(rest, sizes)
    else:
        rng = random_stream(seed, _MIX_STREAM)
        clients = _preferred_rows(label_array, rest, sizes, dirichlet_alpha, rng)
    return Partition(public=public if num_public else None, clients=clients)


def article_partition(
    num_rows: int = 10_003, num_public: int = 5_002, num_clients: int = 3, *, seed: int
) -> Partition:
    """The article's split of the Banking77 training set: 5,002 public rows, 1,667 a client.

    Parameters
    ----------
    num_rows, num_public, num_clients
        The article's numbers unless given.
    seed
        Same seed, same partition.

    Notes
    -----
    The article says that the rows are "evenly distributed" among the clients and not how; IID is
    assumed here.

    References
    ----------
    Yan, Su, Deng, Schober 2025, "Federated Fine-Tuning of LLMs: Framework Comparison and Research
    Directions", IEEE Communications Magazine 63(10):52-58, arXiv 2501.04436.
    """
    unread_labels = np.zeros(num_rows, dtype=np.int64)
    return partition(unread_labels, num_public=num_public, num_clients=num_clients, seed=seed)


def _size_mistakes(
    num_rows: int,
    num_public: int,
    num_clients: int,
    samples_per_client: int | Sequence[int] | None,
) -> Iterator[str]:
    if num_clients < 1:
        yield f"num_clients = {num_clients}: at least 1 client is needed"
    if num_public < 0:
        yield f"num_public = {num_public}: allowed is 0 (no public set) or more"
    sizes = [1] * num_clients
    if isinstance(samples_per_client, int):
        sizes = [samples_per_client] * max(1, num_clients)
    elif samples_per_client is not None:
        sizes = list(samples_per_client)
        if len(sizes) != num_clients:
            yield f"samples_per_client = {sizes}: one number a client is needed"
    if min(sizes, default=1) < 1:
        yield f"samples_per_client = {min(sizes)}: at least 1 row a client is needed"
    num_rest = num_rows - num_public
    if num_rest < 0:
        yield (
            f"num_public = {num_public}: the data set has only {num_rows} rows, and each of "
            f"{num_clients} clients needs at least one of them"
        )
    elif num_rest < num_clients:
        yield (
            f"num_clients = {num_clients}: each needs a row, but only {num_rest} of {num_rows} "
            f"are left beside the public set of {num_public}; lower num_clients or num_public"
        )
    elif num_rest < sum(sizes):
        is_equal = len(set(sizes)) == 1
        allowed = f"allowed is 1 to {num_rest // num_clients}" if is_equal else "give them fewer"
        yield (
            f"samples_per_client = {max(sizes)}: {num_clients} clients need "
            f"{sum(sizes)} rows, but only {num_rest} of {num_rows} are left beside "
            f"the public set of {num_public}; {allowed}"
        )


def _split_mistakes(split: str, dirichlet_alpha: float | None, seed: int) -> Iterator[str]:
    if split not in SPLITS:
        yield f"split = '{split}': allowed are {', '.join(SPLITS)}.{nearest(split, SPLITS)}"
    elif split == "iid" and dirichlet_alpha is not None:
        yield (
            f"dirichlet_alpha = {dirichlet_alpha}: has no effect with split = 'iid'; "
            "write split = 'dirichlet', or leave it out"
        )
    elif split == "dirichlet" and dirichlet_alpha is None:
        yield "split = 'dirichlet': dirichlet_alpha is missing; write for example 0.5"
    if dirichlet_alpha is not None and not _MIN_ALPHA <= dirichlet_alpha < math.inf:
        yield f"dirichlet_alpha = {dirichlet_alpha}: allowed is {_MIN_ALPHA} or more, and finite"
    yield from seed_mistakes(seed)


def _client_sizes(
    num_rows: int, num_clients: int, samples_per_client: int | Sequence[int] | None
) -> list[int]:
    if isinstance(samples_per_client, int):
        return [samples_per_client] * num_clients
    if samples_per_client is not None:
        return list(samples_per_client)
    size, num_larger = divmod(num_rows, num_clients)
    return [size + (client < num_larger) for client in range(num_clients)]


def _dealt_rows(rows: IntArray, sizes: list[int]) -> tuple[IntArray, ...]:
    """The next row to each client in turn that has not got all of its own yet."""
    wanted = np.array(sizes)
    turns = np.concatenate([np.arange(size) for size in sizes])
    clients = np.repeat(np.arange(len(sizes)), wanted)
    place = np.empty(len(turns), dtype=np.int64)
    place[np.lexsort((clients, turns))] = np.arange(len(turns))
    return tuple(rows[each] for each in np.split(place, np.cumsum(wanted)[:-1]))


def _preferred_rows(
    labels: IntArray,
    rows: IntArray,
    sizes: list[int],
    alpha: float,
    rng: np.random.Generator,
) -> tuple[IntArray, ...]:
    present, label_index = np.unique(labels[rows], return_inverse=True)
    # Rows come in random order, so the next row of a label is a random one of those left.
    pools = [rows[label_index == index].tolist() for index in range(len(present))]
    num_left = np.array([len(pool) for pool in pools], dtype=np.float64)
    log_preferences = _log_gamma_draws(alpha, (len(sizes), len(present)), rng)
    chosen: list[list[int]] = [[] for _ in sizes]
    # In turns, and not one client after the other: otherwise the last client would have to take
    # whatever its predecessors left, and skew would depend on the client's number.
    for turn in range(max(sizes)):
        for client, size in enumerate(sizes):
            if turn < size:
                index = _drawn_label(log_preferences[client], num_left, rng)
                num_left[index] -= 1
                chosen[client].append(pools[index].pop())
    return tuple(np.array(rows_of_client, dtype=np.int64) for rows_of_client in chosen)


def _log_gamma_draws(
    alpha: float, shape: tuple[int, int], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    # Gamma(alpha) draws of each client, divided by their sum, are Dirichlet(alpha). The sum drops
    # out of the choice of a label. Logarithms, since below alpha = 0.1 most draws underflow to 0,
    # and a client whose favorites are used up would then have no second choice. From
    # Gamma(alpha) = Gamma(alpha + 1) * U^(1 / alpha).
    return np.log(rng.standard_gamma(alpha + 1.0, shape)) - rng.standard_exponential(shape) / alpha


def _drawn_label(
    log_preferences: npt.NDArray[np.float64],
    num_left: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> int:
    log_preferences = np.where(num_left > 0, log_preferences, -np.inf)
    cumulative = np.cumsum(num_left * np.exp(log_preferences - log_preferences.max()))
    # side="right" never lands on a label of weight 0, not even for a draw of exactly 0.
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
