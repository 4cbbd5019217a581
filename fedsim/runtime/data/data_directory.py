"""Where the user's data sets lie.

Decides the order in which the places are asked: the argument (``--data-dir``), then the
environment. Refuses to guess a place: data sets are no part of the package.
"""

import os
from pathlib import Path

from fedsim.errors import ScenarioError

DATA_DIR_VARIABLE = "FEDSIM_DATA_DIR"
WAYS_TO_GIVE_DATA = (
    f"pass --data-dir DIR, or set {DATA_DIR_VARIABLE}=DIR, "
    "or use data that fedsim makes itself with --data generated"
)


def data_directory(data_dir: Path | None = None) -> Path:
    """Folder that holds the data sets, one folder each.

    Parameters
    ----------
    data_dir
        The user's own choice; ``None`` asks the environment variable ``FEDSIM_DATA_DIR``.

    Returns
    -------
    Path
        An existing folder.

    Raises
    ------
    ScenarioError
        If neither names a folder, or the one named does not exist.
    """
    from_environment = os.environ.get(DATA_DIR_VARIABLE, "")
    if data_dir is None and not from_environment:
        raise ScenarioError(
            "no data directory: neither --data-dir nor the environment variable "
            f"{DATA_DIR_VARIABLE} is set; {WAYS_TO_GIVE_DATA}"
        )
    folder = Path(from_environment) if data_dir is None else data_dir
    named_by = DATA_DIR_VARIABLE if data_dir is None else "--data-dir"
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise ScenarioError(
            f"{named_by} = '{folder}': {found}; allowed is a folder that holds "
            f"one folder a data set, for example banking77/; {WAYS_TO_GIVE_DATA}"
        )
    return folder
