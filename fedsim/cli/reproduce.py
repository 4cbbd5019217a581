"""``fedsim reproduce``: the article's experiments, run for real."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from fedsim.cli.announcing import announce
from fedsim.errors import ScenarioError
from fedsim.runtime.needs_runtime import check_runtime
from fedsim.runtime.threads import set_thread_policy
from fedsim.text_file import read_text

if TYPE_CHECKING:
    from fedsim.study.case_study.plan import Scale

__all__ = ["command"]


@click.group("reproduce", short_help="Run the article's experiments for real.")
def command() -> None:
    """Run the article's experiments for real."""


@command.command("case-study")
@click.option(
    "--scale",
    type=click.Choice(["full", "small", "quick"]),
    default="full",
    show_default=True,
    help="The article's study; one of a small GPT-2 for an hour or two on two CPU cores; or a look "
    "within ten minutes.",
)
@click.option("--quick", is_flag=True, help="The same as --scale quick.")
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
@click.option(
    "--series",
    "wanted",
    metavar="NAME",
    multiple=True,
    help="Make runs of this series only, such as fedllm or kd; repeatable.",
)
@click.option(
    "--report", "reports_only", is_flag=True, help="Make no run: report on those that are done."
)
@click.option(
    "--yes", "is_sure", is_flag=True, help="Start runs that take above an hour without asking."
)
def case_study(
    scale: Scale,
    quick: bool,
    output: Path,
    data_dir: Path | None,
    overrides: tuple[str, ...],
    first: int | None,
    wanted: tuple[str, ...],
    reports_only: bool,
    is_sure: bool,
) -> None:
    """Sweep ranks, public sets and training samples, and judge the article's claims.

    Weights are random unless learning.weights says otherwise. Writes curves.json, laws.json,
    findings.json, accuracy.png, costs.png and curves.png into DIR.
    """
    check_runtime()
    set_thread_policy()
    from fedsim.scenario.file.override import overridden
    from fedsim.study.case_study.plan import SERIES, study_runs
    from fedsim.training.file import TrainingDocument

    changes, _ = overridden({}, overrides)
    planned = study_runs("quick" if quick else scale, changes)
    runs = [run for run in planned if not wanted or run.series in wanted][:first]
    if not runs or set(wanted) - set(SERIES):
        unknown = ", ".join(sorted(set(wanted) - set(SERIES))) or ", ".join(wanted)
        raise ScenarioError(f"--series {unknown}: allowed: {', '.join(SERIES)}.")
    documents = [TrainingDocument.of(run.name, output, run.table) for run in runs]
    if not reports_only:
        for document in documents:
            document.check_data(data_dir)
    # What is missing was said ahead of torch, whose import takes seconds.
    from fedsim.cli.train import training_progress
    from fedsim.report.figure.learning import learning_figure
    from fedsim.report.run.case_study import case_study_figure, case_study_report, cost_figure
    from fedsim.study.case_study.execute import finish_study, run_study
    from fedsim.training.setup import TrainingSetup

    typed = shlex.join(["fedsim", *sys.argv[1:]])
    if not reports_only:
        setups = [(TrainingSetup(one, data_dir), output / one.name) for one in documents]
        announce(setups, is_fresh=False, is_sure=is_sure)
    output.mkdir(parents=True, exist_ok=True)
    total = sum(
        len(run.table["train"]["seeds"]) * run.table["workload"]["num_rounds"] for run in runs
    )
    if not reports_only:
        with training_progress(1, total) as observer:
            run_study(runs, output, observer, data_dir=data_dir, command=typed)
    # Of all runs that are done, those of other commands in the same folder included.
    curves, laws, _, _ = finish_study(planned, output, typed)
    study: dict[str, Any] = json.loads(read_text(output / "findings.json"))
    labels = {name: words for name, (_, _, words) in SERIES.items()}
    table = runs[0].table
    weights = f"{table['model']['name']}, {table['learning']['weights']} weights"
    case_study_figure(study["points"], labels, weights, output / "accuracy.png")
    cost_figure(study["costs"], labels, output / "costs.png")
    learning_figure(curves, laws, output / "curves.png")
    console = Console()
    console.print(case_study_report(study, labels))
    console.print(f"{weights}. {output} holds the runs, curves, laws, findings and figures.")
