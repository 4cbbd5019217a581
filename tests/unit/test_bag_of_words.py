"""The baseline under every accuracy on Banking77 is what its script measures."""

import importlib.util
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("sklearn")

from fedsim.runtime.data import generated_intents, load_banking77
from training_file import needs_published_data

FOLDER = Path(__file__).parents[2] / "calibrate" / "baselines"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("bag_of_words", FOLDER / "bag_of_words.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["bag_of_words"] = loaded  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded


def test_words_alone_tell_intents_apart(script: ModuleType) -> None:
    """Generated texts of eight intents: nearly all right, the same every time; rows counted."""
    train, test = generated_intents(400, 200, 8, seed=0)

    found = script.measured(train, test, script.chosen_c(train))

    assert found.accuracy > 0.95
    assert (found.num_train, found.num_test) == (400, 200)
    assert found == script.measured(train, test, found.c)


def test_labels_that_have_nothing_to_do_with_words_are_not_learned(script: ModuleType) -> None:
    """Negative control: labels in another order bring no more than chance, which is an eighth."""
    train, test = generated_intents(400, 200, 8, seed=0)
    shuffled = np.random.default_rng(0).permutation(train.labels).tolist()

    found = script.measured(replace(train, labels=tuple(shuffled)), test, 1.0)

    assert found.accuracy < 0.3


def test_the_record_says_how_it_was_made(script: ModuleType) -> None:
    """The committed file has the fields that a page quotes, and names its own command."""
    record = tomllib.loads((FOLDER / "banking77.toml").read_text(encoding="utf-8"))

    assert record["num_train"] == 3 * 1667
    assert record["num_test"] == 3080
    assert "bag_of_words.py" in record["command"]
    assert record["versions"]["scikit-learn"]
    assert script.__doc__ is not None
    assert record["command"].split(" --data-dir")[0] in script.__doc__


@pytest.mark.parametrize("page", ["docs/case_study.md", "calibrate/baselines/README.md"])
def test_pages_quote_the_committed_accuracy(page: str) -> None:
    """To the digit that they show."""
    record = tomllib.loads((FOLDER / "banking77.toml").read_text(encoding="utf-8"))
    text = (FOLDER.parents[1] / page).read_text(encoding="utf-8")

    assert f"{100 * record['accuracy']:.1f} %" in text


@needs_published_data
def test_the_committed_accuracy_is_measured_again(script: ModuleType) -> None:
    """To a tenth of a point: another linear algebra library may turn a text or two."""
    record = tomllib.loads((FOLDER / "banking77.toml").read_text(encoding="utf-8"))
    train, test = load_banking77()

    found = script.measured(script.study_rows(train), test, record["c"])

    assert found.accuracy == pytest.approx(record["accuracy"], abs=1e-3)
    assert found.num_words == record["num_words"]
