"""``fedsim scenario``: answer scenario files."""

from __future__ import annotations

from pathlib import Path

import click

from fedsim.errors import ScenarioError

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
@click.option("--engine", metavar="NAME", help="Which interpreter answers; so far: analytic.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of scenario files, and end.")
def command(
    files: tuple[str, ...],
    overrides: tuple[str, ...],
    json_path: Path | None,
    plot_path: Path | None,
    engine: str | None,
    schema: bool,
) -> None:
    """Answer scenario files: what each framework costs, and which one wins on what.

    FILE is a TOML file or the name of a shipped scenario, such as case_study.
    """
    from fedsim import scenario
    from fedsim.scenario.output import write_text

    if schema:
        click.echo(scenario.scenario_schema_text(), nl=False)
        return
    if not files:
        names = ", ".join(scenario.scenario_names())
        raise click.UsageError(f"name a scenario file, or one of those that ship: {names}.")
    _check_outputs(json_path, plot_path)
    questions, mistakes = [], []
    for file in files:
        try:
            questions.append(scenario.read_scenario(file, overrides, engine))
        except ScenarioError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ScenarioError("\n".join(mistakes))
    answers = [question.answer() for question in questions]
    if json_path is not None:
        write_text(json_path, scenario.answer_json(answers))
    tables = [answer.table for answer in answers]
    if plot_path is not None:
        from fedsim.report.figure import figure

        figure(tables, plot_path)
    from fedsim.report.console import show
    from fedsim.report.scenario_report import scenario_report

    for table in tables:
        show(scenario_report(table))


def _check_outputs(json_path: Path | None, plot_path: Path | None) -> None:
    from fedsim.scenario.output import check_writable

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
