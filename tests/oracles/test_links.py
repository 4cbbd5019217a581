"""The server's link is shared as SimGrid shares it, flow by flow."""

import os

import pytest

from oracles.links import CASES, LINKS, Case, LinkOf, link_difference, simgrid_python

ids = [link.__name__ for link in LINKS]


@pytest.fixture(autouse=True, scope="module")
def simgrid() -> None:
    """In continuous integration SimGrid is there, or the test fails; elsewhere it is skipped."""
    if simgrid_python() is None:
        where = "no Python here has SimGrid's bindings: apt-get install python3-simgrid"
        if os.environ.get("CI") == "true":
            pytest.fail(where)
        pytest.skip(where)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("link", LINKS, ids=ids)
def test_a_thousand_flows_end_when_simgrid_says(link: LinkOf, case: Case) -> None:
    """Max-min sharing of one capacity among flows with access rates of their own."""
    assert link_difference(link, case) < 5e-12


@pytest.mark.parametrize("link", LINKS, ids=ids)
def test_access_links_that_are_faster_by_a_billionth_are_seen(link: LinkOf) -> None:
    """Negative control: the comparison sees one part in 10^9."""
    assert link_difference(link, CASES[0], pace=1 + 1e-9) > 1e-10
