"""Quantities: what is read, what is refused with which words, what is printed."""

import math

import pytest

from fedsim import units
from fedsim.errors import UnitError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("77 B", 77),
        ("16 GB", 16_000_000_000),
        ("1.416 MB", 1_416_000),
        ("512 MiB", 536_870_912),
        ("1 KiB", 1024),
        ("8 b", 1),
        ("8 bit", 1),
        ("1 Mbit", 125_000),
        ("1 Mb", 125_000),
        ("1 Kibit", 128),
        ("1.5e3 kB", 1_500_000),
        ("16GB", 16_000_000_000),
        (" 16  GB ", 16_000_000_000),
        ("0 B", 0),
    ],
)
def test_a_size_is_read_in_bytes(text: str, expected: int) -> None:
    """MB is 10^6 and MiB 2^20 bytes, and eight bits are one byte, to the last byte."""
    assert units.parse_bytes(text) == expected


def test_a_size_is_an_integer() -> None:
    """Bytes are counted, so that they can agree exactly."""
    assert isinstance(units.parse_bytes("1.416 MB"), int)


def test_a_size_between_two_bytes_is_rounded_to_the_nearest() -> None:
    """0.7 GiB is 0.7 x 1,073,741,824 = 751,619,276.8 bytes, and reads as ...277."""
    assert units.parse_bytes("0.7 GiB") == 751_619_277


@pytest.mark.parametrize("text", ["3 bit", "12 bit", "0.5 B", "0.0001 kB"])
def test_a_size_that_rounding_would_change_noticeably_is_refused(text: str) -> None:
    """Three bits never become zero bytes."""
    with pytest.raises(UnitError, match="whole number"):
        units.parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10 Mbit/s", 1.25e6),
        ("10 Mbps", 1.25e6),
        ("10 Mb/s", 1.25e6),
        ("1.25 MB/s", 1.25e6),
        ("1.25 MBps", 1.25e6),
        ("10 Gbit/s", 1.25e9),
        ("100 kbit/s", 12_500.0),
        ("8 bps", 1.0),
        ("1 MiB/s", 1_048_576.0),
        ("1 Mibit/s", 131_072.0),
    ],
)
def test_a_data_rate_is_read_in_bytes_per_second(text: str, expected: float) -> None:
    """10 Mbit/s are 10^7 / 8 bytes per second."""
    assert units.parse_bytes_per_s(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("25 ns", 25e-9),
        ("10 us", 10e-6),
        ("10 \u00b5s", 10e-6),
        ("10 \u03bcs", 10e-6),
        ("40 ms", 0.04),
        ("1 s", 1.0),
        ("30 min", 1800.0),
        ("2 h", 7200.0),
        ("1.5 d", 129_600.0),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, expected: float) -> None:
    """Each unit of time comes out as the float nearest to its exact value."""
    assert units.parse_seconds(text) == expected


def test_work_is_read_in_whole_flop() -> None:
    """46.3 TFLOP are 46,300,000,000,000 operations, an integer."""
    assert units.parse_flop("46.3 TFLOP") == 46_300_000_000_000
    assert isinstance(units.parse_flop("46.3 TFLOP"), int)


def test_compute_rate_is_read_in_flop_per_second() -> None:
    """2.09 TFLOP/s are 2.09e12 operations a second."""
    assert units.parse_flop_per_s("2.09 TFLOP/s") == 2.09e12


@pytest.mark.parametrize(("text", "expected"), [("11 W", 11.0), ("250 mW", 0.25), ("1 MW", 1e6)])
def test_power_is_read_in_watts(text: str, expected: float) -> None:
    """Milli and mega differ by their case, and by nine orders of magnitude."""
    assert units.parse_watts(text) == expected


def test_energy_is_read_in_joules() -> None:
    """3.5 kJ are 3,500 J."""
    assert units.parse_joules("3.5 kJ") == 3500.0


