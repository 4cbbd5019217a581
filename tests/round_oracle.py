"""Whole synchronous rounds by brute force: the next event is looked for among everybody's.

Written apart from both engines, from the rules in ``docs/simulation.md`` alone, and in exact
fractions; see ``oracle``. Left out: turns, availability, rate traces, slow start, spreads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor, inf

from oracle import fair_rates, nanosecond

__all__ = ["BEHIND", "Answer", "Toy", "ToyClient", "ToyServer", "simulated"]

#: Place of the segment behind the gathering and the server's work.
BEHIND = 3
_RESOURCES = {"up": 0, "down": 1, "ask": 2}
_SEGMENT_BYTES = 1448


@dataclass(frozen=True)
class ToyClient:
    """One client; times at both ends of a message are alike for all messages.

    Attributes
    ----------
    work_s, packing_s : float
        A call, and writing or reading a message.
    up_bytes_per_s, down_bytes_per_s : float
    startup_s, half_trip_s : float
        Ahead of a flow and behind it.
    failures : mapping
        Share of its work, measured by the time alone, at which it fails, by round and attempt.
    """

    work_s: float
    packing_s: float
    up_bytes_per_s: float
    down_bytes_per_s: float
    startup_s: float
    half_trip_s: float
    failures: Mapping[tuple[int, int], float] = field(default_factory=dict)


@dataclass(frozen=True)
class ToyServer:
    """The server; ``is_sharing`` means that requests share the accelerators."""

    own_s: float
    shared_s: float
    packing_s: float
    up_bytes_per_s: float | None
    down_bytes_per_s: float | None
    num_accelerators: int
    max_batch: int
    is_sharing: bool


@dataclass(frozen=True)
class Toy:
    """Synchronous rounds of everybody: ``steps``, a gathering, one call, and ``behind``.

    A step is ``"work"``, ``"ask"``, ``"up"`` or ``"down"``; all messages are of one size.
    ``failure_timeout_s`` is None where a failure is noticed when the work alone would have ended.
    """

    clients: Sequence[ToyClient]
    server: ToyServer
    steps: Sequence[str]
    message_bytes: int
    wire_bytes: float
    behind: Sequence[str] = ()
    num_rounds: int = 1
    quorum: int | None = None
    deadline_s: float | None = None
    retries: int = 0
    retry_after_s: float = 0.0
    failure_timeout_s: float | None = None


@dataclass
class Answer:
    """What happened.

    Attributes
    ----------
    rounds : list of tuple
        Start, close, end, and how many were used, late and lost.
    visits : list of tuple
        Round, client, segment, attempt, visit, resource; join and leave.
    counts : dict
        Executions and message bytes by step and outcome.
    busy_s : float
    margin_ns : float
        How near to a boundary between two nanoseconds a moment came: below rounding errors, what
        is simultaneous is anybody's guess.
    """

    rounds: list[tuple[float, float, float, int, int, int]] = field(default_factory=list)
    visits: list[tuple[tuple[int, ...], float, float]] = field(default_factory=list)
    counts: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    busy_s: Fraction = Fraction(0)
    margin_ns: float = 0.5


#: What it is ("wait", or a resource), how much of it, and the step that it belongs to.
_Stage = tuple[str, Fraction, str]


class _Way:
    """A client's way through a segment, attempt after attempt."""

    def __init__(self, stages: list[_Stage], start: Fraction) -> None:
        self.stages = stages
        self.attempt = self.at = self.num_visits = 0
        self.state, self.outcome = "asleep", ""
        #: When it goes on by itself or is told that it may, or is known to be gone.
        self.wakes: Fraction | None = start
        #: Stage and share of it at which it fails.
        self.fails: tuple[int, Fraction] | None = None
        self.began = start
        self.joined = Fraction(0)
        self.did: list[tuple[str, int, int]] = []


@dataclass
class _Service:
    start: Fraction
    end: Fraction
    members: set[int]


