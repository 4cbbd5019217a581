"""The exact and the fitted never mix: a profile changes seconds and nothing else."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.calibration.profile import write_profile
from fedsim.calibration.profile_file import ProfileFile
from fedsim.scenario import run_scenario
from fedsim.spec.device import FEATURES, FORMS
from profiles import MEASUREMENTS, profile_content
from scenarios import changed, written

coefficients = st.lists(
    st.floats(0, 1e-6, allow_subnormal=False), min_size=len(FEATURES), max_size=len(FEATURES)
)


def counts(table: Any, counted: bool = False) -> Any:
    """Every byte and FLOP of an answer, by its place; times, rates and words are left out."""
    if isinstance(table, dict):
        below = {
            key: counts(value, counted or "bytes" in key or "flop" in key)
            for key, value in table.items()
            if "per_s" not in key
        }
        return {key: value for key, value in below.items() if value not in ({}, [], None)}
    if isinstance(table, list):
        return [value for value in (counts(entry, counted) for entry in table) if value != {}]
    return table if counted else {}


def answer(folder: Path, rates: list[float], form: str) -> dict[str, Any]:
    """The answer with a profile of these coefficients."""
    content = profile_content()
    content["fit"]["float32"]["seconds_per_unit"] = dict(zip(FEATURES, rates, strict=True))
    content["fit"]["float32"]["form"] = form
    write_profile(folder / "mine", ProfileFile.model_validate(content), MEASUREMENTS)
    table = changed(profile="mine", device="profile", server={"device": "profile"})
    return run_scenario(written(folder, table)).table


@settings(max_examples=25)
@given(coefficients, st.sampled_from(FORMS))
def test_a_profile_never_changes_a_byte_or_a_flop(rates: list[float], form: str) -> None:
    """Whatever the coefficients and the form, every count is the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = answer(folder, [1e-9] * len(FEATURES), "additive")
        other = answer(folder, rates, form)
    assert counts(one["results"]) == counts(other["results"])
    found = str(counts(one["results"]))
    assert all(name in found for name in ("uplink_message_bytes", "client_flop"))
