"""Random numbers by name: the same name gives the same draw, whatever else is drawn."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedsim.draws import (
    client_id,
    client_key,
    client_keys,
    generator,
    participants,
    turn_order,
    visiting_order,
)

seeds = st.integers(0, 2**63)
names = st.text("abcdefgh", min_size=1, max_size=6)


@given(seeds, st.integers(1, 99), names, st.integers(0, 5), st.integers(0, 200))
def test_a_visiting_order_visits_every_sample_once(
    seed: int, round_index: int, client_id: str, epoch: int, num_samples: int
) -> None:
    """It is a permutation, also of nothing."""
    order = visiting_order(seed, round_index, client_id, epoch, num_samples)

    assert sorted(order.tolist()) == list(range(num_samples))


@given(seeds, st.integers(1, 99), names)
def test_a_draw_depends_on_nothing_but_its_name(seed: int, round_index: int, party: str) -> None:
    """Other draws in between change nothing."""
    first = generator(seed, round_index, party, "turns").random(3)
    generator(seed, round_index, party, "other").random(100)

    assert generator(seed, round_index, party, "turns").random(3).tolist() == first.tolist()


def test_each_part_of_a_name_makes_another_draw() -> None:
    """Seed, round, party and purpose all count."""
    names = [
        (0, 1, "ann", "turns"),
        (1, 1, "ann", "turns"),
        (0, 2, "ann", "turns"),
        (0, 1, "bob", "turns"),
        (0, 1, "ann", "order.epoch0"),
        # Read without separators these two would be the first.
        (0, 11, "ann", "turns"),
        (0, 1, "an", "nturns"),
    ]
    draws = [tuple(generator(*name).integers(0, 2**62, 2).tolist()) for name in names]

    assert len(set(draws)) == len(names)


@given(seeds, st.integers(1, 99), st.integers(1, 40), st.data())
def test_turns_of_some_clients_are_those_of_all_without_the_others(
    seed: int, round_index: int, num_clients: int, data: st.DataObject
) -> None:
    """Who is absent, and how a file orders clients, moves nobody; every client has one turn."""
    keys = client_keys("phones", num_clients)
    everybody = turn_order(seed, round_index, keys).tolist()
    assert sorted(everybody) == list(range(num_clients))

    some = data.draw(st.lists(st.integers(0, num_clients - 1), unique=True))
    turns = [some[place] for place in turn_order(seed, round_index, keys[some])]
    assert turns == [client for client in everybody if client in some]


def test_turns_change_from_round_to_round() -> None:
    """No client is always last: in 200 rounds of 4 clients each is first in 50, give or take 28.

    The bound is 4.6 standard deviations, sqrt(200 x 1/4 x 3/4) = 6.1 each.
    """
    keys = client_keys("phones", 4)
    firsts = [int(turn_order(7, round_index, keys)[0]) for round_index in range(1, 201)]

    for client in range(4):
        assert abs(firsts.count(client) - 50) <= 28


@given(st.text(min_size=1).filter(lambda name: "/" not in name), st.integers(1, 99))
def test_a_client_has_the_key_of_its_name(name: str, num_clients: int) -> None:
    """A real run knows clients by name, a simulation by class and number: one draw for both."""
    keys = client_keys(name, num_clients)
    assert [
        client_key(client_id(name, n, num_clients)) for n in range(num_clients)
    ] == keys.tolist()


def test_epochs_visit_in_orders_of_their_own() -> None:
    """Ten samples in the same order twice would be one chance in 3.6 million."""
    orders = [tuple(visiting_order(0, 1, "ann", epoch, 10).tolist()) for epoch in range(5)]

    assert len(set(orders)) == 5


def test_a_draw_is_the_same_in_another_process() -> None:
    """No draw depends on Python's hash seed or on what was imported."""
    code = "from fedsim.draws import visiting_order as v; print(v(3, 2, 'ann', 1, 20).tolist())"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert found.strip() == str(visiting_order(3, 2, "ann", 1, 20).tolist())


def test_the_draws_of_a_release_stay_the_draws() -> None:
    """Stored results can be made again: if these numbers change, every run has changed."""
    order = visiting_order(0, 1, "client-0", 0, 8)

    assert order.dtype == np.int64
    assert order.tolist() == [3, 2, 5, 7, 4, 6, 1, 0]


def test_drop_outs_are_drawn_by_name_and_somebody_stays() -> None:
    """Each client's draw is its own: the others' presence changes nothing; one always stays."""
    ids = tuple(f"clients/{number}" for number in range(200))
    present = participants(3, 5, ids, 0.3)
    assert abs(len(present) - 140) <= 4 * (200 * 0.3 * 0.7) ** 0.5
    assert participants(3, 5, ids[:50], 0.3) == tuple(cid for cid in present if cid in ids[:50])
    assert participants(3, 5, ids, 0.0) == ids
    assert participants(3, 6, ids, 0.3) != present
    (alone,) = participants(3, 5, ids[:3], 1.0 - 1e-12)
    assert alone in ids[:3]