class _Segment:
    """All clients on their way; at every event one looks at everybody."""

    def __init__(
        self, toy: Toy, answer: Answer, members: list[int], place: tuple[int, int], start: Fraction
    ) -> None:
        self.toy, self.answer, self.place = toy, answer, place
        self.clock = self.closed = start
        steps = toy.behind if place[1] else toy.steps
        self.ways = {c: _Way(_stages(toy, toy.clients[c], steps), start) for c in members}
        #: Resource, bytes or seconds to go, and own limit.
        self.flows: dict[int, tuple[int, Fraction, Fraction]] = {}
        self.waiting: set[tuple[int, int]] = set()
        self.services: list[_Service] = []

    def run(self, awaited: int, deadline: Fraction | None) -> None:
        """Handle whatever is first by nanosecond and rank until the server goes on."""
        while len(self.those("used")) < awaited and self._pending():
            _, _, time, what, which = min(self._events(deadline))
            margin = abs(float(time * 10**9 % 1) - 0.5)
            self.answer.margin_ns = min(self.answer.margin_ns, margin)
            self._flow_until(time)
            self.closed = time
            if what == "deadline":
                break
            if what == "through":
                del self.flows[which]
                self._tell(which, time)
            elif what == "served":
                for c in sorted(self.services[which].members):
                    self._tell(c, time)
                self._release(self.services[which], time)
            elif what == "fails":
                self._fail(which, time)
            elif self.ways[which].state == "gone":
                self.ways[which].state, self.ways[which].wakes = "noticed", None
            else:
                self._go_on(which, time)
        for c in self.those(""):
            self._stop(c, self.closed, "late")

    def _pending(self) -> bool:
        """Whether anybody is at work, for all that the server knows."""
        return bool(self.those("")) or any(w.state == "gone" for w in self.ways.values())

    def those(self, outcome: str) -> list[int]:
        """Clients with an outcome; an empty one where nothing is decided."""
        return [c for c, way in self.ways.items() if way.outcome == outcome]

    def _events(self, deadline: Fraction | None) -> list[tuple[int, float, Fraction, str, int]]:
        rates = self._rates()
        found: list[tuple[Fraction, float, str, int]] = []
        found += [(self.clock + f[1] / rates[c], -1, "through", c) for c, f in self.flows.items()]
        found += [(s.end, -1, "served", number) for number, s in enumerate(self.services)]
        for c, way in self.ways.items():
            if way.wakes is not None:
                found.append((way.wakes, c, "wakes", c))
            if way.fails is not None and way.fails[0] == way.at:
                moment = self._failure(c, way.fails[1], rates)
                found += [] if moment is None else [(moment, c + 0.5, "fails", c)]
        if deadline is not None:
            found.append((deadline, inf, "deadline", -1))
        return [(nanosecond(t), rank, t, what, c) for t, rank, what, c in found]

    def _rates(self) -> dict[int, Fraction]:
        server, rates = self.toy.server, dict[int, Fraction]()
        capacities = (server.up_bytes_per_s, server.down_bytes_per_s, server.num_accelerators)
        for resource, capacity in enumerate(capacities):
            limits = {c: flow[2] for c, flow in self.flows.items() if flow[0] == resource}
            rates |= fair_rates(limits, None if capacity is None else Fraction(capacity))
        return rates

    def _flow_until(self, time: Fraction) -> None:
        for c, rate in self._rates().items():
            resource, rest, limit = self.flows[c]
            sent = min(rate * max(time - self.clock, Fraction(0)), rest)
            self.flows[c] = resource, rest - sent, limit
            self.answer.busy_s += sent if resource == _RESOURCES["ask"] else 0
        self.clock = max(self.clock, time)

    def _failure(self, c: int, share: Fraction, rates: dict[int, Fraction]) -> Fraction | None:
        """When a client has done a share of the stage in hand, as things stand."""
        way = self.ways[c]
        if way.state == "waiting":
            assert way.wakes is not None
            return way.wakes - (1 - share) * way.stages[way.at][1]
        if c in self.flows:
            left = self.flows[c][1] - (1 - share) * way.stages[way.at][1]
            return self.clock + left / rates[c]
        for service in self.services:
            if c in service.members:
                return service.start + share * (service.end - service.start)
        return None

    def _alone(self, c: int) -> list[Fraction]:
        """What each stage takes a client with nobody else there."""
        server, client = self.toy.server, self.toy.clients[c]
        rates = {
            "up": min(client.up_bytes_per_s, server.up_bytes_per_s or inf),
            "down": min(client.down_bytes_per_s, server.down_bytes_per_s or inf),
        }
        return [n / Fraction(rates.get(what, 1)) for what, n, _ in self.ways[c].stages]

    def _weakness(self, c: int) -> tuple[int, Fraction] | None:
        """Stage, and share of it, at which a client's attempt fails."""
        way = self.ways[c]
        share = self.toy.clients[c].failures.get((self.place[0], way.attempt))
        if share is None or self.place[1] == BEHIND:
            return None
        left = Fraction(share) * sum(self._alone(c), Fraction(0))
        for place, alone in enumerate(self._alone(c)):
            if left < alone:
                return place, left / alone
            left -= alone
        return None

    def _tell(self, c: int, now: Fraction) -> None:
        self.ways[c].state, self.ways[c].wakes = "told", now

    def _go_on(self, c: int, now: Fraction) -> None:
        """Through with one stage: the next ones, up to one that takes time."""
        way = self.ways[c]
        if way.state == "asleep":
            way.at, way.num_visits, way.did, way.began = 0, 0, [], now
            way.fails = self._weakness(c)
        else:
            self._finish(c, now)
        way.wakes = None
        while way.at < len(way.stages):
            what, amount, _ = way.stages[way.at]
            if what != "wait":
                self._visit(c, what, amount, now)
                return
            if amount > 0:
                way.state, way.wakes = "waiting", now + amount
                return
            self._finish(c, now)
        way.state, way.outcome, way.fails = "over", "used", None
        _enter(self.answer, way, "used")

    def _visit(self, c: int, what: str, amount: Fraction, now: Fraction) -> None:
        way, server, client = self.ways[c], self.toy.server, self.toy.clients[c]
        way.state, way.joined = "visiting", now
        if what == "ask" and not server.is_sharing:
            self.waiting.add((nanosecond(now), c))
            if len(self.services) < server.num_accelerators:
                self._serve(now)
            return
        limits = {"up": client.up_bytes_per_s, "down": client.down_bytes_per_s, "ask": 1}
        self.flows[c] = _RESOURCES[what], amount, Fraction(limits[what])

    def _serve(self, now: Fraction) -> None:
        batch = sorted(self.waiting)[: self.toy.server.max_batch]
        self.waiting.difference_update(batch)
        if batch:
            seconds = len(batch) * Fraction(self.toy.server.own_s)
            end = now + seconds + Fraction(self.toy.server.shared_s)
            self.services.append(_Service(now, end, {c for _, c in batch}))

    def _release(self, service: _Service, now: Fraction) -> None:
        self.services.remove(service)
        self.answer.busy_s += max(now - service.start, Fraction(0))
        self._serve(now)

    def _finish(self, c: int, now: Fraction) -> None:
        """Note a stage that is through; a visit is left."""
        way = self.ways[c]
        what, _, step = way.stages[way.at]
        if what != "wait":
            self._leave(c, now)
        if what != "wait" or step == "work":
            way.did.append((step, 1, self.toy.message_bytes if what in ("up", "down") else 0))
        way.at += 1

    def _leave(self, c: int, now: Fraction) -> None:
        way = self.ways[c]
        resource = _RESOURCES[way.stages[way.at][0]]
        place = (self.place[0], c, self.place[1], way.attempt, way.num_visits, resource)
        self.answer.visits.append((place, float(way.joined), float(now)))
        way.num_visits += 1

    def _fail(self, c: int, now: Fraction) -> None:
        """Lose an attempt; the server learns of it in time."""
        way, toy = self.ways[c], self.toy
        noticed = max(now, way.began + sum(self._alone(c), Fraction(0)))
        if toy.failure_timeout_s is not None:
            noticed = now + Fraction(toy.failure_timeout_s)
        self._stop(c, now, "")
        _enter(self.answer, way, "lost")
        if way.attempt < toy.retries:
            way.attempt += 1
            way.wakes = noticed + Fraction(toy.retry_after_s)
        else:
            way.state, way.outcome, way.wakes = "gone", "lost", noticed

    def _stop(self, c: int, now: Fraction, outcome: str) -> None:
        """Cut a client off wherever it is."""
        way = self.ways[c]
        is_due = way.wakes is not None and nanosecond(way.wakes) <= nanosecond(now)
        if is_due and way.state != "asleep":
            self._finish(c, now)
        elif way.state == "visiting":
            self._withdraw(c, now)
        has_begun = way.state != "asleep"
        way.state, way.wakes, way.fails = "asleep", None, None
        if has_begun and outcome:
            _enter(self.answer, way, outcome)
        way.outcome = outcome

    def _withdraw(self, c: int, now: Fraction) -> None:
        way, size = self.ways[c], self.toy.message_bytes
        what, amount, step = way.stages[way.at]
        self._leave(c, now)
        self.waiting = {request for request in self.waiting if request[1] != c}
        for service in [s for s in self.services if c in s.members]:
            service.members.remove(c)
            if not service.members:
                self._release(service, now)
        if c in self.flows:
            share = float(1 - self.flows.pop(c)[1] / amount)
            if what != "ask":
                sent = floor(share * size / _SEGMENT_BYTES + 1e-9) * _SEGMENT_BYTES
                way.did.append((step, 0, min(sent, size)))


