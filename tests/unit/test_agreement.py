"""Two ledgers side by side: every counted difference is found and named."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.agreement import check_agreement, differences
from fedsim.errors import AgreementError
from fedsim.ledger import COUNTED, Ledger, LedgerRow, RowKey

KEY = RowKey(1, "ann", "a3")
keys = st.builds(
    RowKey, st.integers(0, 2), st.sampled_from(["ann", "server"]), st.sampled_from("ab")
)
rows = st.builds(LedgerRow, **{name: st.integers(0, 9) for name in COUNTED})
ledgers = st.dictionaries(keys, rows, min_size=1, max_size=4).map(Ledger)


def copy(ledger: Ledger) -> Ledger:
    return Ledger({key: replace(row) for key, row in ledger.rows.items()})


@given(ledgers)
def test_a_ledger_agrees_with_itself(ledger: Ledger) -> None:
    """No difference is found where there is none."""
    assert differences(ledger, copy(ledger)) == []
    check_agreement(ledger, copy(ledger))


@given(ledgers, st.data())
def test_one_unit_in_one_field_is_found_and_named(ledger: Ledger, data: st.DataObject) -> None:
    """Whichever field of whichever row is off by one, that is what is reported."""
    other = copy(ledger)
    key = data.draw(st.sampled_from(list(ledger.rows)))
    name = data.draw(st.sampled_from(COUNTED))
    setattr(other.rows[key], name, getattr(other.rows[key], name) + 1)

    found = differences(ledger, other)

    assert [(one.key, one.field, one.measured - one.predicted) for one in found] == [(key, name, 1)]


@given(ledgers, ledgers)
def test_agreement_has_no_direction(one: Ledger, other: Ledger) -> None:
    """What differs one way differs the other way, with the roles exchanged."""
    there = {(d.key, d.field): (d.predicted, d.measured) for d in differences(one, other)}
    back = {(d.key, d.field): (d.measured, d.predicted) for d in differences(other, one)}

    assert there == back


@pytest.mark.parametrize("is_predicted", [True, False])
def test_a_row_that_stands_in_one_ledger_only_is_a_difference(is_predicted: bool) -> None:
    """It is compared with zeros, so neither a missing nor a surplus step goes unseen."""
    ledgers = [Ledger(), Ledger({KEY: LedgerRow(times=1, messages=1)})]
    if is_predicted:
        ledgers.reverse()

    assert [found.field for found in differences(*ledgers)] == ["times", "messages"]


def test_seconds_and_joules_are_not_compared() -> None:
    """Measured time differs from any prediction; its error is reported, not asserted away."""
    one = Ledger({KEY: LedgerRow(times=1, compute_s=1.0, energy_j=3.0)})
    other = Ledger({KEY: LedgerRow(times=1, compute_s=2.0, start_s=9.0)})

    assert differences(one, other) == []


def test_a_difference_says_where_and_by_how_much() -> None:
    """Round, party, step and field, both figures, and the difference with its sign."""
    one = Ledger({KEY: LedgerRow(uplink_payload_bytes=1_416_192)})
    other = Ledger({KEY: LedgerRow(uplink_payload_bytes=1_416_196)})

    assert str(differences(one, other)[0]) == (
        "round 1, ann, step a3: uplink_payload_bytes predicted 1,416,192, measured 1,416,196 (+4)"
    )


def test_the_first_difference_is_raised_and_the_rest_counted() -> None:
    """One name is enough to begin with, and the number says how bad it is."""
    one = Ledger({KEY: LedgerRow(times=1)})
    other = Ledger({KEY: LedgerRow(times=2, messages=3, client_flop=1)})

    with pytest.raises(AgreementError, match=r"step a3: times .* \(2 more differences\)"):
        check_agreement(one, other)
