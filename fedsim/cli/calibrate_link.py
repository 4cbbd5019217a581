"""``fedsim calibrate link``: measure the link between two hosts and write a profile of it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click
from click.core import ParameterSource
from rich.console import Console

from fedsim.cli.measuring import folder_name, progress_bar
from fedsim.errors import ScenarioError, UnitError
from fedsim.units import parse_bytes, parse_seconds

__all__ = ["command"]

_T = TypeVar("_T")
#: Options that only one of the two sides has.
_CONNECTOR_ONLY: Final = ("out", "name", "max_size", "passes", "time_budget", "force")
_LISTENER_ONLY: Final = ("once",)


@click.command("link", short_help="Measure the link to another host.")
@click.option("--listen", metavar="ADDR", help="Answer at HOST:PORT, [IPV6]:PORT or :PORT.")
@click.option("--connect", metavar="ADDR", help="Measure the link to a host that listens.")
@click.option("--once", is_flag=True, help="With --listen: stop after one measurement.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --connect: folder for link.toml and link_measurements.csv.",
)
@click.option("--name", default=None, help="Name of the profile (default: the folder's).")
@click.option("--max-size", default="100 MB", show_default=True, help="Largest message.")
@click.option(
    "--passes",
    type=click.IntRange(2, 20),
    default=3,
    show_default=True,
    help="Sweeps, one after the other; their difference is the link's own noise.",
)
@click.option(
    "--time-budget",
    default="5 min",
    show_default=True,
    help="The largest messages are left out where they do not fit it.",
)
@click.option("--force", is_flag=True, help="Replace a finished profile in the folder.")
@click.pass_context
def command(
    context: click.Context,
    listen: str | None,
    connect: str | None,
    once: bool,
    out: Path | None,
    name: str | None,
    max_size: str,
    passes: int,
    time_budget: str,
    force: bool,
) -> None:
    """Measure rates, round trip and slow start between two hosts, and fit the time model to them.

    Start it with --listen :PORT on the host that stands for the server, then with --connect
    HOST:PORT on the one that stands for the client. Bytes are random and mean nothing; they are
    neither encrypted nor authenticated. An interrupted measurement continues where it was when the
    command is given again. A scenario uses the result through: [link] profile = "FOLDER".
    """
    if (listen is None) == (connect is None):
        raise ScenarioError(
            "give exactly one of --listen and --connect: --listen :PORT on one host, then "
            "--connect HOST:PORT --out FOLDER on the other."
        )
    if listen is not None:
        _refuse(context, _CONNECTOR_ONLY, "--connect")
        _listen(listen, once=once)
        return
    assert connect is not None
    _refuse(context, _LISTENER_ONLY, "--listen")
    if out is None:
        raise ScenarioError("--connect needs a folder for what it finds; add --out FOLDER.")
    if (out / "link.toml").exists() and not force:
        raise ScenarioError(
            f"--out {out}: holds a finished link profile; name another folder or add --force."
        )
    max_bytes = _quantity("--max-size", max_size, parse_bytes)
    budget_s = _quantity("--time-budget", time_budget, parse_seconds)
    _measure(connect, out, name or folder_name(out, "link"), (max_bytes, passes, budget_s))


def _refuse(context: click.Context, names: tuple[str, ...], belongs_to: str) -> None:
    given = [
        f"--{name.replace('_', '-')}"
        for name in names
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise ScenarioError(
            f"{', '.join(given)}: only together with {belongs_to}; leave it out on this side."
        )


def _quantity(option: str, text: str, parse: Callable[[str], _T]) -> _T:
    try:
        return parse(text)
    except UnitError as error:
        raise ScenarioError(f"{option} {error}") from error


def _listen(text: str, *, once: bool) -> None:
    from fedsim.calibration.link.address import parse_address
    from fedsim.calibration.link.listener import Listener

    console = Console(stderr=True, highlight=False, markup=False)
    listener = Listener(parse_address(text, "--listen"), once=once, on_event=console.print)
    port = listener.address.port
    console.print(f"listening at {listener.address}; on the other host, give:")
    console.print(f"  fedsim calibrate link --connect HOST:{port} --out FOLDER", soft_wrap=True)
    console.print("Whoever reaches this port can have random bytes sent; stop it with Ctrl-C.")
    try:
        listener.serve()
    except KeyboardInterrupt:
        console.print("stopped.")


def _measure(connect: str, out: Path, name: str, wanted: tuple[int, int, float]) -> None:
    from fedsim.calibration.link.address import parse_address
    from fedsim.calibration.link.run import calibrate_link
    from fedsim.calibration.link.sweep import sweep_plan
    from fedsim.report.run.link_calibration import print_link_calibration

    plan = sweep_plan(*wanted)
    address = parse_address(connect, "--connect")
    with progress_bar("connecting") as on_progress:
        result = calibrate_link(
            address,
            plan,
            out,
            name=name,
            command=shlex.join(["fedsim", *sys.argv[1:]]),
            on_progress=on_progress,
        )
    print_link_calibration(Console(), result)
