"""The profile that a verification predicts seconds with, and how fast its machine is now."""

from __future__ import annotations

from typing import Final

from fedsim.calibration.profile import Profile, find_profile, load_profile, profile_names
from fedsim.errors import ScenarioError

__all__ = ["sentinel_ratios", "verification_profile"]

#: Predicts seconds on a CPU where the user names no profile; the report says whose it is.
_SHIPPED: Final = "cpu-2-threads"


def verification_profile(name: str | None, timed_rounds: int, device: str) -> Profile | None:
    """The profile of a name; without one, on a CPU, the shipped one; None where nothing is timed.

    Raises
    ------
    ScenarioError
        If a profile is named and no round is timed.
    CalibrationError
        If there is no such profile, or it is damaged.
    """
    if name is not None:
        known = load_profile(find_profile(name))
        if timed_rounds == 0:
            raise ScenarioError("--profile predicts seconds and --timed-rounds 0 measures none.")
        return known
    if device == "cpu" and timed_rounds and _SHIPPED in profile_names():
        return load_profile(find_profile(_SHIPPED))
    return None


def sentinel_ratios(profile: Profile, device: str) -> dict[str, float]:
    """Each sentinel's time now over the profile's, with the threads that the rounds will have."""
    from fedsim.calibration.check import judge_sentinels
    from fedsim.calibration.sentinel import sentinels_now
    from fedsim.runtime.device import torch_device

    now = sentinels_now(torch_device(device))
    return {one.name: one.now_s / one.then_s for one in judge_sentinels(profile.file, now)}