@pytest.mark.parametrize(
    ("parse", "text", "reason"),
    [
        (
            units.parse_bytes_per_s,
            "10 mbps",
            "unit case is ambiguous; write '10 Mbit/s' (1.25 MB/s) or '10 MB/s'.",
        ),
        (
            units.parse_bytes_per_s,
            "10 MBPS",
            "unit case is ambiguous; write '10 Mbit/s' (1.25 MB/s) or '10 MB/s'.",
        ),
        (
            units.parse_bytes_per_s,
            "8 kbps",
            "unit case is ambiguous; "
            "write '8 kbit/s' (1 kB/s) or '8 kB/s' or '8 KiB/s' (8.192 kB/s).",
        ),
        (
            units.parse_bytes,
            "8 mb",
            "unit case is ambiguous; write '8 Mbit' (1 MB) or '8 MB'.",
        ),
        (
            units.parse_bytes,
            "8 KB",
            "unit case is ambiguous; write '8 kbit' (1 kB) or '8 kB' or '8 KiB' (8.192 kB).",
        ),
        (
            units.parse_bytes,
            "8 mib",
            "unit case is ambiguous; write '8 Mibit' (1.049 MB) or '8 MiB' (8.389 MB).",
        ),
        (
            units.parse_watts,
            "11 mw",
            "unit case is ambiguous; write '11 mW' or '11 MW'.",
        ),
    ],
)
def test_an_ambiguous_case_is_refused_with_its_readings(parse, text, reason) -> None:
    """The message names each unit that may have been meant, and how much it would be."""
    with pytest.raises(UnitError) as caught:
        parse(text)

    assert (caught.value.found, caught.value.reason) == (text, reason)


@pytest.mark.parametrize(
    ("parse", "text", "reason"),
    [
        (
            units.parse_bytes_per_s,
            "10 mbit/s",
            "no unit is spelled 'mbit/s'; write '10 Mbit/s' (1.25 MB/s).",
        ),
        (units.parse_seconds, "40 MS", "no unit is spelled 'MS'; write '40 ms'."),
        (
            units.parse_flop_per_s,
            "2 TFLOPS",
            "no unit is spelled 'TFLOPS'; write '2 TFLOP/s'.",
        ),
        (units.parse_flop, "2 TFLOPs", "no unit is spelled 'TFLOPs'; write '2 TFLOP'."),
    ],
)
def test_a_careless_spelling_with_one_reading_is_refused_with_that_reading(
    parse, text, reason
) -> None:
    """Even a spelling that can mean one thing only is not guessed, but its cure is named."""
    with pytest.raises(UnitError) as caught:
        parse(text)

    assert caught.value.reason == reason


def test_an_unknown_unit_is_refused_with_the_allowed_ones() -> None:
    """The message lists the units, and the nearest if one is near."""
    with pytest.raises(UnitError) as caught:
        units.parse_seconds("30 mins")

    assert caught.value.reason == (
        "'mins' is no unit of a duration; use ns, us, ms, s, min, h, d. Did you mean 'min'?"
    )


@pytest.mark.parametrize("text", ["2 m", "2 M"])
def test_a_lone_m_is_neither_minutes_nor_milliseconds(text: str) -> None:
    """Nothing is suggested where a suggestion would be a guess."""
    with pytest.raises(UnitError) as caught:
        units.parse_seconds(text)

    assert "Did you mean" not in caught.value.reason


