"""``fedsim train``: train a framework for real, by a TOML file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedsim.cli.announcing import announce
from fedsim.errors import ScenarioError
from fedsim.runtime.needs_runtime import check_runtime
from fedsim.runtime.threads import set_thread_policy
from fedsim.units import format_bytes

__all__ = ["command", "training_progress"]


@click.command("train", short_help="Train a framework for real, by a TOML file.")
@click.argument("file", metavar="FILE")
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override a key of the file, such as lora.r=4; repeatable.",
)
@click.option("--case", metavar="NAME", help="Case of the file to train; the only one without it.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder for metrics.jsonl, ledger.jsonl, summary.json and checkpoints.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="FEDSIM_DATA_DIR",
    default=None,
    help="Folder of data sets and of GPT-2's tokenizer files.",
)
@click.option(
    "--resume/--fresh",
    "is_resumed",
    default=True,
    show_default=True,
    help="Go on with what the folder holds, or replace it.",
)
@click.option(
    "--export",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the global model of the last seed, for another run's weights = 'warm'.",
)
@click.option(
    "--yes", "is_sure", is_flag=True, help="Start a run that takes above an hour without asking."
)
def command(
    file: str,
    overrides: tuple[str, ...],
    case: str | None,
    output: Path,
    data_dir: Path | None,
    is_resumed: bool,
    export: Path | None,
    is_sure: bool,
) -> None:
    """Train a framework on real data and write its learning curves.

    FILE is a scenario with a table [data], by path or shipped name; docs/examples/training holds
    some. What it will take is said first. An interrupted run goes on from its last checkpoint when
    the command is given again, and ends with the same bits.
    """
    check_runtime()
    set_thread_policy()
    from fedsim.training.file import read_training

    # What is missing is said ahead of torch, whose import takes seconds.
    document = read_training(file, overrides, case)
    document.check_data(data_dir)
    if export is not None and export.exists():
        raise ScenarioError(f"--export {export}: exists already: name a folder that is new.")
    from fedsim.report.run.training import print_training
    from fedsim.training.export import export_run
    from fedsim.training.run import run_training
    from fedsim.training.setup import TrainingSetup

    setup = TrainingSetup(document, data_dir)
    announce([(setup, output)], is_fresh=not is_resumed, is_sure=is_sure)
    num_rounds = document.settings.workload.num_rounds
    with training_progress(len(document.seeds), num_rounds) as observer:
        summary = run_training(
            setup,
            output,
            observer,
            is_fresh=not is_resumed,
            command=shlex.join(["fedsim", *sys.argv[1:]]),
        )
    console = Console()
    print_training(console, summary, str(output))
    if export is not None:
        round_index = export_run(setup, output, export)
        console.print(f"{export} holds the global model after round {round_index}.")


class _ProgressLine:
    """One line that is always up to date on a terminal; elsewhere a line a round."""

    def __init__(self, progress: Progress, console: Console, num_seeds: int, num_rounds: int):
        self.progress = progress
        self.console = console
        self.num_rounds = num_rounds
        self.seed = 0
        self.task = progress.add_task(
            "preparing", total=num_seeds * num_rounds, what="preparing data and weights", news=""
        )

    def on_start(self, seed: int, num_done: int) -> None:
        """Begin a seed."""
        self.seed = seed
        self.progress.advance(self.task, num_done)
        if num_done:
            self.on_note(f"seed {seed}: {num_done} rounds were done already")

    def on_step(self, round_index: int, party: str, step: str) -> None:
        """Show what is being computed."""
        what = f"seed {self.seed} round {round_index} {party} {step}"
        self.progress.update(self.task, what=what)

    def on_round(self, record: Mapping[str, Any]) -> None:
        """Show what a round brought."""
        news = _news(record)
        if record["round"]:
            self.progress.advance(self.task)
        self.progress.update(self.task, news=news)
        if not self.console.is_terminal:
            place = f"seed {record['seed']} round {record['round']}/{self.num_rounds}"
            self.console.print(f"{place}: {news}", highlight=False, soft_wrap=True)

    def on_note(self, text: str) -> None:
        """Say something above the line."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)


@contextmanager
def training_progress(num_seeds: int, num_rounds: int) -> Iterator[_ProgressLine]:
    """A progress line for so many rounds in all; see :class:`_ProgressLine`."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[what]}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[news]}"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield _ProgressLine(progress, console, num_seeds, num_rounds)


def _news(record: Mapping[str, Any]) -> str:
    parts = []
    if record["train_loss"] is not None:
        parts.append(f"loss {record['train_loss']:.4f}")
    if record["global"] is not None:
        parts.append(f"accuracy {record['global']['accuracy']:.2%}")
    if record["mean_client_accuracy"] is not None:
        parts.append(f"clients' own {record['mean_client_accuracy']:.2%}")
    up, down = record["uplink_payload_bytes"], record["downlink_payload_bytes"]
    parts.append(f"up {format_bytes(up)}, down {format_bytes(down)}")
    return ", ".join(parts)
