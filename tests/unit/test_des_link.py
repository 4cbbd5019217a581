"""A shared link by hand, and against rates that are worked out anew at every event."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.des.agenda import SERVER, Agenda
from fedsim.des.link import Flow, SharedLink

FAST = 1000.0


class Bench:
    """Flows that join a link at given times."""

    def __init__(self, capacity: float | None) -> None:
        self.agenda = Agenda(100)
        self.link = SharedLink(self.agenda, capacity)
        self.flows: dict[int, Flow] = {}
        self.ends: dict[int, float] = {}

    def join(self, client: int, at_s: float, num_bytes: float, rate: float = FAST) -> None:
        def start(_: object) -> None:
            flow = self.flows[client] = self.link.join(client, num_bytes, rate)
            flow.done.callbacks.append(lambda _: self.ends.update({client: self.agenda.now}))

        self.agenda.call_at(at_s, client, start)

    def run(self) -> dict[int, float]:
        self.agenda.run()
        return self.ends


def test_two_staggered_flows_share_while_both_are_there() -> None:
    """At 10 B/s, A has sent 50 of 100 B when B joins; both then run at 5 B/s.

    A ends at 5 + 50 / 5 = 15; B has sent 50 B by then and ends at 15 + 50 / 10 = 20.
    """
    bench = Bench(10.0)
    bench.join(0, 0.0, 100.0)
    bench.join(1, 5.0, 100.0)
    assert bench.run() == pytest.approx({0: 15.0, 1: 20.0}, rel=1e-12)


def test_a_flow_at_its_own_rate_leaves_the_rest_to_the_others() -> None:
    """A is capped at 4 of 10 B/s; B gets 6, then shares with C, and A gets its cap back.

    From 0: A 4, B 6. From 1: all 10/3; A lacks 30 of 34 B, B 14 of 20, C 20. B ends at
    1 + 14 * 0.3 = 5.2. A lacks 16, C lacks 6; A runs at 4 again and C at 6. C ends at 6.2, A at
    5.2 + 4 = 9.2.
    """
    bench = Bench(10.0)
    bench.join(0, 0.0, 34.0, 4.0)
    bench.join(1, 0.0, 20.0)
    bench.join(2, 1.0, 20.0)
    assert bench.run() == pytest.approx({1: 5.2, 2: 6.2, 0: 9.2}, rel=1e-12)


def test_a_cancelled_flow_says_what_it_lacked_and_frees_its_share() -> None:
    """Two flows of 100 B at 5 B/s each; A is taken out at 4 with 80 B to go; B ends at 12."""
    bench = Bench(10.0)
    bench.join(0, 0.0, 100.0)
    bench.join(1, 0.0, 100.0)
    unsent = []
    bench.agenda.call_at(4.0, SERVER, lambda _: unsent.append(bench.link.cancel(bench.flows[0])))
    assert bench.run() == pytest.approx({1: 12.0}, rel=1e-12)
    assert unsent == pytest.approx([80.0], rel=1e-12)
    assert not bench.flows[0].is_done


def test_a_rate_may_change_in_mid_flow() -> None:
    """100 B at 10 B/s, from second 5 on at 5 B/s: 5 + 50 / 5 = 15."""
    bench = Bench(None)
    bench.join(0, 0.0, 100.0, 10.0)
    bench.agenda.call_at(5.0, SERVER, lambda _: bench.link.set_rates([(bench.flows[0], 5.0)]))
    assert bench.run() == pytest.approx({0: 15.0}, rel=1e-12)


def test_equal_flows_that_start_together_end_together_in_order_of_the_client() -> None:
    """Five flows of 20 B at 10 B/s all end at 10, and clients hear of it by index."""
    bench = Bench(10.0)
    for client in (3, 1, 4, 0, 2):
        bench.join(client, 0.0, 20.0)
    ends = bench.run()
    assert list(ends) == [0, 1, 2, 3, 4]
    assert list(ends.values()) == pytest.approx([10.0] * 5, rel=1e-12)


def _rates(own: dict[int, float], capacity: float) -> dict[int, float]:
    """Max-min fair rates by progressive filling."""
    rates: dict[int, float] = {}
    left = capacity
    for number, client in enumerate(sorted(own, key=own.__getitem__)):
        rates[client] = min(own[client], left / (len(own) - number))
        left -= rates[client]
    return rates


def _oracle(
    flows: list[tuple[float, float, float]], capacity: float, cuts: dict[int, float]
) -> tuple[dict[int, float], dict[int, float]]:
    """Ends and unsent bytes, all rates worked out anew at every event."""
    now, remaining, waiting = 0.0, {}, dict(enumerate(flows))
    ends, unsent = {}, {}
    while waiting or remaining:
        rates = _rates({c: flows[c][2] for c in remaining}, capacity)
        end, client = min(
            ((now + remaining[c] / rates[c], c) for c in remaining), default=(inf, -1)
        )
        come = min((flow[0] for flow in waiting.values()), default=inf)
        cut = min((cuts[c] for c in remaining if c in cuts), default=inf)
        then = min(end, come, cut)
        for c in remaining:
            remaining[c] -= rates[c] * (then - now)
        now = then
        if end <= then + 1e-9:
            ends[client] = end
            del remaining[client]
            continue
        for c in [c for c in remaining if cuts.get(c, inf) <= then]:
            unsent[c] = remaining.pop(c)
        for c in [c for c, flow in waiting.items() if flow[0] <= then]:
            remaining[c] = waiting.pop(c)[1]
    return ends, unsent


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40).map(lambda n: n / 4),
            st.integers(1, 400).map(float),
            st.sampled_from([1.0, 2.0, 3.0, 7.0, 50.0]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([1.5, 4.0, 10.0, 1e9]),
    st.dictionaries(st.integers(0, 11), st.integers(0, 60).map(lambda n: n / 3 + 0.1), max_size=4),
)
def test_virtual_time_gives_the_same_ends_as_progressive_filling(
    flows: list[tuple[float, float, float]], capacity: float, cuts: dict[int, float]
) -> None:
    """Ends and unsent bytes equal those of rates that are recomputed at every event."""
    cuts = {c: t for c, t in cuts.items() if c < len(flows) and t > flows[c][0]}
    bench = Bench(capacity)
    unsent: dict[int, float] = {}

    def cut(client: int) -> None:
        flow = bench.flows[client]
        if not flow.is_done:
            unsent[client] = bench.link.cancel(flow)

    for client, (at_s, num_bytes, rate) in enumerate(flows):
        bench.join(client, at_s, num_bytes, rate)
    for client, at_s in cuts.items():
        bench.agenda.call_at(at_s, 99, lambda _, c=client: cut(c))
    ends = bench.run()
    expected_ends, expected_unsent = _oracle(flows, capacity, cuts)
    assert ends == pytest.approx(expected_ends, rel=1e-9)
    assert unsent == pytest.approx(expected_unsent, rel=1e-9, abs=1e-6)
