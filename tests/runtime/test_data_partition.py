"""Laws of the partition of rows into a public set and clients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.errors import ScenarioError
from fedsim.runtime.data import Partition, Split, article_partition, partition


@st.composite
def partitions(
    draw: st.DrawFn, *, limited: bool = False
) -> tuple[list[int], Partition, int | None]:
    """Labels, a partition of their rows, and the rows per client where they are limited."""
    num_public = draw(st.integers(0, 30))
    num_clients = draw(st.integers(1, 8))
    num_rest = draw(st.integers(num_clients, 60))
    num_rows = num_public + num_rest
    labels = draw(st.lists(st.integers(0, 6), min_size=num_rows, max_size=num_rows))
    split: Split = draw(st.sampled_from(["iid", "dirichlet"]))
    alpha = draw(st.floats(1e-6, 1e6)) if split == "dirichlet" else None
    samples = draw(st.integers(1, num_rest // num_clients)) if limited else None
    parts = partition(
        labels,
        num_public=num_public,
        num_clients=num_clients,
        split=split,
        dirichlet_alpha=alpha,
        samples_per_client=samples,
        seed=draw(st.integers(0, 2**64 - 1)),
    )
    return labels, parts, samples


def used_rows(parts: Partition) -> list[int]:
    """All rows of the partition, as often as they occur."""
    arrays = parts.clients if parts.public is None else (parts.public, *parts.clients)
    return [row for rows in arrays for row in rows.tolist()]


def as_lists(parts: Partition) -> tuple[list[int] | None, list[list[int]]]:
    """The partition as a value that compares."""
    public = None if parts.public is None else parts.public.tolist()
    return public, [rows.tolist() for rows in parts.clients]


def label_skew(labels: np.ndarray, parts: Partition) -> float:
    """Mean total variation between a client's mix of labels and that of all clients."""
    mixes = np.array([np.bincount(labels[rows], minlength=10) for rows in parts.clients], float)
    mixes /= mixes.sum(axis=1, keepdims=True)
    return float(0.5 * np.abs(mixes - mixes.mean(axis=0)).sum(axis=1).mean())


def mistakes_of(**arguments: object) -> list[str]:
    """The mistakes that a partition of ten rows reports."""
    settings: dict[str, object] = {"num_public": 4, "num_clients": 3, "seed": 0}
    with pytest.raises(ScenarioError) as caught:
        partition(np.zeros(10, dtype=np.int64), **(settings | arguments))  # type: ignore[arg-type]
    return str(caught.value).splitlines()


@given(partitions())
def test_every_row_is_used_exactly_once(drawn: tuple[list[int], Partition, int | None]) -> None:
    """Public set and clients are disjoint and together hold all rows."""
    labels, parts, _ = drawn
    assert list(range(len(labels))) == sorted(used_rows(parts))


@given(partitions())
def test_client_sizes_differ_by_at_most_one(
    drawn: tuple[list[int], Partition, int | None],
) -> None:
    """Rows are spread evenly, the first clients have the extra ones and none is empty."""
    _, parts, _ = drawn
    sizes = [len(rows) for rows in parts.clients]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1
    assert sizes[-1] >= 1


@given(partitions(limited=True))
def test_limited_clients_have_exactly_their_samples(
    drawn: tuple[list[int], Partition, int | None],
) -> None:
    """A number of samples per client is met exactly, and no row is used twice."""
    _, parts, samples = drawn
    assert {samples} == {len(rows) for rows in parts.clients}
    assert len(set(used_rows(parts))) == len(used_rows(parts))


@pytest.mark.parametrize(("split", "alpha"), [("iid", None), ("dirichlet", 0.3)])
class TestBothSplits:
    """Laws that do not depend on the split."""

    labels = np.repeat(np.arange(10), 30)

    def test_the_same_seed_gives_the_same_partition(
        self, split: Split, alpha: float | None
    ) -> None:
        """A partition is a function of its arguments; another seed gives another one."""
        one, same, other = (
            partition(
                self.labels,
                num_public=50,
                num_clients=4,
                split=split,
                dirichlet_alpha=alpha,
                seed=seed,
            )
            for seed in (5, 5, 6)
        )
        assert as_lists(one) == as_lists(same)
        assert as_lists(one) != as_lists(other)

    def test_more_samples_only_add_rows(self, split: Split, alpha: float | None) -> None:
        """A client's first rows stay when it gets more of them."""
        few, many, all_rows = (
            partition(
                self.labels,
                num_public=50,
                num_clients=4,
                split=split,
                dirichlet_alpha=alpha,
                samples_per_client=samples,
                seed=0,
            )
            for samples in (5, 20, None)
        )
        for small, large, whole in zip(few.clients, many.clients, all_rows.clients, strict=True):
            assert small.tolist() == large[:5].tolist() == whole[:5].tolist()

    def test_the_public_set_does_not_depend_on_the_clients(
        self, split: Split, alpha: float | None
    ) -> None:
        """The public set is drawn first: neither the split nor the clients change it."""
        reference = partition(self.labels, num_public=50, num_clients=2, seed=0)
        parts = partition(
            self.labels, num_public=50, num_clients=7, split=split, dirichlet_alpha=alpha, seed=0
        )
        assert as_lists(reference)[0] == as_lists(parts)[0]


