"""A link of the catalogue carries its published rate and round trip."""

import pytest

from fedsim.cost.duration import transfer_seconds
from fedsim.errors import ScenarioError
from fedsim.protocol.step import Direction
from fedsim.spec.link_catalogue import link, link_names

# Mbit/s down, Mbit/s up, ms.
PUBLISHED = {
    "lte-uk": (29.5, 7.6, 21),
    "5g-uk": (129.9, 14.7, 18.5),
    "5g-global": (203.04, 21.08, 47),
    "3g": (5.9, 2.0, 50),
    "home-global": (83.95, 38.32, 10),
    "fibre-uae": (270.91, 124.37, 7.5),
    "wifi6": (660, 660, 3.5),
    "gbe": (1000, 1000, 0.35),
    "dc-10g": (10_000, 10_000, 0.15),
    "dc-25g": (25_000, 25_000, 0.15),
}
ETHERNET = ("gbe", "dc-10g", "dc-25g")


def test_the_catalogue_has_these_links() -> None:
    """Wide-area links first."""
    assert link_names() == tuple(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_link_has_its_published_rates_and_round_trip(name: str) -> None:
    """Megabits a second become bytes a second, a range of milliseconds its middle in seconds."""
    spec = link(name)
    down, up, round_trip = PUBLISHED[name]

    assert spec.downlink_bytes_per_s == pytest.approx(down * 1e6 / 8)
    assert spec.uplink_bytes_per_s == pytest.approx(up * 1e6 / 8)
    assert spec.round_trip_s == pytest.approx(round_trip * 1e-3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_uplink_is_faster_than_its_downlink(name: str) -> None:
    """A swapped pair of rates would be."""
    assert link(name).uplink_bytes_per_s <= link(name).downlink_bytes_per_s


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_long_message_moves_at_the_goodput_that_was_published(name: str) -> None:
    """Speed tests count payload; an Ethernet port's 1 Gbit/s carries 941 Mbit/s of it."""
    spec = link(name)
    payload_share = 1448 / 1538 if name in ETHERNET else 1.0
    seconds = [transfer_seconds(n * 10**9, Direction.UP, spec) for n in (1, 2)]

    goodput = 10**9 / (seconds[1] - seconds[0])

    assert goodput == pytest.approx(PUBLISHED[name][1] * 1e6 / 8 * payload_share)


def test_gigabit_ethernet_carries_941_mbit_per_s() -> None:
    """1448 B of payload in 1538 B of wire, with TCP timestamps: 0.94148 x 1000 Mbit/s."""
    spec = link("gbe")

    assert spec.uplink_bytes_per_s * spec.payload_fraction * 8 / 1e6 == pytest.approx(
        941.48, abs=0.01
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_link_names_its_sources(name: str) -> None:
    """Rates and round trip often come from different places."""
    source = link(name).source

    assert " rates (" in source
    assert " round trip (" in source


def test_what_is_not_sourced_says_so() -> None:
    """The mark stands where a report shows it."""
    assert "round trip (assumption: " in link("fibre-uae").source
    assert "rates (unverified: " in link("wifi6").source


def test_an_unknown_link_is_refused_with_the_nearest_name() -> None:
    """No other link is taken for it."""
    with pytest.raises(ScenarioError) as caught:
        link("5g_uk")

    message = str(caught.value)
    assert message.startswith("link '5g_uk' is not in the catalogue; allowed: lte-uk,")
    assert message.endswith("Did you mean '5g-uk'?")
    assert all(name in message for name in PUBLISHED)
