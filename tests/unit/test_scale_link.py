"""The link kernel against water filling from scratch, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.scale.link.rank_set import add, empty_set, largest, least, level_starts, remove
from fedsim.scale.straight.link import FlowSet
from fedsim.scale.straight.time_order import time_order
from laws.scale_parts import link_departures


def filled(
    arrival: list[float],
    size: list[float],
    rate: list[float],
    capacity: float,
    leave_by: list[float],
) -> tuple[list[float], list[float]]:
    """Departures and unsent bytes: all rates anew at every event."""
    num, now, come = len(arrival), 0.0, 0
    rest, active = list(size), set[int]()
    departure, unsent = [np.inf] * num, [0.0] * num
    order = sorted(range(num), key=lambda i: arrival[i])
    while come < num or active:
        rates, left = {}, capacity
        for place, i in enumerate(sorted(active, key=lambda i: rate[i])):
            rates[i] = min(rate[i], left / (len(active) - place))
            left -= rates[i]
        ends = {i: now + rest[i] / rates[i] for i in active}
        end = min(ends.values(), default=np.inf)
        leave = min((leave_by[i] for i in active), default=np.inf)
        start = arrival[order[come]] if come < num else np.inf
        moment = min(end, leave, start)
        for i in active:
            rest[i] -= rates[i] * (moment - now)
        now = moment
        if end <= min(leave, start):
            done = min(ends, key=lambda i: ends[i])
            departure[done] = now
            active.remove(done)
        elif leave < start:
            gone = min(active, key=lambda i: leave_by[i])
            departure[gone], unsent[gone] = now, rest[gone]
            active.remove(gone)
        else:
            new = order[come]
            come += 1
            if leave_by[new] <= now:
                departure[new], unsent[new] = now, size[new]
            elif size[new] == 0:
                departure[new] = now
            else:
                active.add(new)
    return departure, unsent


flows = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 1.0, 1.25]) | st.floats(0, 20),
        st.sampled_from([0.0, 1.0, 4.0]) | st.floats(0.1, 30),
        st.sampled_from([0.5, 1.0, 2.0]) | st.floats(0.05, 50),
        st.just(np.inf) | st.floats(0.01, 30),
    ),
    min_size=1,
    max_size=40,
)


@given(flows, st.floats(0.1, 30))
def test_every_flow_ends_when_water_filling_says(
    drawn: list[tuple[float, float, float, float]], capacity: float
) -> None:
    """Any rates, sizes, arrivals and departures ahead of time."""
    arrival, size, rate, stay = (list(column) for column in zip(*drawn, strict=True))
    leave = [a + s for a, s in zip(arrival, stay, strict=True)]

    found, unsent = link_departures(
        np.array(arrival), np.array(size), np.array(rate), capacity, np.array(leave)
    )

    expected, rest = filled(arrival, size, rate, capacity, leave)
    # A flow that ends within a nanosecond of leaving may count as either.
    clear = [abs(d - by) > 2e-9 or u > 0 for d, by, u in zip(expected, leave, rest, strict=True)]
    assert found[clear] == pytest.approx(np.array(expected)[clear], rel=1e-10, abs=1e-9)
    assert unsent[clear] == pytest.approx(np.array(rest)[clear], rel=1e-8, abs=1e-7)


def test_two_staggered_flows_share_by_halves() -> None:
    """8 B at 4 B/s from 0 s and 4 B from 1 s: 4 B, then 2 B/s each until 3 s; both end there."""
    found, _ = link_departures(np.array([0.0, 1.0]), np.array([8.0, 4.0]), np.full(2, 9.0), 4.0)

    assert found.tolist() == [3.0, 3.0]


def test_a_slow_flow_leaves_the_rest_to_the_others() -> None:
    """Rates 1, 9, 9 on 5 B/s: 1 + 2 + 2. 4 B: at 2 s the fast end; the slow one at 4 s."""
    found, _ = link_departures(np.zeros(3), np.full(3, 4.0), np.array([1.0, 9.0, 9.0]), 5.0)

    assert found.tolist() == [4.0, 2.0, 2.0]


def test_a_flow_that_is_taken_out_makes_room() -> None:
    """Two flows of 10 B on 2 B/s; one leaves at 4 s with 6 B unsent, the other ends at 7 s."""
    found, unsent = link_departures(
        np.zeros(2), np.full(2, 10.0), np.full(2, 9.0), 2.0, np.array([4.0, np.inf])
    )

    assert found.tolist() == [4.0, 7.0]
    assert unsent.tolist() == [6.0, 0.0]


def test_a_link_that_fits_all_needs_no_sharing() -> None:
    """Sparse arrivals whose rates never add up to the capacity run at their own rates."""
    arrival = np.arange(50) * 10.0
    found, _ = link_departures(arrival, np.full(50, 8.0), np.full(50, 2.0), 5.0)

    assert found.tolist() == (arrival + 4.0).tolist()


def test_bytes_are_conserved_on_a_busy_link() -> None:
    """50,000 equal flows of unequal rates: nothing ends ahead of what the capacity allows."""
    rng = np.random.default_rng(3)
    num = 50_000
    flows = FlowSet(np.full(num, 1e6), rng.lognormal(13, 1, num), 1e8)

    found, unsent = flows.departures(rng.uniform(0, 1, num))

    assert not unsent.any()
    # Nothing can be faster than the capacity, and at the median 500 s it was never idle.
    assert np.sort(found)[num // 2] >= num // 2 * 1e6 / 1e8
    assert found.max() >= num * 1e6 / 1e8


@given(st.lists(st.integers(0, 299_999), max_size=60), st.lists(st.integers(0, 299_999)))
def test_a_rank_set_is_a_set(members: list[int], others: list[int]) -> None:
    """Least and largest after additions and removals."""
    starts = level_starts(300_000)
    words, expected = empty_set(starts), set[int]()
    for member in members:
        add(words, starts, member)
        expected.add(member)
    for member in others[:20] + members[::3]:
        remove(words, starts, member)
        expected.discard(member)

    assert least(words, starts) == min(expected, default=-1)
    assert largest(words, starts) == max(expected, default=-1)


@pytest.mark.parametrize("digits", [0, 2, 17])
@pytest.mark.parametrize("outlier", [1.0, 1e12])
def test_times_are_sorted_stably(digits: int, outlier: float) -> None:
    """With ties, without, and crowded into a corner by an outlier."""
    times = np.round(np.random.default_rng(5).lognormal(3, 1, 30_000), digits)
    times[7] *= outlier

    assert (time_order(times) == np.argsort(times, kind="stable")).all()
