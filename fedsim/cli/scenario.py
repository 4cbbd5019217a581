"""``fedsim scenario``: answer scenario files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedsim.errors import ScenarioError

if TYPE_CHECKING:
    from fedsim.scenario import Question, ScenarioResult

__all__ = ["command"]


@click.command("scenario")
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override a key of the file, such as lora.r=4 or 'link.uplink=10 Mbit/s'; repeatable.",
)
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Write the answer as JSON."
)
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(path_type=Path),
    help="Draw communication against computation (.png or .svg).",
)
@click.option(
    "--engine",
    metavar="NAME",
    help="Which interpreter answers: auto, analytic, des, scale, sampled.",
)
@click.option(
    "--trace",
    "trace_path",
    type=click.Path(path_type=Path),
    help="Write every event of a single result as PATH.parquet and PATH.json (Perfetto), and draw "
    "its first round as PATH.png.",
)
@click.option(
    "--show",
    "shows",
    metavar="PARTS",
    default="",
    help="Below the answer: counts, time, rounds, energy, accuracy, verdicts, claims, notes; "
    "several with commas.",
)
@click.option("--all", "everything", is_flag=True, help="Show all of these.")
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    help="How often clients and rounds are drawn for the 95 % interval.",
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of scenario files, and end.")
def command(
    files: tuple[str, ...],
    overrides: tuple[str, ...],
    json_path: Path | None,
    plot_path: Path | None,
    engine: str | None,
    trace_path: Path | None,
    shows: str,
    everything: bool,
    seeds: int | None,
    schema: bool,
) -> None:
    """Answer scenario files: what each framework costs, and which one wins on what.

    FILE is a TOML file or the name of a shipped scenario, such as case_study.
    """
    from fedsim import scenario
    from fedsim.scenario.file.output import write_text

    if schema:
        click.echo(scenario.scenario_schema_text(), nl=False)
        return
    if not files:
        names = ", ".join(scenario.scenario_names())
        raise click.UsageError(f"name a scenario file, or one of those that ship: {names}.")
    _check_outputs(json_path, plot_path)
    parts = _parts(shows)
    if trace_path is not None:
        _check_trace(files, trace_path, json_path, plot_path)
    questions, mistakes = [], []
    for file in files:
        try:
            questions.append(scenario.read_scenario(file, overrides, engine))
        except ScenarioError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ScenarioError("\n".join(mistakes))
    _check_inputs(questions, json_path, plot_path, trace_path)
    if trace_path is not None:
        questions[0].check_traceable()
    answers = _answered(questions, seeds)
    if trace_path is not None:
        _trace(questions, trace_path)
    if json_path is not None:
        write_text(json_path, scenario.answer_json(answers))
    tables = [answer.table for answer in answers]
    if plot_path is not None:
        from fedsim.report.figure.answer import figure

        figure(tables, plot_path)
    from fedsim.report.console import show
    from fedsim.report.scenario.report import scenario_report

    for table in tables:
        show(scenario_report(table, parts, everything=everything))


def _parts(shows: str) -> list[str]:
    """Names of what to show below the answer.

    Raises
    ------
    ScenarioError
        If one of them is none.
    """
    from fedsim.report.scenario.report import checked_parts

    names = (name.strip() for name in shows.split(","))
    return checked_parts(
        (name for name in names if name), "--show", ", several with commas, or --all"
    )


def _answered(questions: list[Question], seeds: int | None) -> list[ScenarioResult]:
    """All answers; on a terminal with the result in hand, its rounds and the time left."""
    if not sys.stderr.isatty():
        return [question.answer(num_seeds=seeds) for question in questions]
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("answering {task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("rounds"),
        TimeRemainingColumn(),
    )
    answers = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        for question in questions:
            task = bar.add_task("", total=None)

            def tell(name: str, number: int, task: Any = task) -> None:
                bar.reset(task, description=escape(f"{name}, result {number + 1}"), total=None)

            def rounds(done: int, total: int, task: Any = task) -> None:
                bar.update(task, completed=done, total=total)

            answers.append(question.answer(tell, seeds, rounds))
            bar.remove_task(task)
    return answers


def _check_trace(
    files: tuple[str, ...], trace_path: Path, json_path: Path | None, plot_path: Path | None
) -> None:
    from fedsim.report.trace.files import trace_paths
    from fedsim.scenario.file.output import check_writable

    if len(files) != 1:
        raise ScenarioError(f"--trace is of one file, and {len(files)} were named.")
    for path in (*trace_paths(trace_path), _chart(trace_path)):
        check_writable(path)
        for option, other in (("--json", json_path), ("--plot", plot_path)):
            if other is not None and other.resolve() == path.resolve():
                raise ScenarioError(
                    f"{option} {other} and --trace {trace_path} both write {path}; give each a "
                    "name of its own."
                )


def _check_inputs(
    questions: list[Question], json_path: Path | None, plot_path: Path | None, trace: Path | None
) -> None:
    """Refuse to write over a scenario, or over a file that one names."""
    from fedsim.report.trace.files import trace_paths
    from fedsim.scenario.file.output import check_not_inputs

    traces = () if trace is None else (*trace_paths(trace), _chart(trace))
    outputs = [path for path in (json_path, plot_path, *traces) if path is not None]
    for question in questions:
        check_not_inputs(outputs, question.document.inputs)


def _chart(trace_path: Path) -> Path:
    from fedsim.report.trace.files import trace_paths

    return trace_paths(trace_path)[0].with_suffix(".png")


def _trace(questions: list[Question], trace_path: Path) -> None:
    """Files of all events, and the first round as a chart and on the terminal."""
    from fedsim.report.console import show
    from fedsim.report.trace.files import write_trace
    from fedsim.report.trace.gantt import gantt_figure
    from fedsim.report.trace.timeline import round_timeline

    events = questions[0].trace()
    write_trace(events, trace_path)
    first = min((e.round_index for e in events if e.round_index > 0), default=None)
    if first is not None:
        gantt_figure(events, first, _chart(trace_path))
        show(round_timeline(events, first))


def _check_outputs(json_path: Path | None, plot_path: Path | None) -> None:
    from fedsim.scenario.file.output import check_writable

    if json_path is not None:
        check_writable(json_path)
    if plot_path is not None:
        check_writable(plot_path, (".png", ".svg"))
    if (
        json_path is not None
        and plot_path is not None
        and json_path.resolve() == plot_path.resolve()
    ):
        raise ScenarioError(
            f"--json and --plot both name {json_path}; give each a file of its own."
        )
