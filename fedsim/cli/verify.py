"""``fedsim verify``: run real rounds of a scenario's cases and hold them against the formulas."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fedsim.errors import AgreementError, ScenarioError
from fedsim.runtime.needs_runtime import check_runtime
from fedsim.runtime.threads import set_thread_policy
from fedsim.scenario.build.framework import find_framework
from fedsim.scenario.file.output import check_not_inputs, check_writable, write_text
from fedsim.study.verification_profile import verification_profile

__all__ = ["command"]

#: Options of this command until it took a file, and the keys that say the same.
_KEY_OF_OPTION: Final = {
    "--model": "model.name",
    "--weights": "learning.weights",
    "--weights-from": "train.weights_from",
    "--data": "data.dataset",
    "--head": "model.head",
    "--num-clients": "fleet.num_clients",
    "--samples-per-client": "workload.samples_per_client",
    "--public-samples": "workload.public_samples",
    "--split": "learning.partition",
    "--dirichlet-alpha": "learning.dirichlet_alpha",
    "--max-tokens": "workload.max_tokens",
    "--padding": "workload.padding",
    "--batch-size": "workload.batch_size",
    "--rank": "lora.r",
    "-r": "lora.r",
    "--target-modules": "lora.target_modules",
    "--cut-layer": "split.cut_layer",
    "--half-block": "split.half_block",
    "--server-variant": "split.server_variant",
    "--checkpointing": "model.gradient_checkpointing",
    "--payload-dtype": "model.payload_dtype",
    "--device": "train.device",
    "--seed": "seed",
}


class _Command(click.Command):
    """Says which key an option became."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; an option of an earlier version is an error that names the key."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            key = _KEY_OF_OPTION.get(error.option_name)
            if key is None:
                raise
            raise ScenarioError(
                f"{error.option_name}: what is verified stands in a scenario file; write "
                f"--set {key}=VALUE."
            ) from error


@click.command(
    "verify", cls=_Command, short_help="Run real rounds and compare them with the formulas."
)
@click.argument("file", metavar="[FILE]", required=False)
@click.option(
    "--case",
    "cases",
    multiple=True,
    metavar="NAME",
    help="Only this case of the file; may be repeated. All of them by default.",
)
@click.option(
    "--framework",
    "frameworks",
    multiple=True,
    metavar="NAME",
    help="This framework under the file's tables, or module:NAME of one's own; may be repeated.",
)
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override a key of the file, such as model.name=llama-tiny; repeatable.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="FEDSIM_DATA_DIR",
    default=None,
    help="Folder of data sets and of GPT-2's tokenizer files.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Rounds that are counted, whatever the file's num_rounds.",
)
@click.option("--timed-rounds", type=click.IntRange(0), default=3, show_default=True)
@click.option(
    "--profile",
    default=None,
    help="Calibrated profile to predict seconds with (default: the file's, or on a CPU the "
    "shipped one).",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    default=None,
    help="Write the outcome here as JSON.",
)
def command(
    file: str | None,
    cases: tuple[str, ...],
    frameworks: tuple[str, ...],
    overrides: tuple[str, ...],
    data_dir: Path | None,
    rounds: int,
    timed_rounds: int,
    profile: str | None,
    json_path: Path | None,
) -> None:
    """Run real rounds of a scenario's cases and compare every step with the formulas.

    FILE is a scenario with a table [data], by path or shipped name; a tiny one of the article's
    three frameworks by default. Bytes and FLOPs must be equal to the last unit, or the command
    names the first row that differs and exits with 3. Needs the extra 'runtime' (torch,
    transformers, peft).
    """
    check_runtime()
    set_thread_policy()
    if json_path is not None:
        check_writable(json_path)
    chosen = [_framework(name) for name in frameworks]
    # What is missing is said ahead of torch, whose import takes seconds.
    from fedsim.training.file import read_trainings

    documents = read_trainings(file or "verify_tiny", overrides, cases, chosen)
    if json_path is not None:
        named = {path for document in documents for path in document.case.context.inputs}
        profiles = {Path(profile) / "profile.toml"} if profile else set()
        check_not_inputs([json_path], named | profiles)
    device = documents[0].train.device
    known = documents[0].case.context.profile if profile is None and timed_rounds else None
    if known is None:
        known = verification_profile(profile, timed_rounds, device)
    for document in documents:
        document.check_data(data_dir)
    from fedsim.report.run.verify import print_verification
    from fedsim.study.verification import check_countable, title, verified

    for document in documents:
        check_countable(document)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("preparing data", total=None)

        def on_step(name: str, round_index: int, party: str, step: str) -> None:
            progress.update(task, description=f"{name} round {round_index} {party} {step}")

        outcomes = [
            verified(
                document,
                data_dir,
                num_rounds=rounds,
                timed_rounds=timed_rounds,
                profile=known,
                on_step=partial(on_step, document.case.case.case_name),
            )
            for document in documents
        ]
    words = title(documents[0])
    print_verification(Console(), outcomes, words)
    if known is not None and known.device.warning:
        click.echo(f"Warning: {known.device.warning}.", err=True)
    if json_path is not None:
        found: dict[str, Any] = {
            "schema": 1,
            "title": words,
            "outcomes": [outcome.as_dict() for outcome in outcomes],
        }
        write_text(json_path, json.dumps(found, indent=2, allow_nan=False) + "\n")
    failed = [outcome for outcome in outcomes if not outcome.agrees]
    if failed:
        raise AgreementError(f"{failed[0].framework}: {failed[0].found[0]}")


def _framework(name: str) -> str:
    try:
        find_framework(name, Path.cwd())
    except ScenarioError as error:
        raise ScenarioError(f"--framework {name}: {error}") from error
    return name