def test_a_larger_public_set_only_adds_rows() -> None:
    """Public sets of one seed are nested."""
    labels = np.zeros(100, dtype=np.int64)
    small = partition(labels, num_public=10, num_clients=2, seed=0)
    large = partition(labels, num_public=40, num_clients=2, seed=0)
    assert small.public is not None
    assert large.public is not None
    assert small.public.tolist() == large.public[:10].tolist()


def test_no_public_set_is_none() -> None:
    """Without public rows there is no public set, not an empty one."""
    assert partition([0, 1, 2], num_public=0, num_clients=1, seed=0).public is None


def test_the_article_has_5002_public_rows_and_1667_a_client() -> None:
    """The article's numbers: 10,003 = 5,002 + 3 * 1,667."""
    parts = article_partition(seed=0)
    assert parts.public is not None
    assert (len(parts.public), [len(rows) for rows in parts.clients]) == (5002, [1667] * 3)


def test_smaller_alpha_is_more_skewed() -> None:
    """Label skew falls as alpha grows, from nearly disjoint labels to that of the IID split."""
    labels = np.repeat(np.arange(10), 100)
    skews = [
        label_skew(
            labels,
            partition(
                labels,
                num_public=0,
                num_clients=5,
                split="dirichlet",
                dirichlet_alpha=alpha,
                seed=0,
            ),
        )
        for alpha in (1e-6, 0.3, 3.0, 1e6)
    ]
    iid = label_skew(labels, partition(labels, num_public=0, num_clients=5, seed=0))
    assert skews == sorted(skews, reverse=True)
    assert skews[0] > 0.6
    assert skews[-1] == pytest.approx(iid, abs=0.03)


def test_the_first_client_is_no_more_skewed_than_the_last() -> None:
    """Clients take turns: over many seeds their skews agree, whatever their number."""
    labels = np.repeat(np.arange(10), 30)
    overall = np.full(10, 0.1)
    distances = np.array(
        [
            [
                0.5 * np.abs(np.bincount(labels[rows], minlength=10) / len(rows) - overall).sum()
                for rows in partition(
                    labels,
                    num_public=0,
                    num_clients=5,
                    split="dirichlet",
                    dirichlet_alpha=0.3,
                    seed=seed,
                ).clients
            ]
            for seed in range(60)
        ]
    )
    assert distances.mean(axis=0) == pytest.approx(np.full(5, distances.mean()), rel=0.1)


class TestMistakes:
    """Every refused argument is named with what is allowed."""

    def test_a_public_set_larger_than_the_data_names_both_numbers(self) -> None:
        """The message has the number asked for and the number of rows."""
        assert mistakes_of(num_public=12) == [
            "partition: num_public = 12: the data set has only 10 rows, and each of 3 clients "
            "needs at least one of them"
        ]

    def test_more_clients_than_rows_names_both_numbers(self) -> None:
        """The message has the number of clients and the rows that are left for them."""
        assert mistakes_of(num_clients=7) == [
            "partition: num_clients = 7: each needs a row, but only 6 of 10 are left beside the "
            "public set of 4; lower num_clients or num_public"
        ]

    def test_too_many_samples_name_what_fits(self) -> None:
        """The message has the rows needed, the rows left and the largest number that fits."""
        assert mistakes_of(samples_per_client=3) == [
            "partition: samples_per_client = 3: 3 clients need 9 rows, but only 6 of 10 are left "
            "beside the public set of 4; allowed is 1 to 2"
        ]

    def test_numbers_below_their_least_are_reported_at_once(self) -> None:
        """Every number that is too small has its line."""
        assert mistakes_of(num_public=-1, num_clients=0, samples_per_client=0, seed=-1) == [
            "partition: num_clients = 0: at least 1 client is needed",
            "partition: num_public = -1: allowed is 0 (no public set) or more",
            "partition: samples_per_client = 0: at least 1 row a client is needed",
            "partition: seed = -1: allowed is 0 to 18446744073709551615",
        ]

    def test_an_unknown_split_is_answered_with_the_nearest(self) -> None:
        """A misspelled split lists the splits and suggests one."""
        assert mistakes_of(split="dirichelt", dirichlet_alpha=0.5) == [
            "partition: split = 'dirichelt': allowed are iid, dirichlet. Did you mean 'dirichlet'?"
        ]

    def test_an_alpha_without_effect_is_refused(self) -> None:
        """A number that nothing would read is an error, not silence."""
        assert mistakes_of(dirichlet_alpha=0.5) == [
            "partition: dirichlet_alpha = 0.5: has no effect with split = 'iid'; "
            "write split = 'dirichlet', or leave it out"
        ]

    def test_a_missing_alpha_is_not_guessed(self) -> None:
        """The Dirichlet split has no default concentration."""
        assert mistakes_of(split="dirichlet") == [
            "partition: split = 'dirichlet': dirichlet_alpha is missing; write for example 0.5"
        ]

    @pytest.mark.parametrize("alpha", [0.0, -1.0, 1e-9, float("inf"), float("nan")])
    def test_an_alpha_out_of_range_is_refused(self, alpha: float) -> None:
        """Concentrations are finite and at least 1e-6."""
        assert mistakes_of(split="dirichlet", dirichlet_alpha=alpha) == [
            f"partition: dirichlet_alpha = {alpha}: allowed is 1e-06 or more, and finite"
        ]