@pytest.mark.parametrize(
    ("parse", "text", "example"),
    [
        (units.parse_seconds, "40", "40 ms"),
        (units.parse_bytes, "16", "16 GB"),
        (units.parse_bytes_per_s, "0", "0 Mbit/s"),
        (units.parse_watts, "1.5e1", "1.5e1 W"),
    ],
)
def test_a_bare_number_is_refused(parse, text: str, example: str) -> None:
    """A number without a unit is no quantity; the message writes it with one."""
    with pytest.raises(UnitError) as caught:
        parse(text)

    assert caught.value.reason == f"a quantity needs a unit: write e.g. '{example}'."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-40 ms", "cannot be negative"),
        ("nan s", "must be finite"),
        ("NaN", "must be finite"),
        ("inf s", "must be finite"),
        ("-inf s", "cannot be negative"),
        ("1e400 s", "out of range"),
        ("1e-400 s", "out of range"),
        ("1" + 50 * "0" + " s", "out of range"),
        ("", "not a duration"),
        ("s", "not a duration"),
        ("fast", "not a duration"),
        ("+1 s", "not a duration"),
        ("1,000 s", "no unit"),
        ("1_000 s", "no unit"),
        ("1 000 s", "not a duration"),
        ("\u0661 s", "not a duration"),
        ("0x10 s", "no unit"),
        ("1 s\n2 s", "not a duration"),
    ],
)
def test_a_number_that_is_not_plain_finite_and_non_negative_is_refused(
    text: str, reason: str
) -> None:
    """Thousands separators, signs and special values are refused, and the message says which."""
    with pytest.raises(UnitError, match=reason):
        units.parse_seconds(text)


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (0, "0 B"),
        (77, "77 B"),
        (999, "999 B"),
        (1000, "1.000 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.000 MB"),
        (1_415_999, "1.416 MB"),
        (-1_416_000, "-1.416 MB"),
        (16_000_000_000, "16.00 GB"),
        (12_345 * 10**18, "12345 EB"),
    ],
)
def test_a_size_is_printed_with_four_digits(size_bytes: int, expected: str) -> None:
    """Below 1 kB every byte shows; above, the unit changes as soon as rounding reaches it."""
    assert units.format_bytes(size_bytes) == expected


@pytest.mark.parametrize(
    ("rate_bytes_per_s", "expected"),
    [
        (0.0, "0 bit/s"),
        (1.0, "8 bit/s"),
        (12_500.0, "100.0 kbit/s"),
        (1.25e6, "10.00 Mbit/s"),
        (1.25e9, "10.00 Gbit/s"),
    ],
)
def test_a_data_rate_is_printed_in_bits(rate_bytes_per_s: float, expected: str) -> None:
    """A link's rate is printed as links are sold: 1.25e6 bytes/s are 10 Mbit/s."""
    assert units.format_bytes_per_s(rate_bytes_per_s) == expected


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [
        (0.0, "0 s"),
        (5e-9, "5.000 ns"),
        (10e-6, "10.00 us"),
        (0.04, "40.00 ms"),
        (0.99996, "1.000 s"),
        (59.94, "59.94 s"),
        (59.999, "1.000 min"),
        (90.0, "1.500 min"),
        (7200.0, "2.000 h"),
        (86_400.0 * 1500, "1500 d"),
        (-90.0, "-1.500 min"),
        (math.inf, "inf s"),
        (math.nan, "nan s"),
    ],
)
def test_a_duration_is_printed_in_the_unit_that_suits_it(duration_s: float, expected: str) -> None:
    """From nanoseconds to days, and never '60.00 s' or '24.00 h'."""
    assert units.format_seconds(duration_s) == expected


def test_work_and_compute_rate_are_printed_in_flop() -> None:
    """A count reads FLOP and a rate FLOP/s, never the FLOPS that is both."""
    assert units.format_flop(46_300_000_000_000) == "46.30 TFLOP"
    assert units.format_flop(512) == "512 FLOP"
    assert units.format_flop_per_s(2.09e12) == "2.090 TFLOP/s"


def test_power_and_energy_are_printed_in_watts_and_joules() -> None:
    """Small and large values keep four digits and find their prefix."""
    assert units.format_watts(11.0) == "11.00 W"
    assert units.format_watts(0.25) == "250.0 mW"
    assert units.format_joules(3500.0) == "3.500 kJ"


@pytest.mark.parametrize("value", [0.0, float("inf"), float("-inf")])
def test_nothing_and_endless_have_any_unit(value: float) -> None:
    """A range of which one end is 0, in the hours of the other one, is no StopIteration."""
    assert units.SECONDS.format(value, ("h",)) == f"{value:g} h"
