"""Laws of the front door to the data sets."""

from pathlib import Path

import pytest

from fedsim.errors import ScenarioError
from fedsim.runtime.data import dataset, generated_intents, load_dataset


def test_generated_data_need_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generated source works without a data directory and passes its numbers on."""
    monkeypatch.delenv("FEDSIM_DATA_DIR", raising=False)
    loaded = load_dataset("generated", seed=7, num_train=30, num_test=10, num_labels=3)
    assert generated_intents(30, 10, 3, seed=7) == loaded


def test_banking77_comes_from_the_named_folder(tmp_path: Path) -> None:
    """The folder source looks into the data directory that it is given."""
    with pytest.raises(ScenarioError, match="banking77': no such folder"):
        load_dataset("banking77", data_dir=tmp_path)


def test_the_hub_is_asked_only_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub source calls the hub's loader and hands its answer on."""
    answer = generated_intents(4, 4, 2, seed=0)
    monkeypatch.setattr(dataset, "load_banking77_from_hub", lambda: answer)
    assert answer is load_dataset("banking77-hub")


def test_an_unknown_source_is_answered_with_the_nearest_one() -> None:
    """A misspelled source is an error that lists all sources and suggests one."""
    with pytest.raises(ScenarioError) as caught:
        load_dataset("banking")
    assert str(caught.value) == (
        "data = 'banking': no such data source; allowed are banking77, banking77-hub, "
        "clinc150, e2e, wikitext2, generated."
        " Did you mean 'banking77'?"
    )
