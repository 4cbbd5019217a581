"""A profile that no longer holds is refused, one that drifted a little is warned of."""

import pytest

from fedsim.calibration.check import Check, judge_sentinels, other_machine
from fedsim.calibration.profile_file import ProfileFile
from profiles import profile_content

FILE = ProfileFile.model_validate(profile_content())
NAMES = ("product", "stream", "dispatch")


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.0, "holds"), (1.049, "holds"), (0.96, "holds"), (1.08, "warns"), (1.2, "refuses")],
)
def test_drift_is_judged_against_the_noise(factor: float, verdict: str) -> None:
    """Beyond 5 % (the noise is 1 %) is a warning, beyond 10 % a refusal."""
    found = judge_sentinels(FILE, dict.fromkeys(NAMES, 1e-3 * factor))
    assert Check(found, (), is_other_device=False).verdict == verdict


def test_one_drifted_sentinel_is_enough() -> None:
    """The worst of the sentinels decides."""
    found = judge_sentinels(FILE, {"product": 1e-3, "stream": 1.3e-3, "dispatch": 1e-3})
    assert Check(found, (), is_other_device=False).verdict == "refuses"


def test_a_noisy_machine_is_allowed_more() -> None:
    """Twice the noise that the profile knew is no drift."""
    content = profile_content()
    content["sentinel"]["product"]["noise"] = 0.1
    found = judge_sentinels(ProfileFile.model_validate(content), dict.fromkeys(NAMES, 1.15e-3))
    assert {one.name: one.verdict for one in found}["product"] == "holds"
    assert {one.name: one.verdict for one in found}["stream"] == "refuses"


def test_another_device_is_never_the_same_profile() -> None:
    """Other threads or another processor refuse; other software warns."""
    same = {name: getattr(FILE.provenance, name) for name in ("python", "torch")}
    assert other_machine(FILE, FILE.machine, same) == ((), False)
    other = FILE.machine.model_copy(update={"num_threads": 8})
    differences, is_other = other_machine(FILE, other, same)
    assert is_other
    assert "num_threads: measured on 2, this is 8" in differences
    differences, is_other = other_machine(FILE, FILE.machine, {**same, "torch": "9"})
    assert (len(differences), is_other) == (1, False)
    now = judge_sentinels(FILE, dict.fromkeys(NAMES, 1e-3))
    assert Check(now, differences, is_other).verdict == "warns"
    assert Check(now, (), is_other_device=True).verdict == "refuses"
