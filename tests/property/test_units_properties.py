"""Laws of reading and printing quantities, for any number."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fedsim import units
from fedsim.errors import UnitError
from fedsim.units import Dimension

DIMENSIONS = [
    units.BYTES,
    units.BYTES_PER_S,
    units.SECONDS,
    units.FLOP,
    units.FLOP_PER_S,
    units.WATTS,
    units.JOULES,
]
PRINTED_AND_READ = [
    (units.format_bytes_per_s, units.parse_bytes_per_s),
    (units.format_seconds, units.parse_seconds),
    (units.format_flop_per_s, units.parse_flop_per_s),
    (units.format_watts, units.parse_watts),
    (units.format_joules, units.parse_joules),
]
PRINTED_AND_COUNTED = [
    (units.format_bytes, units.parse_bytes),
    (units.format_flop, units.parse_flop),
]
# Four significant digits: half a unit of the last one, at its coarsest (1.000).
ROUNDING = 5.000001e-4

dimensions = st.sampled_from(DIMENSIONS)
positive_floats = st.floats(min_value=1e-12, max_value=1e21)
counts = st.integers(min_value=0, max_value=10**21)


def spellings(dimension: Dimension) -> st.SearchStrategy[str]:
    """Any accepted spelling of a dimension's units."""
    return st.sampled_from([*dimension.factors, *dimension.aliases])


@pytest.mark.parametrize(("write", "read"), PRINTED_AND_READ)
@given(value=positive_floats)
def test_a_printed_value_reads_back_within_its_rounding(write, read, value: float) -> None:
    """parse(format(x)) differs from x by less than four digits can show."""
    assert read(write(value)) == pytest.approx(value, rel=ROUNDING)


@pytest.mark.parametrize(("write", "read"), PRINTED_AND_COUNTED)
@given(value=counts)
def test_a_printed_count_reads_back_within_its_rounding(write, read, value: int) -> None:
    """parse(format(n)) is an integer near n, and is n itself below 1000."""
    result = read(write(value))

    assert result == pytest.approx(value, rel=ROUNDING)
    assert isinstance(result, int)
    assert result == value or value >= 1000


@given(value=positive_floats, other=positive_floats)
def test_a_printed_value_never_reverses_an_order(value: float, other: float) -> None:
    """A longer duration never reads back as the shorter one."""
    low, high = sorted([value, other])

    assert units.parse_seconds(units.format_seconds(low)) <= units.parse_seconds(
        units.format_seconds(high)
    )


@given(number=st.integers(min_value=0, max_value=10**6), data=st.data(), dimension=dimensions)
def test_a_quantity_scales_with_its_number(
    number: int, data: st.DataObject, dimension: Dimension
) -> None:
    """n units are n times one unit, exactly, in every accepted spelling."""
    unit = data.draw(spellings(dimension))

    assert dimension.parse(f"{number} {unit}") == number * dimension.parse(f"1 {unit}")


@given(number=st.integers(min_value=0, max_value=10**9), prefix=st.sampled_from(["k", "M", "G"]))
def test_a_byte_is_eight_bits_in_sizes_and_in_rates(number: int, prefix: str) -> None:
    """8n bits and n bytes are the same quantity under every prefix."""
    assert units.BYTES.parse(f"{8 * number} {prefix}bit") == units.BYTES.parse(
        f"{number} {prefix}B"
    )
    assert units.BYTES_PER_S.parse(f"{8 * number} {prefix}bit/s") == units.BYTES_PER_S.parse(
        f"{number} {prefix}B/s"
    )


@given(data=st.data(), dimension=dimensions)
def test_a_refused_change_of_case_names_the_right_spelling(
    data: st.DataObject, dimension: Dimension
) -> None:
    """Whatever case a user gives to a unit, its right spelling is among the readings."""
    unit = data.draw(st.sampled_from(list(dimension.factors)))
    flips = data.draw(st.lists(st.booleans(), min_size=len(unit), max_size=len(unit)))
    typed = "".join(
        letter.swapcase() if flip else letter for letter, flip in zip(unit, flips, strict=True)
    )
    assume(typed not in dimension.factors)
    assume(typed not in dimension.aliases)

    with pytest.raises(UnitError) as caught:
        dimension.parse(f"3 {typed}")

    assert f"'3 {unit}'" in caught.value.reason


@given(text=st.text() | st.from_regex(r"-?[0-9.]{1,5}(e-?[0-9]{1,5})? ?[a-zA-Z/]{0,8}"))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    """Nothing but a UnitError ever leaves a parser, whatever a file holds."""
    for dimension in DIMENSIONS:
        try:
            value = dimension.parse(text)
        except UnitError:
            continue
        assert value >= 0


NEARLY_QUANTITIES = st.from_regex(
    r"\A ?[0-9]{1,3}(\.[0-9]{0,2})?([eE][+-]?[0-9]{1,2})? ?[kKMGmu]?i?[bBFWJsit/]{0,5}\Z"
) | st.builds("{} {}".format, st.integers(0, 99), dimensions.flatmap(spellings))


@given(text=NEARLY_QUANTITIES)
def test_an_editors_pattern_accepts_exactly_what_the_parser_accepts(text: str) -> None:
    """The JSON Schema marks a value if and only if fedsim would refuse it."""
    for dimension in DIMENSIONS:
        matches = re.search(dimension.pattern, text) is not None
        try:
            dimension.parse(text)
        except UnitError:
            assert not matches
        else:
            assert matches
