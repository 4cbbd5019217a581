"""The ledger: rows by key, sums of rows."""

from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from fedsim.ledger import COUNTED, Ledger, LedgerRow, RowKey

counts = st.integers(0, 10**15)
rows = st.builds(
    LedgerRow,
    **dict.fromkeys(COUNTED, counts),
    start_s=st.floats(0, 100),
    compute_s=st.integers(0, 1000).map(float),
    transfer_s=st.integers(0, 1000).map(float),
)
keys = st.builds(
    RowKey, st.integers(0, 3), st.sampled_from(["ann", "bob", "server"]), st.sampled_from("abc")
)


def as_dict(row: LedgerRow) -> dict[str, object]:
    return {f.name: getattr(row, f.name) for f in fields(row)}


def test_rows_of_one_key_add_up() -> None:
    """Iterations of a ``Repeat`` are one row."""
    ledger = Ledger()
    key = RowKey(1, "ann", "a2")
    ledger.add(key, LedgerRow(times=1, client_flop=10, compute_s=0.5))
    ledger.add(key, LedgerRow(times=2, client_flop=7, compute_s=0.25))

    assert ledger.rows == {key: LedgerRow(times=3, client_flop=17, compute_s=0.75)}


def test_retries_are_rows_of_their_own() -> None:
    """What was sent twice was paid twice, and can be told apart."""
    ledger = Ledger()
    ledger.add(RowKey(1, "ann", "a3", outcome="lost"), LedgerRow(messages=1))
    ledger.add(RowKey(1, "ann", "a3", attempt=1), LedgerRow(messages=1))

    assert [key.outcome for key in ledger.rows] == ["lost", "used"]


@given(rows, rows)
def test_every_sum_is_added_and_the_first_start_stays(one: LedgerRow, other: LedgerRow) -> None:
    """No field is forgotten when a row is added to another."""
    total = replace(one)
    total.add(other)

    for name, value in as_dict(total).items():
        first, second = getattr(one, name), getattr(other, name)
        if name == "start_s":
            assert value == first
        else:
            assert value == first + second, name


@given(st.lists(st.tuples(keys, rows)))
def test_the_total_is_that_of_all_that_was_added(entries: list[tuple[RowKey, LedgerRow]]) -> None:
    """Grouping by key, by step or not at all changes no sum."""
    ledger = Ledger()
    for key, row in entries:
        ledger.add(key, replace(row))

    total, by_step = ledger.total(), ledger.by_step()

    for name in COUNTED:
        expected = sum(getattr(row, name) for _, row in entries)
        assert getattr(total, name) == expected
        assert sum(getattr(row, name) for row in by_step.values()) == expected


@given(st.lists(st.tuples(keys, rows)))
def test_selections_divide_the_ledger(entries: list[tuple[RowKey, LedgerRow]]) -> None:
    """Each row has one round, one party and one step."""
    ledger = Ledger()
    for key, row in entries:
        ledger.add(key, replace(row))

    for part, values in (
        ("round_index", range(4)),
        ("party", ("ann", "bob", "server")),
        ("step", "abc"),
    ):
        chosen = [key for value in values for key, _ in ledger.select(**{part: value})]  # type: ignore[arg-type]
        assert sorted(chosen) == sorted(ledger.rows)


def test_a_selection_can_be_summed() -> None:
    """The uplink of one client in one round, for example."""
    ledger = Ledger()
    ledger.add(RowKey(1, "ann", "a3"), LedgerRow(uplink_message_bytes=5))
    ledger.add(RowKey(1, "bob", "a3"), LedgerRow(uplink_message_bytes=7))
    ledger.add(RowKey(2, "ann", "a3"), LedgerRow(uplink_message_bytes=11))

    chosen = ledger.select(round_index=1, party="ann")

    assert ledger.total(chosen).uplink_message_bytes == 5


def test_steps_stand_in_the_order_of_their_first_row() -> None:
    """A report reads in the order of the protocol."""
    ledger = Ledger()
    for step in ("setup", "b1", "a2", "b1"):
        ledger.add(RowKey(1, "ann", step), LedgerRow(times=1))

    assert list(ledger.by_step()) == ["setup", "b1", "a2"]


def test_counted_fields_are_the_integers() -> None:
    """Whatever is an integer must agree between interpreters; seconds and joules need not."""
    integers = [f.name for f in fields(LedgerRow) if isinstance(getattr(LedgerRow(), f.name), int)]

    assert tuple(integers) == COUNTED
