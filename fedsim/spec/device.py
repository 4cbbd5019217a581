"""A device as the time model sees it: seconds a unit of each kind of work, and how sure we are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp
from typing import Final, Literal

from fedsim.errors import ScenarioError
from fedsim.spec.memory_margin import UNMEASURED, MemoryMargins

__all__ = ["CODEC_FEATURES", "FEATURES", "FORMS", "REGIMES", "Z95", "DeviceSpec", "Form", "Regime"]

#: Kinds of work that take time, in the order of coefficient vectors; units in their names.
FEATURES: Final = (
    "linear_flop",
    "attention_flop",
    "head_flop",
    "lora_bytes",
    "moved_bytes",
    "weight_bytes",
    "parameter_bytes",
    "num_kernels",
    "num_parameter_kernels",
    "num_replaced_tensors",
    "num_calls",
    "packed_bytes",
    "unpacked_bytes",
    "num_packed_tensors",
    "num_unpacked_tensors",
    "num_messages",
    "copied_bytes",
    "encoded_bytes",
    "decoded_bytes",
    "num_codec_kernels",
)

#: How the parts of a step's time go together; see :func:`fedsim.cost.duration.combine`.
Form = Literal["additive", "roofline", "dispatch"]
FORMS: Final[tuple[Form, ...]] = ("additive", "roofline", "dispatch")

#: Kinds of steps that are predicted equally well: passes over the model; over parameters (averages,
#: replacements); messages written and read; what codecs make of tensors.
Regime = Literal["model", "parameters", "message", "codec"]
REGIMES: Final[tuple[Regime, ...]] = ("model", "parameters", "message", "codec")

#: Features that only writing and reading messages has; all others are of passes and averages.
_MESSAGE_FEATURES: Final = (
    "packed_bytes",
    "unpacked_bytes",
    "num_packed_tensors",
    "num_unpacked_tensors",
    "num_messages",
)

#: Features that only codecs have; the kinds of work whose measured price stands for theirs on a
#: device that was measured without any, the first that it has. A cast reads and writes as
#: elementwise work does.
CODEC_FEATURES: Final = ("encoded_bytes", "decoded_bytes", "num_codec_kernels")
_BYTES_LIKE: Final = ("moved_bytes", "parameter_bytes", "packed_bytes")
_KERNELS_LIKE: Final = ("num_parameter_kernels", "num_kernels", "num_packed_tensors")
#: The truth is within this factor of the estimate, as for devices that nobody measured.
_ESTIMATE_RATIO: Final = 2.0

#: 97.5 % quantile of the normal distribution: two-sided 95 % intervals.
Z95: Final = 1.959963984540054


@dataclass(frozen=True)
class DeviceSpec:
    """How fast a device is.

    Attributes
    ----------
    name : str
    seconds_per_unit : mapping
        Non-negative coefficient of each of :data:`FEATURES` [s per FLOP, s per B, s per operator].
    relative_sigma : float
        Standard deviation of the logarithm of measured over predicted time.
    form : {"additive", "roofline", "dispatch"}
        How the parts of a step's time go together.
    interval_95 : mapping
        Measured over predicted time at both ends of the 95 % interval, by regime; where a regime is
        absent, ``exp(-/+ 1.96 relative_sigma)``.
    memory_bytes : int or None
        What a training process may use; None where it is not known, and then nothing is refused.
    power_w : float or None
        Draw of the whole device while it computes [W]; None where it is not known.
    idle_power_w : float or None
        Draw while it waits [W]; None where it is not known.
    precision : str or None
        Arithmetic for which the coefficients hold, see :func:`fedsim.spec.dtype.precision_name`;
        None where they hold for any.
    precisions : tuple of str or None
        All arithmetic that the device's source has coefficients for; None where one's own figures
        stand for any.
    is_calibrated : bool
        False for a catalogue entry that nobody measured with fedsim; reports say so.
    source : str
        Where the figures come from.
    memory_margins : MemoryMargins
        How far measured peaks of memory were from predicted ones.
    warning : str
        Why its seconds must not be believed; empty where nothing is known against them.
    is_encoding_estimated : bool
        Whether nobody measured what codecs cost here: coefficients that are missing are those of
        elementwise work and of small operators.
    """

    name: str
    seconds_per_unit: Mapping[str, float] = field(hash=False)
    relative_sigma: float
    form: Form = "additive"
    interval_95: Mapping[Regime, tuple[float, float]] = field(default_factory=dict, hash=False)
    memory_bytes: int | None = None
    power_w: float | None = None
    idle_power_w: float | None = None
    precision: str | None = None
    precisions: tuple[str, ...] | None = None
    is_calibrated: bool = False
    source: str = ""
    memory_margins: MemoryMargins = UNMEASURED
    warning: str = ""
    is_encoding_estimated: bool = False

    def __post_init__(self) -> None:
        unknown = set(self.seconds_per_unit) - set(FEATURES)
        if unknown:
            raise ScenarioError(
                f"device '{self.name}': unknown coefficients {sorted(unknown)}; "
                f"allowed: {', '.join(FEATURES)}."
            )
        for feature, value in self.seconds_per_unit.items():
            if not 0 <= value < float("inf"):
                raise ScenarioError(
                    f"device '{self.name}': coefficient {feature} = {value}; "
                    "allowed: a finite number of seconds, 0 or more."
                )
        if not 0 <= self.relative_sigma < 10:
            raise ScenarioError(
                f"device '{self.name}': relative_sigma = {self.relative_sigma}; allowed: 0 to 10."
            )
        for regime, (low, high) in self.interval_95.items():
            if not 0 < low <= high < float("inf"):
                raise ScenarioError(
                    f"device '{self.name}': interval_95 of {regime} = ({low}, {high}); allowed: "
                    "two positive ratios, the smaller first."
                )
        missing = [name for name in CODEC_FEATURES if name not in self.seconds_per_unit]
        if missing:
            prices = {name: self._estimate(name) for name in missing}
            object.__setattr__(self, "seconds_per_unit", {**self.seconds_per_unit, **prices})
            object.__setattr__(self, "is_encoding_estimated", True)

    def _estimate(self, feature: str) -> float:
        """A price of a codec's work from one that the device has; 0 where it has none at all."""
        like = _BYTES_LIKE if feature.endswith("_bytes") else _KERNELS_LIKE
        found = (self.seconds_per_unit.get(name, 0.0) for name in like)
        return next((price for price in found if price > 0), 0.0)

    def ratios_95(self, regime: Regime) -> tuple[float, float]:
        """Measured over predicted time at both ends of the 95 % interval."""
        known = self.interval_95.get(regime)
        if known is not None:
            return known
        if regime == "codec" and self.is_encoding_estimated:
            # No better than what a data sheet says, and no better than what was measured beside it.
            low, high = self.ratios_95("message")
            return min(low, 1 / _ESTIMATE_RATIO), max(high, _ESTIMATE_RATIO)
        factor = exp(Z95 * self.relative_sigma)
        return 1 / factor, factor

    def at_end(self, end: int) -> DeviceSpec:
        """The same device at one end of its 95 % interval.

        Parameters
        ----------
        end : int
            0 for the least time, 1 for the most.

        Notes
        -----
        Averages and replacements move with passes over the model: the two share kinds of work, and
        on every measured device the former are a thousandth of a round.
        """
        model = self.ratios_95("model")[end]
        ratios = dict.fromkeys(FEATURES, model)
        ratios |= dict.fromkeys(_MESSAGE_FEATURES, self.ratios_95("message")[end])
        ratios |= dict.fromkeys(CODEC_FEATURES, self.ratios_95("codec")[end])
        seconds = {name: value * ratios[name] for name, value in self.seconds_per_unit.items()}
        return replace(self, seconds_per_unit=seconds)
