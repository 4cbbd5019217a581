"""Quantities as people write them, and as fedsim computes with them.

Inside fedsim everything is bytes, seconds, FLOP, watts and joules; outside, everything is text with
a unit. This file is the only crossing, and so the only place where a factor of 8, 1000 or 1024
lives. It does not know which field a quantity belongs to, nor whether zero makes sense there.

Spelling is exact. ``B`` is a byte, ``b`` and ``bit`` are a bit; ``k M G T P E`` are powers of 1000,
``Ki Mi Gi Ti Pi`` powers of 1024. A unit in the wrong case is refused with the readings that it may
have, never guessed: half of the known bugs in this field's simulators are unit bugs. ``kb`` and
``kbps`` are refused although SI would read them as kilobits: they are the one abbreviation whose
correct case is also the careless one. ``Mb``, ``Mbps`` and ``Gb/s`` show that their writer minds
the case, and are read as bits.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from fedsim.errors import UnitError, nearest

__all__ = [
    "BYTES",
    "BYTES_PER_S",
    "FLOP",
    "FLOP_PER_S",
    "JOULES",
    "SECONDS",
    "WATTS",
    "Dimension",
    "format_bytes",
    "format_bytes_per_s",
    "format_flop",
    "format_flop_per_s",
    "format_joules",
    "format_seconds",
    "format_watts",
    "parse_bytes",
    "parse_bytes_per_s",
    "parse_flop",
    "parse_flop_per_s",
    "parse_joules",
    "parse_seconds",
    "parse_watts",
]

_DECIMAL = {"": Fraction(1)} | {
    prefix: Fraction(1000**power) for power, prefix in enumerate("kMGTPE", start=1)
}
_SMALL = {"u": Fraction(1, 1000**2), "m": Fraction(1, 1000)}
_BINARY = {f"{prefix}i": Fraction(1024**power) for power, prefix in enumerate("KMGTP", start=1)}
_BYTES_PER_BIT = Fraction(1, 8)

# `[0-9]` and not `\d`, which also takes digits of other scripts; editors read this text as well.
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_QUANTITY = re.compile(
    rf"\s*(?P<minus>-?)(?P<number>{_NUMBER}|(?i:nan|inf|infinity)\b)\s*(?P<unit>[^\s0-9].*?)?\s*"
)
# Far beyond any real quantity, and near enough that no typing mistake makes an integer of a million
# digits or a float that overflows.
_MAX_NUMBER_CHARACTERS = 40
_MAX_EXPONENT_DIGITS = 2


@dataclass(frozen=True, eq=False)
class Dimension:
    """The spellings of one physical quantity.

    Parameters
    ----------
    noun
        What the quantity is called in a message, with its article.
    example
        A well-written value, shown to whoever wrote something else.
    factors
        Preferred spelling of each unit, and how many base units it holds.
    ladder
        The units in which a value is printed, smallest first; the first is not always the base.
    aliases
        Further spellings that are accepted, and the preferred one of each.
    careless
        Spellings that are refused, each with one preferred spelling that it may stand for.
    """

    noun: str
    example: str
    factors: Mapping[str, Fraction]
    ladder: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    careless: tuple[tuple[str, str], ...] = ()

    @property
    def pattern(self) -> str:
        """Regular expression of a well-written value, in the dialect of JSON Schema."""
        spellings = "|".join(re.escape(spelling) for spelling in (*self.factors, *self.aliases))
        return rf"^\s*{_NUMBER}\s*(?:{spellings})\s*$"

    def parse(self, text: str) -> Fraction:
        """Read a quantity, exactly.

        Parameters
        ----------
        text
            A number and a unit; the space between them is optional.

        Returns
        -------
        fractions.Fraction
            Non-negative value in base units.

        Raises
        ------
        UnitError
            If the number or the unit is missing, not accepted, negative or not finite.
        """
        match = _QUANTITY.fullmatch(text)
        if match is None:
            raise UnitError(
                text, f"not {self.noun}; write a number and a unit, e.g. {self.example!r}."
            )
        number, unit = match["number"], match["unit"]
        if match["minus"]:
            raise UnitError(text, f"{self.noun} cannot be negative; write e.g. {self.example!r}.")
        if number.casefold() in {"nan", "inf", "infinity"}:
            raise UnitError(text, f"{self.noun} must be finite; write e.g. {self.example!r}.")
        if unit is None:
            fitting = f"{number} {self.example.split()[1]}"
            raise UnitError(text, f"a quantity needs a unit: write e.g. {fitting!r}.")
        exponent = number.casefold().partition("e")[2].lstrip("+-0")
        if len(number) > _MAX_NUMBER_CHARACTERS or len(exponent) > _MAX_EXPONENT_DIGITS:
            raise UnitError(text, f"out of range for {self.noun}; write e.g. {self.example!r}.")
        factor = self.factors.get(self.aliases.get(unit, unit))
        if factor is None:
            raise UnitError(text, self._refusal(number, unit))
        return Fraction(Decimal(number)) * factor

    def parse_whole(self, text: str) -> int:
        """Read a quantity that is counted, such as bytes.

        Parameters
        ----------
        text
            A number and a unit.

        Returns
        -------
        int
            Value in base units.

        Raises
        ------
        UnitError
            As in `parse`, or if rounding to a whole number moves the value by over 0.1 %.

        Notes
        -----
        ``'0.7 GiB'`` falls between two bytes and is rounded, since nobody means the fraction;
        ``'3 bit'`` would become 0 bytes, and is refused.
        """
        exact = self.parse(text)
        whole = round(exact)
        if abs(whole - exact) * 1000 > exact:
            value = f"{float(exact):g} {self.ladder[0]}"
            raise UnitError(text, f"comes to {value}; it must come to a whole number.")
        return whole

    def format(self, value: float | Fraction, ladder: tuple[str, ...] = ()) -> str:
        """Write a value with four significant digits; a small count is written exactly.

        Parameters
        ----------
        value
            Value in base units, of either sign (differences are printed too).
        ladder
            Units to choose from, smallest first; the dimension's own when empty.

        Returns
        -------
        str
            Number, space, unit.
        """
        units = ladder or self.ladder
        if not math.isfinite(value) or value == 0:
            small = (unit for unit in reversed(units) if self.factors[unit] <= 1)
            base = next(small, units[0])
            return f"{float(value):g} {base}"
        magnitude = abs(Fraction(value))
        unit = units[0]
        in_unit = magnitude / self.factors[unit]
        if in_unit.denominator == 1 and in_unit < 1000:
            number = str(in_unit)
        else:
            number = _four_digits(in_unit)
            for larger in units[1:]:
                # Compared after rounding, or 999,999 B would read '1000 kB'.
                if Fraction(number) * self.factors[unit] < self.factors[larger]:
                    break
                unit = larger
                number = _four_digits(magnitude / self.factors[unit])
        return f"{'-' if value < 0 else ''}{number} {unit}"

    def _refusal(self, number: str, unit: str) -> str:
        """Say why a unit is not accepted, and what to type."""
        names = [(name, name) for name in self.factors]
        spellings = [*self.careless, *self.aliases.items(), *names]
        readings = {
            name: self._gloss(number, name)
            for spelling, name in spellings
            if spelling.casefold() == unit.casefold()
        }
        choices = " or ".join(f"'{number} {name}'{gloss}" for name, gloss in readings.items())
        if len(readings) > 1:
            return f"unit case is ambiguous; write {choices}."
        if readings:
            return f"no unit is spelled {unit!r}; write {choices}."
        allowed = ", ".join(self.factors)
        # A single letter is near to everything: 'm' would be told to become 'ms', never 'min'.
        hint = nearest(unit, self.factors) if len(unit) > 1 else ""
        return f"{unit!r} is no unit of {self.noun}; use {allowed}.{hint}"

    def _gloss(self, number: str, unit: str) -> str:
        """Translate a reading whose size is not plain, e.g. `` (1.25 MB/s)`` for ``10 Mbit/s``."""
        if unit in self.ladder:
            return ""
        value, plain_unit = self.format(Fraction(Decimal(number)) * self.factors[unit]).split()
        return f" ({value.rstrip('0').rstrip('.') if '.' in value else value} {plain_unit})"


def _prefixed(prefixes: Mapping[str, Fraction], unit: str) -> dict[str, Fraction]:
    return {f"{prefix}{unit}": factor for prefix, factor in prefixes.items()}


def _per_second(units: Mapping[str, Fraction]) -> dict[str, Fraction]:
    return {f"{unit}/s": factor for unit, factor in units.items()}


_DATA_PREFIXES = _DECIMAL | _BINARY
_BITS = {unit: factor * _BYTES_PER_BIT for unit, factor in _prefixed(_DATA_PREFIXES, "bit").items()}
# A lone 'b' is accepted where a capital prefix, or no prefix, shows that case is minded.
_LONE_B = {f"{prefix}b": f"{prefix}bit" for prefix in _DECIMAL if prefix != "k"}
_CARELESS_B = (
    ("kb", "kbit"),
    ("kb", "kB"),
    ("kb", "KiB"),
    *((f"{prefix}b", f"{prefix}bit") for prefix in _BINARY),
)

BYTES = Dimension(
    noun="a size in bytes",
    example="16 GB",
    factors=_prefixed(_DATA_PREFIXES, "B") | _BITS,
    ladder=tuple(_prefixed(_DECIMAL, "B")),
    aliases=_LONE_B,
    careless=_CARELESS_B,
)
BYTES_PER_S = Dimension(
    noun="a data rate",
    example="10 Mbit/s",
    factors=_per_second(BYTES.factors),
    ladder=tuple(_per_second(_prefixed(_DECIMAL, "B"))),
    aliases={f"{spelling}/s": f"{unit}/s" for spelling, unit in _LONE_B.items()}
    | {f"{spelling}ps": f"{unit}/s" for spelling, unit in _LONE_B.items()}
    | {f"{prefix}Bps": f"{prefix}B/s" for prefix in _DATA_PREFIXES},
    careless=tuple(
        (f"{spelling}{per_second}", f"{unit}/s")
        for spelling, unit in _CARELESS_B
        for per_second in ("/s", "ps")
    ),
)
# Links are sold and printed in bits; only a refusal is explained in bytes.
_BIT_RATE_LADDER = tuple(_per_second(_prefixed(_DECIMAL, "bit")))

SECONDS = Dimension(
    noun="a duration",
    example="40 ms",
    factors={
        "ns": Fraction(1, 1000**3),
        "us": Fraction(1, 1000**2),
        "ms": Fraction(1, 1000),
        "s": Fraction(1),
        "min": Fraction(60),
        "h": Fraction(3600),
        "d": Fraction(86400),
    },
    ladder=("ns", "us", "ms", "s", "min", "h", "d"),
    # The micro sign and the Greek letter look alike and are different characters.
    aliases={"\u00b5s": "us", "\u03bcs": "us"},
)

FLOP = Dimension(
    noun="an amount of work in FLOP",
    example="2.09 TFLOP",
    factors=_prefixed(_DECIMAL, "FLOP"),
    ladder=tuple(_prefixed(_DECIMAL, "FLOP")),
    # 'FLOPS' is a count to one reader and a rate to the next, so it is neither here.
    careless=tuple((f"{prefix}FLOPs", f"{prefix}FLOP") for prefix in _DECIMAL),
)

FLOP_PER_S = Dimension(
    noun="a rate in FLOP/s",
    example="2.09 TFLOP/s",
    factors=_per_second(FLOP.factors),
    ladder=tuple(_per_second(FLOP.factors)),
    careless=tuple((f"{prefix}FLOPs", f"{prefix}FLOP/s") for prefix in _DECIMAL),
)

WATTS = Dimension(
    noun="a power",
    example="11 W",
    factors=_prefixed(_SMALL | _DECIMAL, "W"),
    ladder=tuple(_prefixed(_SMALL | _DECIMAL, "W")),
)

JOULES = Dimension(
    noun="an energy",
    example="3.5 kJ",
    factors=_prefixed(_SMALL | _DECIMAL, "J"),
    ladder=tuple(_prefixed(_SMALL | _DECIMAL, "J")),
)


def parse_bytes(text: str) -> int:
    """Read a size: ``'16 GB'``, ``'512 MiB'``, ``'8 bit'`` [bytes]."""
    return BYTES.parse_whole(text)


def parse_bytes_per_s(text: str) -> float:
    """Read a data rate: ``'10 Mbit/s'`` is 1.25e6 [bytes/s]."""
    return float(BYTES_PER_S.parse(text))


def parse_seconds(text: str) -> float:
    """Read a duration: ``'40 ms'``, ``'2 h'`` [s]."""
    return float(SECONDS.parse(text))


def parse_flop(text: str) -> int:
    """Read an amount of work: ``'46.3 TFLOP'`` [FLOP]."""
    return FLOP.parse_whole(text)


def parse_flop_per_s(text: str) -> float:
    """Read a compute rate: ``'2.09 TFLOP/s'`` [FLOP/s]."""
    return float(FLOP_PER_S.parse(text))


def parse_watts(text: str) -> float:
    """Read a power: ``'11 W'`` [W]."""
    return float(WATTS.parse(text))


def parse_joules(text: str) -> float:
    """Read an energy: ``'3.5 kJ'`` [J]."""
    return float(JOULES.parse(text))


def format_bytes(value_bytes: float) -> str:
    """Write a size: ``'1.416 MB'``, and exactly ``'77 B'`` below 1 kB."""
    return BYTES.format(value_bytes)


def format_bytes_per_s(value_bytes_per_s: float) -> str:
    """Write a data rate in bits, as links are sold: ``'10.00 Mbit/s'``."""
    return BYTES_PER_S.format(value_bytes_per_s, _BIT_RATE_LADDER)


def format_seconds(value_s: float) -> str:
    """Write a duration in the unit that suits it, from ``ns`` to ``d``: ``'1.500 min'``."""
    return SECONDS.format(value_s)


def format_flop(value_flop: float) -> str:
    """Write an amount of work: ``'46.30 TFLOP'``."""
    return FLOP.format(value_flop)


def format_flop_per_s(value_flop_per_s: float) -> str:
    """Write a compute rate: ``'2.090 TFLOP/s'``."""
    return FLOP_PER_S.format(value_flop_per_s)


def format_watts(value_w: float) -> str:
    """Write a power: ``'11.00 W'``."""
    return WATTS.format(value_w)


def format_joules(value_j: float) -> str:
    """Write an energy: ``'3.500 kJ'``."""
    return JOULES.format(value_j)


def _four_digits(value: Fraction) -> str:
    """Write a positive number with four significant digits, all of them if it is larger."""
    if value >= 10**300:
        # Beyond what a float holds in some unit: absurd, and to be shown all the same.
        digits = str(int(value))
        return f"{digits[0]}.{digits[1:4]}e+{len(digits) - 1}"
    return f"{float(value):#.4g}".rstrip(".") if value < 1000 else f"{float(value):.0f}"
