"""A device as the time model sees it: seconds a unit of each kind of work, and how sure we are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp
from typing import Final, Literal

from fedsim.errors import ScenarioError
from fedsim.spec.memory_margin import UNMEASURED, MemoryMargins

__all__ = ["FEATURES", "FORMS", "REGIMES", "Z95", "DeviceSpec", "Form", "Regime"]

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
)

#: How the parts of a step's time go together; see :func:`fedsim.cost.duration.combine`.
Form = Literal["additive", "roofline", "dispatch"]
FORMS: Final[tuple[Form, ...]] = ("additive", "roofline", "dispatch")

#: Kinds of steps that are predicted equally well: passes over the model; over parameters (averages,
#: replacements); messages written and read.
Regime = Literal["model", "parameters", "message"]
REGIMES: Final[tuple[Regime, ...]] = ("model", "parameters", "message")

#: Features that only writing and reading messages has; all others are of passes and averages.
_MESSAGE_FEATURES: Final = (
    "packed_bytes",
    "unpacked_bytes",
    "num_packed_tensors",
    "num_unpacked_tensors",
    "num_messages",
)

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

    def ratios_95(self, regime: Regime) -> tuple[float, float]:
        """Measured over predicted time at both ends of the 95 % interval."""
        known = self.interval_95.get(regime)
        if known is not None:
            return known
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
        model, message = self.ratios_95("model")[end], self.ratios_95("message")[end]
        seconds = {
            name: value * (message if name in _MESSAGE_FEATURES else model)
            for name, value in self.seconds_per_unit.items()
        }
        return replace(self, seconds_per_unit=seconds)
