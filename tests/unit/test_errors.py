"""Errors say who must act, and near misses are suggested."""

import pickle

import pytest

from fedsim import errors
from fedsim.errors import FedsimError, ScenarioError, UnitError, nearest


@pytest.mark.parametrize(
    "name", ["AgreementError", "CalibrationError", "ProtocolError", "ScenarioError", "UnitError"]
)
def test_every_error_is_a_fedsim_error(name: str) -> None:
    """Whoever catches FedsimError catches everything that fedsim raises on purpose."""
    assert issubclass(getattr(errors, name), FedsimError)


def test_a_unit_error_is_the_users_to_mend() -> None:
    """A wrong unit is a wrong scenario, so it leads to the same exit code."""
    assert issubclass(UnitError, ScenarioError)


def test_a_unit_error_names_what_was_found_and_why_it_is_refused() -> None:
    """The text joins the user's value and the reason; each is also available alone."""
    error = UnitError("10 mbps", "unit case is ambiguous.")

    assert str(error) == "'10 mbps': unit case is ambiguous."
    assert (error.found, error.reason) == ("10 mbps", "unit case is ambiguous.")


def test_a_unit_error_survives_a_process_boundary() -> None:
    """A worker's error arrives whole in the process that waits for it."""
    error = pickle.loads(pickle.dumps(UnitError("10 mbps", "unit case is ambiguous.")))

    assert (error.found, error.reason) == ("10 mbps", "unit case is ambiguous.")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("gpt-2", " Did you mean 'gpt2'?"),
        ("GPT2", " Did you mean 'gpt2'?"),
        ("fedlm", " Did you mean 'FedLLM'?"),
        ("mamba", ""),
    ],
)
def test_nearest_suggests_a_name_only_when_one_is_near(word: str, expected: str) -> None:
    """A slip of spelling or of case is recognized; a stranger's name suggests nothing."""
    assert nearest(word, ["gpt2", "FedLLM"]) == expected


def test_nearest_suggests_nothing_when_nothing_is_allowed() -> None:
    """An empty vocabulary has no nearest word."""
    assert nearest("gpt2", []) == ""
