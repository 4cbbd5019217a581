"""``fedsim protocol``: show a framework's steps."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from fedsim.errors import ScenarioError
from fedsim.spec.privacy import DifferentialPrivacy, PrivacySpec, SecureAggregation

__all__ = ["command"]


@click.command("protocol")
@click.argument("name", metavar="NAME")
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(path_type=Path),
    help="Draw a sequence diagram (.png or .svg).",
)
@click.option(
    "--secure-aggregation",
    type=click.Choice(get_args(SecureAggregation)),
    help="With the steps of secure aggregation, as [privacy] adds them.",
)
@click.option(
    "--differential-privacy",
    type=click.Choice(get_args(DifferentialPrivacy)),
    help="With the steps of differential privacy.",
)
@click.option(
    "--num-clients",
    type=click.IntRange(2, 1_000_000_000),
    help="Clients that a round asks, for secure aggregation (default: the case study's).",
)
@click.option(
    "--codec",
    "codecs",
    multiple=True,
    metavar="[CONTENT[.up|.down]=]NAME",
    help="What messages go through: identity, float16, ..., or module:NAME of your own.",
)
@click.option(
    "--schedule",
    "schedules",
    multiple=True,
    metavar="MODULE:NAME",
    help="With the plan that a schedule of your own makes of a round.",
)
@click.option(
    "--round", "round_index", type=click.IntRange(1), help="Which round's (default: the first)."
)
@click.option(
    "--group", type=click.IntRange(0), help="Of which group of clients (default: group 0)."
)
def command(
    name: str,
    plot_path: Path | None,
    secure_aggregation: SecureAggregation | None,
    differential_privacy: DifferentialPrivacy | None,
    num_clients: int | None,
    codecs: tuple[str, ...],
    schedules: tuple[str, ...],
    round_index: int | None,
    group: int | None,
) -> None:
    """Show the steps of a framework for the case study's plan.

    NAME is fedllm, kd_fedllm, split_fedllm, or module:function of your own.
    """
    from fedsim.report.console import show
    from fedsim.report.protocol.table import protocol_table
    from fedsim.scenario import example_protocol
    from fedsim.scenario.file.output import check_writable

    if plot_path is not None:
        check_writable(plot_path, (".png", ".svg"))
    privacy = PrivacySpec(
        secure_aggregation=secure_aggregation, differential_privacy=differential_privacy
    )
    if num_clients is not None and secure_aggregation is None:
        raise ScenarioError(
            f"--num-clients {num_clients}: no step depends on it without --secure-aggregation; "
            "give both, or leave it out."
        )
    for option, value in (("--round", round_index), ("--group", group)):
        if value is not None and not schedules:
            raise ScenarioError(
                f"{option} {value}: all rounds are alike without --schedule; give both, or leave "
                "it out."
            )
    example = example_protocol(
        name,
        privacy,
        num_clients,
        codecs,
        schedules,
        round_index=round_index or 1,
        group=group or 0,
    )
    if plot_path is not None:
        from fedsim.report.protocol.sequence import sequence_diagram

        sequence_diagram(example.protocol, plot_path)
    show(protocol_table(example.protocol, example.plan.training, example.words))
