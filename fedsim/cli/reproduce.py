"""``fedsim reproduce``: the article's experiments, run for real."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from fedsim.cli.needs_runtime import check_runtime
from fedsim.cli.threads import set_thread_policy

__all__ = ["command"]


@click.group("reproduce", short_help="Run the article's experiments for real.")
def command() -> None:
    """Run the article's experiments for real."""


@command.command("case-study")
@click.option("--quick", is_flag=True, help="A small GPT-2, few rounds: for two CPU cores.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder of all runs; a study that was interrupted goes on in it.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="FEDSIM_DATA_DIR",
    default=None,
    help="Folder of data sets and of GPT-2's tokenizer files.",
)
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override a key of all runs, such as train.device=cuda; repeatable.",
)
@click.option("--first", type=click.IntRange(1), help="Make so many runs only, the first ones.")
def case_study(
    quick: bool, output: Path, data_dir: Path | None, overrides: tuple[str, ...], first: int | None
) -> None:
    """Sweep ranks, public sets and training samples, and judge the article's claims on accuracy.

    Weights are random unless train.weights says otherwise. Writes curves.json, laws.json,
    findings.json and accuracy.png into DIR.
    """
    check_runtime()
    set_thread_policy()
    from fedsim.cli.train import training_progress
    from fedsim.report.case_study import case_study_figure, case_study_report
    from fedsim.scenario.document import overridden
    from fedsim.study.case_study.execute import finish_study, run_study
    from fedsim.study.case_study.plan import SERIES, study_runs
    from fedsim.study.training.tables import TrainingFile

    changes, _ = overridden({}, overrides, TrainingFile)
    runs = study_runs("quick" if quick else "full", changes)[:first]
    typed = shlex.join(["fedsim", *sys.argv[1:]])
    output.mkdir(parents=True, exist_ok=True)
    total = sum(
        len(run.table["train"]["seeds"]) * run.table["workload"]["num_rounds"] for run in runs
    )
    with training_progress(1, total) as observer:
        run_study(runs, output, observer, data_dir=data_dir, command=typed)
    finish_study(runs, output, typed)
    study: dict[str, Any] = json.loads((output / "findings.json").read_text(encoding="utf-8"))
    labels = {name: words for name, (_, _, words) in SERIES.items()}
    table = runs[0].table
    weights = f"{table['model']['name']}, {table['train']['weights']} weights"
    case_study_figure(study["points"], labels, weights, output / "accuracy.png")
    console = Console()
    console.print(case_study_report(study, labels))
    console.print(f"{weights}. {output} holds the runs, curves, laws, findings and the figure.")