def simulated(toy: Toy) -> Answer:
    """All rounds of a toy."""
    answer, now, call_s = Answer(), Fraction(0), toy.server.own_s + toy.server.shared_s
    for number in range(1, toy.num_rounds + 1):
        start, everybody = now, list(range(len(toy.clients)))
        first = _Segment(toy, answer, everybody, (number, 0), start)
        deadline = None if toy.deadline_s is None else start + Fraction(toy.deadline_s)
        first.run(min(len(everybody), toy.quorum or len(everybody)), deadline)
        now, used = first.closed, first.those("used")
        if used:
            now += Fraction(call_s)
            answer.busy_s += Fraction(call_s)
            if toy.behind:
                last = _Segment(toy, answer, used, (number, BEHIND), now)
                last.run(len(used), None)
                now = last.closed
        counts = [len(first.those(outcome)) for outcome in ("used", "late", "lost")]
        times = float(start), float(first.closed), float(now)
        answer.rounds.append((*times, counts[0], counts[1], counts[2]))
    answer.visits.sort()
    return answer


def _stages(toy: Toy, client: ToyClient, steps: Sequence[str]) -> list[_Stage]:
    """Steps in parts that either take a time or share a resource."""
    server, stages = toy.server, list[tuple[str, float | Fraction, str]]()
    for step in steps:
        if step == "work":
            stages.append(("wait", client.work_s, "work"))
        elif step == "ask":
            stages.append(("ask", Fraction(server.own_s) + Fraction(server.shared_s), "ask"))
        else:
            ends = [client.packing_s, server.packing_s]
            before, behind = ends if step == "up" else reversed(ends)
            stages += [("wait", before, ""), ("wait", client.startup_s, "")]
            stages.append((step, toy.wire_bytes, step))
            stages += [("wait", client.half_trip_s, ""), ("wait", behind, "")]
    return [(what, Fraction(amount), step) for what, amount, step in stages]


def _enter(answer: Answer, way: _Way, outcome: str) -> None:
    for step, executions, num_bytes in way.did:
        counts = answer.counts.setdefault((step, outcome), [0, 0])
        counts[0] += executions
        counts[1] += num_bytes
