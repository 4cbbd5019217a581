"""Labeled texts as a value.

Decides the shape that every loader returns: texts, integer labels and the labels' names. Refuses
to know where the texts come from, how they become tokens and which client holds them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fedsim.errors import ScenarioError


@dataclass(frozen=True)
class TextDataset:
    """Texts in a fixed order, with one label each or with none at all.

    Parameters
    ----------
    name
        What messages and results call the data set, for example ``"banking77/train"``.
    texts
        One text a row, unchanged from the source (line ends included).
    labels
        One index into `label_names` a row; empty for pure language modeling.
    label_names
        The labels' names; empty for pure language modeling.

    Raises
    ------
    ScenarioError
        If the labels are neither absent nor one for each text, or one of them has no name.
    """

    name: str
    texts: tuple[str, ...]
    labels: tuple[int, ...]
    label_names: tuple[str, ...]

    def __post_init__(self) -> None:
        mistakes = tuple(self._mistakes())
        if mistakes:
            raise ScenarioError("\n".join(mistakes))

    @property
    def num_rows(self) -> int:
        """Number of texts."""
        return len(self.texts)

    @property
    def num_labels(self) -> int:
        """Number of labels that exist, whether or not a row has them."""
        return len(self.label_names)

    def _mistakes(self) -> Iterator[str]:
        if self.labels and len(self.labels) != len(self.texts):
            yield (
                f"data set '{self.name}': {len(self.labels)} labels for {len(self.texts)} texts; "
                "give one label for each text, or none for pure language modeling"
            )
        unnamed = sorted({label for label in self.labels if not 0 <= label < self.num_labels})
        if unnamed:
            yield (
                f"data set '{self.name}': labels {unnamed} have no name; "
                f"{self.num_labels} names are given, so labels run from 0 to {self.num_labels - 1}"
            )
