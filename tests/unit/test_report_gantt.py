"""One round of a trace as a picture and as characters: the right clients, moments and marks."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from fedsim.errors import ScenarioError
from fedsim.fleet.trace import TraceEvent
from fedsim.report.trace.gantt import gantt_figure
from fedsim.report.trace.round_view import round_view
from fedsim.report.trace.timeline import round_timeline
from traces import BUFFERED, ROUNDS, event


def printed(events: tuple[TraceEvent, ...], round_index: int, width: int = 60) -> list[str]:
    """The chart's lines."""
    file = io.StringIO()
    Console(width=width, file=file).print(round_timeline(events, round_index))
    return file.getvalue().splitlines()


def many(num_clients: int) -> tuple[TraceEvent, ...]:
    """A round in which client i works for i + 1 seconds."""
    events = [event(f"a/{i}", "a1", "compute", 0, i + 1, index=i) for i in range(num_clients)]
    end = num_clients
    return (*events, event("server", "a3", "server", end, end + 1, index=-1))


def test_a_view_holds_its_own_round_alone() -> None:
    """From the round's first event to its last."""
    view = round_view(ROUNDS, 2, 10)

    assert (view.start_s, view.end_s, view.closings_s) == (11, 22, (21,))
    assert {e.round_index for row in view.rows for e in row.events} == {2}
    assert view.is_common


def test_clients_are_ordered_by_the_end_of_their_work() -> None:
    """Whoever keeps the round open stands at the bottom."""
    assert [row.party for row in round_view(ROUNDS, 1, 10).rows] == ["slow/1", "fast/0", "slow/0"]


def test_work_behind_the_gathering_does_not_change_the_order() -> None:
    """What was gathered decides, not what clients do with the answer."""
    more = (
        event("a/0", "a1", "compute", 0, 1, index=0),
        event("a/1", "a1", "compute", 0, 2, index=1),
        event("server", "a3", "server", 2, 3, index=-1),
        event("a/0", "a4", "compute", 3, 9, index=0),
        event("a/1", "a4", "compute", 3, 4, index=1),
    )

    assert [row.party for row in round_view(more, 1, 10).rows] == ["a/0", "a/1"]


def test_a_spread_holds_the_first_and_the_last() -> None:
    """And says how many there are."""
    view = round_view(many(101), 1, 5)

    assert [row.party for row in view.rows] == ["a/0", "a/25", "a/50", "a/75", "a/100"]
    assert view.caption == "round 1, 5 of 101 clients, evenly spread by the end of their work"


def test_whoever_was_cut_at_the_closing_stands_below_whoever_closed_it() -> None:
    """Both ended at one moment."""
    events = (
        event("a/0", "a1", "compute", 0, 5, index=0, outcome="late"),
        event("a/1", "a1", "compute", 0, 5, index=1),
        event("server", "a3", "server", 5, 6, index=-1),
    )

    assert [row.party for row in round_view(events, 1, 10).rows] == ["a/1", "a/0"]


@pytest.mark.parametrize("closing", range(40))
def test_a_spread_holds_whoever_closed_the_gathering(closing: int) -> None:
    """The round waited for that client, so the chart shows it; and never one client twice."""
    events = [
        event(f"a/{i}", "a1", "compute", 0, min(i, closing) + 1, index=i, outcome="used")
        if i <= closing
        else event(f"a/{i}", "a1", "compute", 0, closing + 1, index=i, outcome="late")
        for i in range(41)
    ]
    events.append(event("server", "a3", "server", closing + 1, closing + 2, index=-1))
    parties = [row.party for row in round_view(events, 1, 6).rows]

    assert f"a/{closing}" in parties
    assert (parties[0], parties[-1], len(set(parties))) == ("a/0", "a/40", 6)


def test_without_common_rounds_a_view_reaches_from_version_to_version() -> None:
    """Clients' events are cut at both ends, whatever iteration of theirs they belong to."""
    view = round_view(BUFFERED, 2, 10)

    assert not view.is_common
    assert (view.start_s, view.end_s, view.closings_s) == (4, 10, (9,))
    spans = {row.party: [(e.start_s, e.end_s) for e in row.events] for row in view.rows}
    assert spans == {"phone/0": [(4, 8)], "phone/1": [(4, 9)]}
    assert view.caption == "version 2, 2 clients"


