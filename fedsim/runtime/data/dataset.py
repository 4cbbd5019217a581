"""The front door: a data set by the name of its source.

Decides which sources there are. Refuses to choose one: a source that fails is an error, never a
silent change to another.
"""

from pathlib import Path
from typing import assert_never

from fedsim.errors import ScenarioError, nearest
from fedsim.runtime.data.banking77 import load_banking77, load_banking77_from_hub
from fedsim.runtime.data.clinc150 import load_clinc150
from fedsim.runtime.data.data_directory import WAYS_TO_GIVE_DATA, data_directory
from fedsim.runtime.data.generated import generated_intents
from fedsim.runtime.data.language_texts import load_e2e, load_wikitext2
from fedsim.runtime.data.own_texts import dataset_name, load_own_texts
from fedsim.runtime.data.text_dataset import TextDataset
from fedsim.spec.dataset import DATA_SOURCES, DataSource, OwnTexts, TextSource

__all__ = [
    "DATA_SOURCES",
    "DataSource",
    "TextDataset",
    "check_dataset",
    "data_source",
    "generated_intents",
    "load_banking77",
    "load_banking77_from_hub",
    "load_clinc150",
    "load_dataset",
    "load_e2e",
    "load_wikitext2",
]


def load_dataset(  # noqa: PLR0911  one for each source
    source: TextSource,
    data_dir: Path | None = None,
    seed: int = 0,
    *,
    num_train: int = 600,
    num_test: int = 200,
    num_labels: int = 8,
) -> tuple[TextDataset, TextDataset]:
    """Training and test set from the source that the user named.

    Parameters
    ----------
    source
        ``"banking77"``, ``"clinc150"``, ``"e2e"``, ``"wikitext2"`` (from a folder),
        ``"banking77-hub"`` (downloaded), ``"generated"``, or a CSV file of one's own.
    data_dir
        Folder of data sets; ``None`` asks ``FEDSIM_DATA_DIR``.
    seed
        Of generated texts, and of the test rows that are held out of a file of one's own.
    num_train, num_test, num_labels
        Read by ``"generated"`` only; published data are never subsampled here.

    Returns
    -------
    tuple of TextDataset
        Training set and test set.

    Raises
    ------
    ScenarioError
        If the source is unknown, or cannot be loaded.
    """
    known = source if isinstance(source, OwnTexts) else data_source(source)
    match known:
        case OwnTexts():
            return load_own_texts(known, seed)
        case "banking77":
            return load_banking77(data_dir)
        case "banking77-hub":
            return load_banking77_from_hub()
        case "clinc150":
            return load_clinc150(data_dir)
        case "e2e":
            return load_e2e(data_dir)
        case "wikitext2":
            return load_wikitext2(data_dir)
        case "generated":
            return generated_intents(num_train, num_test, num_labels, seed)
        case _:
            assert_never(known)


def check_dataset(source: TextSource, data_dir: Path | None = None) -> None:
    """See that a source's folder or file is there, ahead of everything that takes time.

    Raises
    ------
    ScenarioError
        If the source is unknown, or its folder or file is missing.
    """
    if isinstance(source, OwnTexts):
        dataset_name(source)
        return
    known = data_source(source)
    if known in ("generated", "banking77-hub"):
        return
    folder = data_directory(data_dir) / known
    if not folder.is_dir():
        raise ScenarioError(f"'{folder}': no such folder; {known} needs it; {WAYS_TO_GIVE_DATA}")


def data_source(name: str) -> DataSource:
    """The source of that name.

    Parameters
    ----------
    name
        What the user typed.

    Raises
    ------
    ScenarioError
        If there is no such source; the nearest name is suggested.
    """
    for source in DATA_SOURCES:
        if source == name:
            return source
    raise ScenarioError(
        f"data = '{name}': no such data source; allowed are {', '.join(DATA_SOURCES)}."
        f"{nearest(name, DATA_SOURCES)}"
    )
