"""``fedsim learn``: from measured learning curves to laws that scenarios can use."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from fedsim.errors import ScenarioError
from fedsim.scenario.file.output import check_not_inputs

__all__ = ["command"]

_FILE = click.Path(path_type=Path)


@click.group("learn", short_help="Fit laws to measured learning curves, and check them.")
def command() -> None:
    """Fit laws to measured learning curves, and check them."""


@command.command("collect")
@click.argument("summaries", type=_FILE, nargs=-1, required=True)
@click.option("--out", type=_FILE, required=True, help="File of curves to write.")
def collect(summaries: tuple[Path, ...], out: Path) -> None:
    """Put the curves of training runs (folders of 'fedsim train') into one file."""
    from fedsim.learning import write_curves
    from fedsim.report.run.learning import curves_table
    from fedsim.training.collect import collect_curves

    inputs = [each / "summary.json" if each.is_dir() else each for each in summaries]
    check_not_inputs([out], inputs)
    curves = collect_curves(summaries)
    try:
        write_curves(curves, out)
    except OSError as error:
        raise ScenarioError(f"{out}: cannot be written ({error}).") from error
    Console().print(curves_table(curves))


@command.command("fit")
@click.argument("curves", type=_FILE)
@click.option("--out", type=_FILE, help="File to write; beside CURVES as laws.json by default.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the bootstrap.")
def fit(curves: Path, out: Path | None, seed: int) -> None:
    """Fit a law to each group of CURVES, with bootstrap intervals."""
    from fedsim.learning import Laws, curves_hash, group_laws, read_curves, write_laws
    from fedsim.report.run.learning import laws_table

    target = out if out is not None else curves.with_name("laws.json")
    check_not_inputs([target], [curves])
    measured = read_curves(curves)
    console = Console()
    with console.status("fitting ..."):
        laws = tuple(law for group in measured.groups for law in group_laws(group, seed=seed))
    try:
        write_laws(Laws(laws, measured.provenance, curves_hash(curves)), target)
    except OSError as error:
        raise ScenarioError(f"{target}: cannot be written ({error}).") from error
    console.print(laws_table(laws))
    console.print(
        f"{target} holds the laws: name it in [learning] curves of a scenario.", markup=False
    )


@command.command("check")
@click.argument("curves", type=_FILE)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the bootstrap.")
def check(curves: Path, seed: int) -> None:
    """Predict what a fit has not seen: other configurations of CURVES, and later rounds."""
    from fedsim.learning import check_curves, read_curves
    from fedsim.report.run.learning import errors_table

    measured = read_curves(curves)
    console = Console()
    with console.status("fitting without what is predicted ..."):
        errors = tuple(check_curves(group, seed=seed) for group in measured.groups)
    console.print(errors_table(errors))


@command.command("show")
@click.argument("curves", type=_FILE)
@click.option("--plot", type=_FILE, help="Draw the curves and their laws (.png or .svg).")
def show(curves: Path, plot: Path | None) -> None:
    """Show what CURVES holds, with the laws beside it where they were fitted."""
    from fedsim.learning import curves_hash, read_curves, read_laws
    from fedsim.report.run.learning import curves_table

    if plot is not None:
        check_not_inputs([plot], [curves, curves.with_name("laws.json")])
    measured = read_curves(curves)
    console = Console()
    console.print(curves_table(measured))
    place = curves.with_name("laws.json")
    laws = read_laws(place) if place.is_file() else None
    if laws is not None and laws.curves_sha256 != curves_hash(curves):
        console.print(f"{place} was fitted to other curves: run 'fedsim learn fit {curves}'.")
        laws = None
    if plot is not None:
        from fedsim.report.figure.learning import learning_figure

        learning_figure(measured, laws, plot)
        console.print(f"Figure written to {plot}.")
