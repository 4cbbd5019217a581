"""A device as the time model sees it: seconds a unit of each kind of work, and how sure we are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fedsim.errors import ScenarioError

__all__ = ["FEATURES", "DeviceSpec"]

#: Kinds of work that take time, in the order of coefficient vectors; units in their names.
FEATURES: Final = (
    "linear_flop",
    "attention_flop",
    "head_flop",
    "lora_bytes",
    "moved_bytes",
    "parameter_bytes",
    "num_kernels",
    "num_parameter_kernels",
    "num_calls",
)


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
    memory_bytes : int or None
        What a training process may use; None where it is not known, and then nothing is refused.
    power_w : float or None
        Draw of the whole device while it computes [W]; None where it is not known.
    compute_dtype : str or None
        Format of activations for which the coefficients hold; None where they hold for any.
    is_calibrated : bool
        False for a catalogue entry that nobody measured with fedsim; reports say so.
    source : str
        Where the figures come from.
    """

    name: str
    seconds_per_unit: Mapping[str, float] = field(hash=False)
    relative_sigma: float
    memory_bytes: int | None = None
    power_w: float | None = None
    compute_dtype: str | None = None
    is_calibrated: bool = False
    source: str = ""

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
