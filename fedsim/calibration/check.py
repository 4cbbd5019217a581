"""Whether a profile still holds on the machine that it was measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from fedsim.calibration.profile_file import Machine, ProfileFile

__all__ = ["Check", "SentinelCheck", "judge_sentinels", "other_machine"]

Verdict = Literal["holds", "warns", "refuses"]

_SMALLEST: Final = 0.05


@dataclass(frozen=True)
class SentinelCheck:
    """One sentinel now against then.

    Attributes
    ----------
    name : str
    then_s, now_s : float
        [s]
    allowed : float
        ``max(5 %, 2 x noise)``: beyond it is a warning, beyond twice that a refusal.
    """

    name: str
    then_s: float
    now_s: float
    allowed: float

    @property
    def drift(self) -> float:
        """Now over then, minus 1."""
        return self.now_s / self.then_s - 1

    @property
    def verdict(self) -> Verdict:
        """What the drift means."""
        if abs(self.drift) <= self.allowed:
            return "holds"
        return "warns" if abs(self.drift) <= 2 * self.allowed else "refuses"


@dataclass(frozen=True)
class Check:
    """A profile against the machine of now.

    Attributes
    ----------
    sentinels : tuple of SentinelCheck
    differences : tuple of str
        What of machine and software is not what was measured; the first word names it.
    is_other_device : bool
        Whether another device, or another number of threads, was measured: never the same profile.
    """

    sentinels: tuple[SentinelCheck, ...]
    differences: tuple[str, ...]
    is_other_device: bool

    @property
    def verdict(self) -> Verdict:
        """The worst of all; other software alone warns."""
        found = {sentinel.verdict for sentinel in self.sentinels}
        if self.is_other_device or "refuses" in found:
            return "refuses"
        return "warns" if "warns" in found or self.differences else "holds"


def judge_sentinels(file: ProfileFile, now_s: Mapping[str, float]) -> tuple[SentinelCheck, ...]:
    """Each sentinel's time against the profile's, relative to the profile's own noise."""
    return tuple(
        SentinelCheck(name, then.seconds, now_s[name], max(_SMALLEST, 2 * then.noise))
        for name, then in file.sentinel.items()
        if name in now_s
    )


def other_machine(
    file: ProfileFile, machine: Machine, versions: Mapping[str, str]
) -> tuple[tuple[str, ...], bool]:
    """Differences between what was measured and what is here, and whether it is another device."""
    differences = []
    is_other = False
    for field in ("device", "processor", "num_threads"):
        then, now = getattr(file.machine, field), getattr(machine, field)
        if then != now:
            differences.append(f"{field}: measured on {then}, this is {now}")
            is_other = True
    for name, now in versions.items():
        then = getattr(file.provenance, name)
        if then != now:
            differences.append(f"{name}: measured with {then}, this is {now}")
    return tuple(differences), is_other