def test_accelerators_work_is_told_from_packing() -> None:
    """A step that is a message is none of theirs."""
    events = (
        event("a/0", "c2", "server", 0, 1),
        event("a/0", "c2", "transfer", 1, 2, num_bytes=5),
        event("a/0", "c3", "wait", 2, 3),
        event("a/0", "c3", "server", 3, 5),
    )

    assert [(e.step, e.start_s) for e in round_view(events, 1, 10).at_server] == [("c3", 3)]


@pytest.mark.parametrize(
    ("events", "hint"), [(ROUNDS, "1 to 2"), (BUFFERED, "1 to 2"), ((), "empty")]
)
def test_a_round_that_is_not_there_is_an_error(events: tuple[TraceEvent, ...], hint: str) -> None:
    """It says which are."""
    with pytest.raises(ScenarioError, match=rf"round 7 is not in the trace; .*{hint}"):
        round_view(events, 7, 10)


def test_a_timeline_shows_who_did_what_for_how_long() -> None:
    """44 columns for 11 seconds: 4 each, and nothing where nothing is done."""
    lines = printed(ROUNDS, 1, width=44 + len(" slow/0 ") + len(" late"))
    rows = {line.split()[0]: line for line in lines[1:5]}
    fast = rows["fast/0"].removeprefix(" fast/0 ")

    assert lines[0] == "Round 1, 3 clients"
    assert (fast.count("▒") + 2, fast.count("█") + 2) == (6 * 4, 4 * 4)
    assert "█a1█" in fast
    assert "▒a2▒" in fast
    assert rows["server"].removeprefix(" server ") == " " * 40 + "▓a3▓"
    assert rows["slow/0"].endswith(" late")
    assert rows["slow/1"].endswith(" lost")
    # Two attempts with a pause between them, and the line at which the gathering closes.
    assert (
        rows["slow/1"].removeprefix(" slow/1 ").startswith("███a1███    ███a1███" + " " * 20 + "│")
    )
    assert lines[5].endswith("gathering closes at 10 ┘")
    assert lines[6].split() == ["0", "s", "11.00", "s"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("events", [ROUNDS, BUFFERED, many(30)])
def test_a_timeline_fits_its_width(events: tuple[TraceEvent, ...], width: int) -> None:
    """And has a line for at most twelve clients."""
    lines = printed(events, 1, width)

    assert max(len(line) for line in lines) <= width
    assert sum(1 for line in lines if line.lstrip().startswith("a/")) <= 12


def test_a_round_of_no_duration_is_a_chart(tmp_path: Path) -> None:
    """With everything at its start."""
    events = (event("a/0", "a1", "compute", 5, 5), event("server", "a3", "server", 5, 5, index=-1))

    assert any("a/0" in line for line in printed(events, 1))
    gantt_figure(events, 1, tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()


def test_a_picture_names_clients_steps_and_marks(tmp_path: Path) -> None:
    """Drawn as text in an SVG, so that it can be read back."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        gantt_figure(ROUNDS, 1, tmp_path / "a.svg", title="fedllm")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")

    for word in ("fast/0", "slow/1", "server", "a1", "a2", "a3", "came too late", "was lost"):
        assert f">{word}</text>" in text
    assert ">fedllm: round 1, 3 clients</text>" in text
    assert ">gathering closes</text>" in text


def test_the_servers_load_has_a_row_where_it_serves_clients(tmp_path: Path) -> None:
    """With the most that it serves at once."""
    import matplotlib as mpl

    events = (
        event("a/0", "c3", "server", 0, 4, index=0),
        event("a/1", "c3", "server", 2, 6, index=1),
        event("a/2", "c3", "wait", 2, 4, index=2),
        event("a/2", "c3", "server", 4, 8, index=2),
    )
    with mpl.rc_context({"svg.fonttype": "none"}):
        gantt_figure(events, 1, tmp_path / "a.svg")

    assert ">serves up to 2</text>" in (tmp_path / "a.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_round_gives_the_same_picture(tmp_path: Path, suffix: str) -> None:
    """No dates and no random ids."""
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for path in paths:
        gantt_figure(many(60), 1, path)

    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_dollar_sign_in_a_name_is_no_formula(tmp_path: Path) -> None:
    """A class is drawn as it is written."""
    gantt_figure((event("$x^{/0", "$a_{", "compute", 0, 1),), 1, tmp_path / "a.png", title="$y^{")

    assert (tmp_path / "a.png").is_file()
