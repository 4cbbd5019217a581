"""``fedsim protocol``: show a framework's steps."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("protocol")
@click.argument("name", metavar="NAME")
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(path_type=Path),
    help="Draw a sequence diagram (.png or .svg).",
)
def command(name: str, plot_path: Path | None) -> None:
    """Show the steps of a framework for the case study's plan.

    NAME is fedllm, kd_fedllm, split_fedllm, or module:function of your own.
    """
    from fedsim.report.console import show
    from fedsim.report.protocol_table import protocol_table
    from fedsim.scenario import example_protocol
    from fedsim.scenario.output import check_writable

    if plot_path is not None:
        check_writable(plot_path, (".png", ".svg"))
    example = example_protocol(name)
    if plot_path is not None:
        from fedsim.report.sequence import sequence_diagram

        sequence_diagram(example.protocol, plot_path)
    show(protocol_table(example.protocol, example.plan.training, example.words))
