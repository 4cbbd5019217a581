"""One round of a trace, as charts show it: who is shown, from when to when, in which order.

Where rounds are not common (a client's events bear its own iteration), a "round" is the stretch
from one version of the model to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from fedsim.errors import ScenarioError
from fedsim.fleet.trace import TraceEvent
from fedsim.ledger import Outcome

__all__ = ["ClientRow", "RoundView", "round_view"]

#: The first and the last row.
_ENDS: Final = 2


@dataclass(frozen=True)
class ClientRow:
    """One client's events of a round.

    Attributes
    ----------
    party : str
    events : tuple of TraceEvent
        By start.
    """

    party: str
    events: tuple[TraceEvent, ...]

    @property
    def outcome(self) -> Outcome:
        """What became of its last attempt."""
        return self.events[-1].outcome


@dataclass(frozen=True)
class RoundView:
    """What a chart of one round shows.

    Attributes
    ----------
    round_index : int
    is_common : bool
        Whether all clients work on this round at once; else the round is a version of the model.
    start_s, end_s : float
        [s].
    closings_s : tuple of float
        When the server began to work for what it had gathered [s].
    rows : tuple of ClientRow
        The clients that are shown: where rounds are common, the first to end work on top.
    num_clients : int
        That took part.
    server : tuple of TraceEvent
        What the server did once for all.
    at_server : tuple of TraceEvent
        What accelerators did for single clients, those that are not shown included.
    """

    round_index: int
    is_common: bool
    start_s: float
    end_s: float
    closings_s: tuple[float, ...]
    rows: tuple[ClientRow, ...]
    num_clients: int
    server: tuple[TraceEvent, ...]
    at_server: tuple[TraceEvent, ...]

    @property
    def caption(self) -> str:
        """Which round, and who is shown of how many."""
        what = f"round {self.round_index}" if self.is_common else f"version {self.round_index}"
        if self.round_index == 0:
            what = "set-up"
        if len(self.rows) == self.num_clients:
            return f"{what}, {self.num_clients:,} client{'s' if self.num_clients != 1 else ''}"
        order = "by the end of their work" if self.is_common else "by number"
        return f"{what}, {len(self.rows)} of {self.num_clients:,} clients, evenly spread {order}"


def round_view(events: Iterable[TraceEvent], round_index: int, max_clients: int) -> RoundView:
    """One round of a trace.

    Parameters
    ----------
    events : iterable of TraceEvent
    round_index : int
        0 is the set-up.
    max_clients : int
        If more took part, as many are chosen, from the first to the last to end work, the one
        that closed the gathering among them.

    Raises
    ------
    ScenarioError
        If the trace has no such round.
    """
    trace = events if isinstance(events, Sequence) else tuple(events)
    own = [e for e in trace if e.round_index == round_index]
    server = [e for e in own if e.client_index < 0]
    is_common = _is_common(trace, own, round_index)
    if not own or not (is_common or server):
        rounds = {e.round_index for e in trace if is_common or e.client_index < 0}
        found = f"it has {min(rounds)} to {max(rounds)}" if rounds else "it is empty"
        raise ScenarioError(f"round {round_index} is not in the trace; {found}.")
    start_s, end_s = min(e.start_s for e in own), max(e.end_s for e in own)
    if not is_common:
        start_s, end_s = _version_span(trace, server, round_index)
        own = _clipped(trace, start_s, end_s)
    closings_s = _closings(server)
    rows = _rows(own, closings_s[0] if closings_s and is_common else None)
    return RoundView(
        round_index=round_index,
        is_common=is_common,
        start_s=start_s,
        end_s=end_s,
        closings_s=closings_s,
        rows=_spread(rows, max_clients),
        num_clients=len(rows),
        server=tuple(server),
        at_server=_at_server(own),
    )


def _is_common(trace: Sequence[TraceEvent], own: Sequence[TraceEvent], round_index: int) -> bool:
    """Whether nobody works on another round meanwhile."""
    start_s = min((e.start_s for e in own), default=inf)
    end_s = max((e.end_s for e in own), default=-inf)
    # Events of no duration at either end belong to no stretch in between.
    return not any(
        e.round_index != round_index and e.start_s < end_s and e.end_s > start_s for e in trace
    )


def _version_span(
    trace: Sequence[TraceEvent], server: Sequence[TraceEvent], round_index: int
) -> tuple[float, float]:
    """From the version before to this one [s]."""
    before = (e.end_s for e in trace if e.client_index < 0 and e.round_index < round_index)
    first = min(e.start_s for e in trace)
    return max(before, default=first), max(e.end_s for e in server)


def _clipped(trace: Sequence[TraceEvent], start_s: float, end_s: float) -> list[TraceEvent]:
    """Clients' events within a stretch; those that reach beyond it are cut."""
    return [
        replace(e, start_s=max(e.start_s, start_s), end_s=min(e.end_s, end_s))
        for e in trace
        if e.client_index >= 0 and e.start_s < end_s and e.end_s > start_s
    ]


def _at_server(own: Sequence[TraceEvent]) -> tuple[TraceEvent, ...]:
    """The server's work for single clients, without packing and unpacking their messages."""
    messages = {e.step for e in own if e.kind == "transfer"}
    return tuple(
        e for e in own if e.kind == "server" and e.client_index >= 0 and e.step not in messages
    )


def _closings(server: Sequence[TraceEvent]) -> tuple[float, ...]:
    """Starts of the server's stretches of work [s]: each stands behind a gathering."""
    closings: list[float] = []
    end_s = -inf
    for event in sorted(server, key=lambda e: (e.start_s, e.end_s)):
        if event.start_s > end_s:
            closings.append(event.start_s)
        end_s = max(end_s, event.end_s)
    return tuple(closings)


def _rows(own: Iterable[TraceEvent], closing_s: float | None) -> list[ClientRow]:
    by_client: dict[int, list[TraceEvent]] = {}
    for event in own:
        if event.client_index >= 0:
            by_client.setdefault(event.client_index, []).append(event)
    rows = []
    for index in sorted(by_client):
        mine = sorted(by_client[index], key=lambda e: (e.start_s, e.end_s))
        rows.append(ClientRow(mine[0].party, tuple(mine)))
    if closing_s is not None:
        rows.sort(key=lambda row: _gathered(row, closing_s))
    return rows


def _gathered(row: ClientRow, closing_s: float) -> tuple[float, bool]:
    """When a client's work up to the gathering ended; of those cut at its closing the late last.

    What clients do with the answer does not order them.
    """
    ends = (min(e.end_s, closing_s) for e in row.events if e.start_s < closing_s)
    return max(ends, default=closing_s), row.outcome != "used"


def _spread(rows: list[ClientRow], max_clients: int) -> tuple[ClientRow, ...]:
    """At most so many: the first, the last, and the last whose work was used."""
    if len(rows) <= max_clients:
        return tuple(rows)
    last = len(rows) - 1
    chosen = [round(i * last / max(max_clients - 1, 1)) for i in range(max_clients)]
    used = [i for i, row in enumerate(rows) if row.outcome == "used"]
    if used and used[-1] not in chosen and max_clients > _ENDS:
        # It is the one that the round waited for: it takes the place of its neighbor.
        inner = range(1, max_clients - 1)
        nearest = min(inner, key=lambda place: abs(chosen[place] - used[-1]))
        chosen[nearest] = used[-1]
    return tuple(rows[i] for i in sorted(chosen))
