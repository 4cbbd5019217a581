"""Laws of max-min fair sharing that the links of both engines obey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from oracle import Flow, flow_ends

Ends = list[tuple[float, float]]
LinkOf = Callable[[Sequence[Flow], float | None], Ends]

#: Beyond what any link here carries; not by so much that sums of rates lose digits.
FAST = 1000.0
thousandths = st.integers(0, 9999).map(lambda n: n / 1000)
moments = st.sampled_from([0.0, 0.5, 1.0, 1.25]) | thousandths
sizes = st.sampled_from([1.0, 4.0]) | st.integers(100, 20_000).map(lambda n: n / 1000)
rates = st.sampled_from([0.5, 1.0, 2.0]) | st.integers(50, 9_999).map(lambda n: n / 1000)
capacities = st.sampled_from([1.0, 2.5]) | st.integers(100, 20_000).map(lambda n: n / 1000)


@st.composite
def flows(draw: st.DrawFn, *, leaving: bool = False, changing: bool = False) -> list[Flow]:
    """A few flows with rates of their own."""
    found = []
    for _ in range(draw(st.integers(1, 9))):
        flow = Flow(draw(moments), draw(sizes), draw(rates))
        if leaving and draw(st.booleans()):
            flow = replace(flow, leave_by_s=flow.arrival_s + 0.001 + draw(thousandths))
        if changing and draw(st.booleans()):
            times = sorted(draw(st.sets(thousandths, min_size=1, max_size=3)))
            flow = replace(flow, changes=[(time, draw(rates)) for time in times])
        found.append(flow)
    return found


def ends_of(link: LinkOf, flows: Sequence[Flow], capacity: float | None) -> list[float]:
    return [end for end, _ in link(flows, capacity)]


def rates_between(
    link: LinkOf, flows: Sequence[Flow], capacity: float, start_s: float, stop_s: float
) -> dict[int, float]:
    """Mean rates of the flows that are on the link throughout, each taken out to see how far it is.

    What is taken out changes nothing before, so the others need not know.
    """
    found = {}
    for i, flow in enumerate(flows):
        rest = []
        for moment in (start_s, stop_s):
            changed = [*flows]
            changed[i] = replace(flow, leave_by_s=moment)
            end, unsent = (
                link(changed, capacity)[i] if flow.arrival_s < moment else (inf, flow.num_bytes)
            )
            rest.append(unsent if end >= moment else 0.0)
        if rest[0] > rest[1]:
            found[i] = (rest[0] - rest[1]) / (stop_s - start_s)
    return found


def is_max_min_fair(
    found: dict[int, float], flows: Sequence[Flow], capacity: float, tolerance: float = 1e-6
) -> bool:
    """Whether every flow has a bottleneck: its own rate, or a full link on which none is faster.

    That nobody can gain without hurting somebody who has no more is the same thing (Bertsekas and
    Gallager, Data Networks, section 6.5.2).
    """
    total = sum(found.values())
    if total > capacity * (1 + tolerance):
        return False
    is_full = total >= capacity * (1 - tolerance)
    fastest = max(found.values(), default=0.0)
    return all(
        abs(rate - flows[i].bytes_per_s) <= tolerance * rate
        or (is_full and rate >= fastest * (1 - tolerance) and rate <= flows[i].bytes_per_s)
        for i, rate in found.items()
    )


def longest_stretch(link: LinkOf, flows: Sequence[Flow], capacity: float) -> tuple[float, float]:
    """The longest time in which nobody comes or goes, without its very ends."""
    moments = sorted({f.arrival_s for f in flows} | set(ends_of(link, flows, capacity)))
    start, stop = max(pairwise(moments), key=lambda pair: pair[1] - pair[0])
    return start + 0.25 * (stop - start), stop - 0.25 * (stop - start)


@given(flows(), capacities)
def test_every_flow_has_a_bottleneck(link: LinkOf, some: list[Flow], capacity: float) -> None:
    """And no capacity is left where a flow could use it: the link conserves work."""
    start, stop = longest_stretch(link, some, capacity)
    assume(stop - start > 0.01)
    found = rates_between(link, some, capacity, start, stop)

    assert is_max_min_fair(found, some, capacity)
    limits = sum(some[i].bytes_per_s for i in found)
    assert sum(found.values()) == pytest.approx(min(capacity, limits), rel=1e-6)


def equal_split(flows: Sequence[Flow], capacity: float | None) -> Ends:
    """A wrong link: everybody who is there has one share, whether it can use it or not."""
    assert capacity is not None
    now, found = 0.0, dict[int, tuple[float, float]]()
    rest = [flow.num_bytes for flow in flows]
    while len(found) < len(flows):
        open_ = [i for i in range(len(flows)) if i not in found]
        here = [i for i in open_ if flows[i].arrival_s <= now]
        rate = {i: min(flows[i].bytes_per_s, capacity / len(here)) for i in here}
        ends = {i: min(now + rest[i] / rate[i], flows[i].leave_by_s) for i in here}
        then = min([*ends.values(), *(flows[i].arrival_s for i in open_ if i not in rate)])
        for i in here:
            rest[i] -= rate[i] * (then - now)
            if ends[i] <= then:
                found[i] = then, max(rest[i], 0.0)
        now = then
    return [found[i] for i in range(len(flows))]


def test_shares_that_nobody_uses_are_refused() -> None:
    """Negative control: equal shares waste what the slow flow leaves; so says each check."""
    some = [Flow(0.0, 8.0, 1.0), Flow(0.0, 8.0, 9.0)]
    found = rates_between(equal_split, some, 6.0, 0.5, 1.0)

    assert found == pytest.approx({0: 1.0, 1: 3.0})
    assert not is_max_min_fair(found, some, 6.0)
    assert [end for end, _ in equal_split(some, 6.0)] == [8.0, 8.0 / 3.0]
    with pytest.raises(AssertionError):
        assert_equal_to_oracle(equal_split, some, 6.0)


def test_a_link_that_is_one_per_cent_slower_is_refused(link: LinkOf) -> None:
    """Negative control: a full link that carries 1 % less is not full."""
    some = [Flow(0.0, 8.0, FAST), Flow(0.0, 8.0, FAST)]
    found = rates_between(lambda f, c: link(f, 0.99 * (c or inf)), some, 2.0, 1.0, 2.0)

    assert not is_max_min_fair(found, some, 2.0)


@given(st.integers(1, 50), sizes, capacities)
def test_equal_flows_take_as_long_as_their_bytes_together(
    link: LinkOf, num: int, size: float, capacity: float
) -> None:
    """``n s / C``, all at once."""
    found = ends_of(link, [Flow(0.0, size, FAST)] * num, capacity)

    assert found == pytest.approx([num * size / capacity] * num, rel=1e-12)


@given(st.lists(sizes, min_size=1, max_size=30), capacities)
def test_flows_that_start_together_end_by_size(
    link: LinkOf, some: list[float], capacity: float
) -> None:
    """The k-th smallest ends when the smaller ones and ``n - k`` times its own size are sent."""
    found = ends_of(link, [Flow(0.0, size, FAST) for size in some], capacity)

    order = np.sort(some)
    behind = np.arange(len(some) - 1, -1, -1)
    expected = (np.cumsum(order) + behind * order) / capacity
    assert sorted(found) == pytest.approx(expected.tolist(), rel=1e-12)
    assert np.argsort(found, kind="stable").tolist() == np.argsort(some, kind="stable").tolist()


def test_two_staggered_flows_share_while_both_are_there(link: LinkOf) -> None:
    """10 B/s; A (100 B) has sent 50 B when B (100 B) comes at 5 s. A ends at 15 s, B at 20 s."""
    found = ends_of(link, [Flow(0.0, 100.0, FAST), Flow(5.0, 100.0, FAST)], 10.0)

    assert found == pytest.approx([15.0, 20.0], rel=1e-12)


def test_ends_have_their_kink_where_the_share_meets_the_flows_own_rate(link: LinkOf) -> None:
    """Two flows of 12 B on 6 B/s, one limited to r: it ends at 12 / r below r = 3, at 4 s above.

    The other has 6 - r: it ends at 12 / (6 - r), and together they take 4 s from r = 3 on.
    """
    for rate in (0.5, 1.0, 2.0, 2.999, 3.0, 3.001, 4.0, 100.0):
        own = min(rate, 3.0)
        found = ends_of(link, [Flow(0.0, 12.0, rate), Flow(0.0, 12.0, FAST)], 6.0)
        assert found == pytest.approx([12 / own, 12 / (6 - own)], rel=1e-12)


def test_a_flow_returns_to_its_own_rate_when_there_is_room_again(link: LinkOf) -> None:
    """Rates 2, 9 and 9 on 3 B/s: 1 each until the two of 2 B end at 2 s; 10 B end at 2 + 8 / 2."""
    some = [Flow(0.0, 10.0, 2.0), Flow(0.0, 2.0, 9.0), Flow(0.0, 2.0, 9.0)]

    assert ends_of(link, some, 3.0) == pytest.approx([6.0, 2.0, 2.0], rel=1e-12)


@given(flows())
def test_without_a_limit_nobody_knows_of_anybody(link: LinkOf, some: list[Flow]) -> None:
    """Everybody runs at its own rate."""
    expected = [flow.arrival_s + flow.num_bytes / flow.bytes_per_s for flow in some]

    assert ends_of(link, some, None) == pytest.approx(expected, rel=1e-12)


@given(flows(), capacities, st.data())
def test_one_flow_more_never_helps_anybody(
    link: LinkOf, some: list[Flow], capacity: float, data: st.DataObject
) -> None:
    """All others end no earlier."""
    more = Flow(data.draw(moments), data.draw(sizes), data.draw(rates))
    before, after = ends_of(link, some, capacity), ends_of(link, [*some, more], capacity)

    assert all(a >= b - 2e-9 for b, a in zip(before, after, strict=False))


@given(flows(leaving=True), capacities)
def test_bytes_are_neither_lost_nor_made(link: LinkOf, some: list[Flow], capacity: float) -> None:
    """What was sent took its time, alone at its own rate at the least, together at the link's."""
    found = link(some, capacity)
    sent = [f.num_bytes - unsent for f, (_, unsent) in zip(some, found, strict=True)]

    for flow, (end, _), own in zip(some, found, sent, strict=True):
        assert 0 <= own <= flow.bytes_per_s * (end - flow.arrival_s) * (1 + 1e-9) + 1e-7
    busy_s = max(end for end, _ in found) - min(flow.arrival_s for flow in some)
    assert sum(sent) <= capacity * busy_s * (1 + 1e-9) + 1e-7


def assert_equal_to_oracle(link: LinkOf, some: list[Flow], capacity: float | None) -> None:
    """Ends and unsent bytes, but for flows that end as they leave, which may count as either."""
    for flow, one, true in zip(some, link(some, capacity), flow_ends(some, capacity), strict=True):
        assert one[0] == pytest.approx(true[0], rel=1e-10, abs=1e-8)
        if abs(true[0] - flow.leave_by_s) > 2e-9 or true[1] > 1e-6:
            assert one[1] == pytest.approx(true[1], rel=1e-8, abs=1e-6)


@given(flows(leaving=True), capacities | st.none())
def test_flows_end_when_exact_water_filling_says(
    link: LinkOf, some: list[Flow], capacity: float | None
) -> None:
    """Any rates, sizes and arrivals; some are taken out on their way."""
    assert_equal_to_oracle(link, some, capacity)


@given(flows(leaving=True, changing=True), capacities | st.none())
def test_flows_whose_rates_change_end_when_exact_water_filling_says(
    moving_link: LinkOf, some: list[Flow], capacity: float | None
) -> None:
    """The same where flows' own limits change before, during and behind them."""
    assert_equal_to_oracle(moving_link, some, capacity)
