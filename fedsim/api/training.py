"""``fedsim.train``: a real training run and its learning curves, for a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fedsim.api.notebook import as_html
from fedsim.api.table import Column, Kind, Table, at
from fedsim.units import format_bytes

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Training", "train"]

#: Of a line of metrics, by their paths.
_COLUMNS: Final[tuple[tuple[str, Kind], ...]] = (
    ("seed", "integer"),
    ("round", "integer"),
    ("train_loss", "number"),
    ("distillation_loss", "number"),
    ("global.loss", "number"),
    ("global.accuracy", "number"),
    ("float32_loss", "number"),
    ("mean_client_accuracy", "number"),
    ("uplink_payload_bytes", "integer"),
    ("downlink_payload_bytes", "integer"),
    ("uplink_message_bytes", "integer"),
    ("downlink_message_bytes", "integer"),
    ("client_flop", "integer"),
    ("server_flop", "integer"),
    ("flop_is_metered", "flag"),
    ("evaluation_flop", "integer"),
    ("evaluation_samples", "integer"),
    ("compute_s", "number"),
    ("transfer_s", "number"),
    ("evaluation_s", "number"),
)


def train(
    source: str | PathLike[str] | Mapping[str, Any],
    output: str | PathLike[str],
    *,
    case: str | None = None,
    set: Mapping[str, Any] | None = None,
    data_dir: str | PathLike[str] | None = None,
    fresh: bool = False,
    progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> Training:
    """Train a framework for real, or go on with what a folder holds, as ``fedsim train`` does.

    Needs the extra ``runtime`` (torch, transformers, peft). Does not ask before a long run.

    Parameters
    ----------
    source : str, path or mapping
        A scenario file with ``[data]``; the name of a scenario that ships; or a mapping with the
        tables that a file would have, in which relative paths start at the current folder.
    output : str or path
        Folder for metrics, ledger, summary and checkpoints. A run that was interrupted there goes
        on, and ends with the same bits.
    case : str, optional
        Name of the case to train; the only one without it.
    set : mapping, optional
        Keys with the values that they get instead of the file's: ``{"train.seeds": [0, 1]}``.
    data_dir : str or path, optional
        Folder of data sets; without it, the environment's ``FEDSIM_DATA_DIR``.
    fresh : bool
        Replace what the folder holds.
    progress : callable, optional
        Told each round's line of metrics as soon as it is on disk.

    Returns
    -------
    Training

    Raises
    ------
    ScenarioError
        With a line for every mistake; if the folder holds another run, the memory does not suffice
        or torch is not installed.
    TrainingError
        If training diverges; the last good checkpoint stays.
    AgreementError
        If a round's counts are not those of the formulas.
    """
    from fedsim.runtime.needs_runtime import check_runtime
    from fedsim.runtime.threads import set_thread_policy
    from fedsim.training.file import read_training

    check_runtime()
    given = source if isinstance(source, Mapping) else fspath(source)
    folder = Path(output)
    data = None if data_dir is None else Path(data_dir)
    # What is missing is said ahead of torch, whose import takes seconds.
    document = read_training(given, set or {}, case)
    document.check_data(data)
    set_thread_policy()
    from fedsim.runtime.free_memory import free_memory
    from fedsim.training.expected import check_memory, expected_memory
    from fedsim.training.folder import RunFolder
    from fedsim.training.run import run_training
    from fedsim.training.setup import TrainingSetup

    setup = TrainingSetup(document, data)
    run_folder = RunFolder(folder, document)
    if run_folder.num_rounds_left(is_fresh=fresh):
        check_memory(document.name, expected_memory(setup), free_memory(setup.device))
    observer = _Observer(progress)
    command = f"fedsim.train({document.name!r}, {str(folder)!r})"
    summary = run_training(setup, folder, observer, is_fresh=fresh, command=command)
    seeds = document.seeds
    records = [record for record in run_folder.metrics.read() if record["seed"] in seeds]
    records.sort(key=lambda record: (seeds.index(record["seed"]), record["round"]))
    return Training(summary, folder, tuple(records), tuple(observer.notes))


class _Observer:
    """Hears a run for whoever called it."""

    def __init__(self, progress: Callable[[Mapping[str, Any]], None] | None) -> None:
        self.progress = progress
        self.notes: list[str] = []

    def on_start(self, seed: int, num_done: int) -> None:
        """A seed begins."""

    def on_step(self, round_index: int, party: str, step: str) -> None:
        """A step is done."""

    def on_round(self, record: Mapping[str, Any]) -> None:
        """A round is on disk."""
        if self.progress is not None:
            self.progress(record)

    def on_note(self, text: str) -> None:
        """Something the user should read."""
        self.notes.append(text)


@dataclass(frozen=True)
class Training:
    """A finished training run.

    Attributes
    ----------
    summary : dict
        As in ``summary.json``: configuration, machine, versions, and of each seed the final and
        best figures, totals and the curve.
    folder : Path
        Where its files are.
    records : tuple of mapping
        The lines of ``metrics.jsonl``: seed by seed, round 0 being the set-up.
    notes : tuple of str
        What happened on the way that a user should know: a damaged checkpoint, passed over.
    """

    summary: dict[str, Any] = field(repr=False)
    folder: Path
    records: tuple[Mapping[str, Any], ...] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def predicted_and_measured(self) -> dict[int, Mapping[str, Any]]:
        """By seed: bytes, FLOP, seconds and accuracy that the file predicted, and those measured.

        As in the summary. What was not predicted is None, with the reason.
        """
        return {run["seed"]: run["predicted_and_measured"] for run in self.summary["runs"]}

    def to_pandas(self) -> pd.DataFrame:
        """One row a seed and round.

        A column is called like its path in a line of ``metrics.jsonl``. What was not measured in a
        round is NA.

        Raises
        ------
        ScenarioError
            If pandas is not installed.
        """
        return self._columns().to_pandas()

    def to_arrow(self) -> pa.Table:
        """The table of :meth:`to_pandas` as a ``pyarrow.Table``."""
        return self._columns().to_arrow()

    def show(self) -> None:
        """Print the command's report."""
        from fedsim.report.console import show
        from fedsim.report.run.training import training_report

        show(training_report(self.summary))

    def __str__(self) -> str:
        from fedsim.report.console import as_text
        from fedsim.report.run.training import training_report

        return as_text(training_report(self.summary))

    def _repr_html_(self) -> str:
        configuration = self.summary["configuration"]
        framework, model = configuration["framework"], configuration["model"]["name"]
        question = self.summary["question"]
        rows = [list(_row(record)) for record in self.records]
        return as_html(
            f"{framework}, {model}",
            [*([question] if question else []), *(f"Note: {note}." for note in self.notes)],
            ["seed", "round", "loss", "accuracy", "clients' own", "up", "down"],
            rows,
        )

    def _columns(self) -> Table:
        return Table(
            {
                path: Column(kind, tuple(at(record, path) for record in self.records))
                for path, kind in _COLUMNS
            }
        )


def _row(record: Mapping[str, Any]) -> Iterator[str]:
    yield from (str(record["seed"]), str(record["round"]))
    loss = record["train_loss"]
    yield "" if loss is None else f"{loss:.4f}"
    for path in ("global.accuracy", "mean_client_accuracy"):
        accuracy = at(record, path)
        yield "" if accuracy is None else f"{accuracy:.2%}"
    yield format_bytes(record["uplink_payload_bytes"])
    yield format_bytes(record["downlink_payload_bytes"])
