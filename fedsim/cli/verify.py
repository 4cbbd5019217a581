"""``fedsim verify``: run real rounds and hold them against the formulas."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fedsim.errors import AgreementError, ScenarioError
from fedsim.protocol import FRAMEWORKS, Framework
from fedsim.runtime.needs_runtime import check_runtime
from fedsim.runtime.threads import set_thread_policy
from fedsim.scenario.build.framework import find_framework
from fedsim.scenario.file.output import check_not_inputs, check_writable, write_text
from fedsim.study.verification_profile import sentinel_ratios, verification_profile

__all__ = ["command"]


@click.command("verify", short_help="Run real rounds and compare them with the formulas.")
@click.option(
    "--framework",
    "frameworks",
    multiple=True,
    metavar="NAME",
    help="Only this one, or module:NAME of one's own; may be repeated. The article's three by "
    "default.",
)
@click.option(
    "--model",
    default="tiny",
    show_default=True,
    help="'tiny', a name of the catalogue (gpt2, ...), or a path to a config.json.",
)
@click.option(
    "--weights",
    type=click.Choice(["random", "pretrained"]),
    default=None,
    help="Initial weights. 'tiny' is random by nature; any other model needs the choice.",
)
@click.option(
    "--weights-from",
    default=None,
    metavar="SOURCE",
    help="Hub name or folder of the pre-trained weights (default: the model's name).",
)
@click.option(
    "--data",
    "data_source",
    default="generated",
    show_default=True,
    help="generated, banking77, clinc150, e2e, wikitext2 (a data folder) or banking77-hub.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="FEDSIM_DATA_DIR",
    default=None,
    help="Folder of data sets and of GPT-2's tokenizer files.",
)
@click.option(
    "--head",
    type=click.Choice(["classification", "language_model"]),
    default="classification",
    show_default=True,
)
@click.option("--num-clients", type=click.IntRange(1, 100), default=2, show_default=True)
@click.option("--samples-per-client", type=click.IntRange(1), default=10, show_default=True)
@click.option("--public-samples", type=click.IntRange(1), default=10, show_default=True)
@click.option(
    "--split",
    type=click.Choice(["iid", "dirichlet"]),
    default="iid",
    show_default=True,
    help="How labels are spread over clients.",
)
@click.option(
    "--dirichlet-alpha",
    type=float,
    default=None,
    help="Concentration of --split dirichlet: the smaller, the more clients differ.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=None,
    help="Texts are truncated, and padded, to it (default: 80, or 24 for tiny).",
)
@click.option(
    "--padding",
    type=click.Choice(["max_tokens", "longest", "none"]),
    default="max_tokens",
    show_default=True,
)
@click.option("--batch-size", type=click.IntRange(1), default=4, show_default=True)
@click.option("--rank", "-r", type=click.IntRange(1), default=8, show_default=True)
@click.option(
    "--target-modules",
    default=None,
    help="Comma-separated linear layers to adapt (default: the attention input).",
)
@click.option(
    "--cut-layer",
    type=int,
    default=None,
    help="Blocks on the client in Split-FedLLM (default: a third of all).",
)
@click.option("--half-block", is_flag=True, help="Cut within the next block.")
@click.option("--server-variant", type=click.Choice(["v1", "v2"]), default="v1", show_default=True)
@click.option("--checkpointing", is_flag=True, help="Gradient checkpointing.")
@click.option(
    "--payload-dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    default="float32",
    show_default=True,
)
@click.option(
    "--codec",
    multiple=True,
    metavar="[CONTENT[.up|.down]=]NAME",
    help="What messages go through: identity, float16, ..., or module:NAME of your own.",
)
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True)
@click.option("--timed-rounds", type=click.IntRange(0), default=3, show_default=True)
@click.option(
    "--profile",
    default=None,
    help="Calibrated profile to predict seconds with (default on a CPU: the shipped one).",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    default=None,
    help="Write the outcome here as JSON.",
)
def command(
    frameworks: tuple[str, ...],
    rounds: int,
    timed_rounds: int,
    profile: str | None,
    json_path: Path | None,
    **options: Any,
) -> None:
    """Run real rounds of the article's frameworks and compare every step with the formulas.

    Bytes and FLOPs must be equal to the last unit, or the command names the first row that differs
    and exits with 3. Needs the extra 'runtime' (torch, transformers, peft).
    """
    check_runtime()
    set_thread_policy()
    if json_path is not None:
        check_writable(json_path)
        names = (options["model"], options["weights_from"], profile)
        named = [Path(name) for name in names if name]
        inside = [path / inner for path in named for inner in ("config.json", "profile.toml")]
        check_not_inputs([json_path], [*named, *inside])
    chosen = [_framework(name) for name in frameworks or FRAMEWORKS]
    profile_used = verification_profile(profile, timed_rounds, options["device"])
    # What is missing is said ahead of torch, whose import takes seconds.
    from fedsim.runtime.data import check_dataset

    check_dataset(options["data_source"], options["data_dir"])
    from fedsim.report.run.verify import print_verification
    from fedsim.study.verification_request import VerificationRequest
    from fedsim.study.verification_setup import VerificationSetup
    from fedsim.study.verify import verify

    setup = VerificationSetup.from_request(VerificationRequest(**options))
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("preparing data", total=None)

        def on_step(name: str, round_index: int, party: str, step: str) -> None:
            progress.update(task, description=f"{name} round {round_index} {party} {step}")

        ratios = {}
        if profile_used is not None:
            progress.update(task, description="timing the profile's sentinels")
            ratios = sentinel_ratios(profile_used, options["device"])
        outcomes = [
            verify(
                setup.builder(framework),
                framework.name,
                num_rounds=rounds,
                timed_rounds=timed_rounds,
                device=None if profile_used is None else profile_used.device,
                sentinel_ratios=ratios,
                on_step=partial(on_step, framework.name),
            )
            for framework in chosen
        ]
    print_verification(Console(), outcomes, setup.title)
    if profile_used is not None and profile_used.device.warning:
        click.echo(f"Warning: {profile_used.device.warning}.", err=True)
    if json_path is not None:
        document = {
            "schema": 1,
            "title": setup.title,
            "outcomes": [outcome.as_dict() for outcome in outcomes],
        }
        write_text(json_path, json.dumps(document, indent=2, allow_nan=False) + "\n")
    failed = [outcome for outcome in outcomes if not outcome.agrees]
    if failed:
        raise AgreementError(f"{failed[0].framework}: {failed[0].found[0]}")


def _framework(name: str) -> Framework:
    try:
        return find_framework(name, Path.cwd())
    except ScenarioError as error:
        raise ScenarioError(f"--framework {name}: {error}") from error
