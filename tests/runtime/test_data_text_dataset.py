"""Laws of the value that holds texts and labels."""

import pytest

from fedsim.errors import ScenarioError
from fedsim.runtime.data import TextDataset


def test_one_label_for_each_text_is_accepted() -> None:
    """A data set counts its rows and the labels that exist, used or not."""
    dataset = TextDataset("d", ("a", "b"), (0, 0), ("yes", "no"))
    assert (dataset.num_rows, dataset.num_labels) == (2, 2)


def test_texts_without_labels_are_language_modeling_data() -> None:
    """A data set without labels is accepted and has no label names."""
    assert TextDataset("d", ("a", "b"), (), ()).num_labels == 0


def test_both_mistakes_of_a_data_set_are_reported_at_once() -> None:
    """A missing label and a label without a name appear in one message, with their numbers."""
    with pytest.raises(ScenarioError) as caught:
        TextDataset("d", ("a", "b", "c"), (0, 5), ("yes", "no"))
    assert str(caught.value).splitlines() == [
        "data set 'd': 2 labels for 3 texts; give one label for each text, or none for pure "
        "language modeling",
        "data set 'd': labels [5] have no name; 2 names are given, so labels run from 0 to 1",
    ]
