"""The server's accelerators by hand: queues, batches, sharing, and requests taken back."""

import pytest

from fedsim.des.accelerators import Accelerators, Queue, Request, Sharing
from fedsim.des.agenda import SERVER, Agenda


class Bench:
    """Requests that come at given times."""

    def __init__(self, agenda: Agenda, accelerators: Accelerators) -> None:
        self.agenda = agenda
        self.accelerators = accelerators
        self.requests: dict[int, Request] = {}
        self.ends: dict[int, float] = {}

    def ask(self, client: int, at_s: float, own_s: float, shared_s: float = 0.0) -> None:
        def start(_: object) -> None:
            request = self.accelerators.request(client, own_s, shared_s)
            self.requests[client] = request
            request.done.callbacks.append(lambda _: self.ends.update({client: self.agenda.now}))

        self.agenda.call_at(at_s, client, start)

    def cancel(self, client: int, at_s: float) -> None:
        self.agenda.call_at(at_s, SERVER, lambda _: self.accelerators.cancel(self.requests[client]))

    def run(self) -> dict[int, float]:
        self.agenda.run()
        return self.ends


def queue(num: int, max_batch: int = 1) -> Bench:
    """First come, first served."""
    agenda = Agenda(100)
    return Bench(agenda, Queue(agenda, num, max_batch))


def sharing(num: int) -> Bench:
    """Processor sharing."""
    agenda = Agenda(100)
    return Bench(agenda, Sharing(agenda, num))


def test_requests_of_one_nanosecond_are_served_by_client_index() -> None:
    """Clients 2, 0 and 1 ask within half a nanosecond: 0, 1 and 2 are served, 1 s each."""
    bench = queue(1)
    bench.ask(2, 1.0, 1.0)
    bench.ask(0, 1.0 + 4e-10, 1.0)
    bench.ask(1, 1.0, 1.0)
    assert bench.run() == pytest.approx({0: 2.0, 1: 3.0, 2: 4.0}, abs=1e-9)
    assert list(bench.ends) == [0, 1, 2]


def test_two_accelerators_serve_two_requests_at_once() -> None:
    """Of 3 s, 1 s and 1 s that come together, the third waits for the second: 3, 1 and 2."""
    bench = queue(2)
    bench.ask(0, 0.0, 3.0)
    bench.ask(1, 0.0, 1.0)
    bench.ask(2, 0.0, 1.0)
    assert bench.run() == pytest.approx({1: 1.0, 2: 2.0, 0: 3.0}, rel=1e-12)
    assert bench.accelerators.busy_s() == pytest.approx(5.0, rel=1e-12)


def test_a_batch_pays_the_largest_common_part_once() -> None:
    """Own part 1 s, common part 2 s: 0 starts alone and takes 3; 1 and 2 take 1 + 1 + 2 = 4.

    They end at 7, and 3 is alone again: 7 + 3 = 10.
    """
    bench = queue(1, max_batch=2)
    for client in range(4):
        bench.ask(client, 0.0, 1.0, 2.0)
    assert bench.run() == pytest.approx({0: 3.0, 1: 7.0, 2: 7.0, 3: 10.0}, rel=1e-12)
    assert bench.requests[1].served_s == pytest.approx(4.0, rel=1e-12)


def test_a_request_that_is_dropped_frees_its_accelerator_but_a_batch_goes_on() -> None:
    """0 is dropped at 1 of its 3 s, so 1 and 2 run from 1 to 5, with 1 dropped at 2; 3 ends at 8.

    The accelerator worked from 0 to 8.
    """
    bench = queue(1, max_batch=2)
    for client in range(4):
        bench.ask(client, 0.0, 1.0, 2.0)
    bench.cancel(0, 1.0)
    bench.cancel(1, 2.0)
    assert bench.run() == pytest.approx({2: 5.0, 3: 8.0}, rel=1e-12)
    assert bench.requests[0].served_s == pytest.approx(1.0, rel=1e-12)
    assert bench.accelerators.busy_s() == pytest.approx(8.0, rel=1e-12)


def test_a_request_that_leaves_the_queue_is_not_served() -> None:
    """1 is taken back while it waits for 0, so that 2 follows 0 at once."""
    bench = queue(1)
    for client in range(3):
        bench.ask(client, 0.0, 1.0)
    bench.cancel(1, 0.5)
    assert bench.run() == pytest.approx({0: 1.0, 2: 2.0}, rel=1e-12)
    assert bench.requests[1].served_s == 0.0


def test_shared_accelerators_slow_everybody_down_alike() -> None:
    """On one, A (2 s) has 1 s to go when B (0.5 s) comes at 1; at half speed B ends at 2.

    A lacks 0.5 s then and ends at 2.5. A was served for 2 s of its 2.5 s.
    """
    bench = sharing(1)
    bench.ask(0, 0.0, 2.0)
    bench.ask(1, 1.0, 0.5)
    assert bench.run() == pytest.approx({1: 2.0, 0: 2.5}, rel=1e-12)
    assert bench.requests[0].served_s == pytest.approx(2.0, rel=1e-12)
    assert bench.accelerators.busy_s() == pytest.approx(2.5, rel=1e-12)


def test_nobody_gets_more_than_one_shared_accelerator() -> None:
    """Three requests of 2 s on two: at 2/3 each they take 3 s; one of 2 s alone takes 2 s."""
    bench = sharing(2)
    for client in range(3):
        bench.ask(client, 0.0, 1.5, 0.5)
    bench.ask(3, 10.0, 2.0)
    assert bench.run() == pytest.approx({0: 3.0, 1: 3.0, 2: 3.0, 3: 12.0}, rel=1e-12)


def test_a_shared_request_that_is_taken_back_was_served_for_its_part() -> None:
    """Two of 4 s on one; B leaves at 2 with 1 s served, and A ends at 2 + 3 = 5."""
    bench = sharing(1)
    bench.ask(0, 0.0, 4.0)
    bench.ask(1, 0.0, 4.0)
    bench.cancel(1, 2.0)
    assert bench.run() == pytest.approx({0: 5.0}, rel=1e-12)
    assert bench.requests[1].served_s == pytest.approx(1.0, rel=1e-12)
