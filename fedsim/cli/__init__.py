"""The command line: parse, call, show.

Commands are imported when they are called, so that ``fedsim --help`` needs none of what they need.
"""

from __future__ import annotations

import signal
from typing import Any, Final

import click

from fedsim.cli.lazy_group import LazyGroup
from fedsim.cli.streams import standard_streams
from fedsim.cli.termination import Terminated, ends_as_interrupted
from fedsim.errors import (
    AgreementError,
    CalibrationError,
    FedsimError,
    ScenarioError,
    TrainingError,
)
from fedsim.version import __version__

__all__ = ["main"]

_COMMANDS: Final = {
    "scenario": (
        "scenario",
        "Answer scenario files: what each framework costs, which one wins.",
    ),
    "protocol": ("protocol", "Show a framework's steps, with what each sends and computes."),
    "verify": ("verify", "Run frameworks for real and compare every count with the prediction."),
    "train": ("train", "Train a framework for real and write its learning curves."),
    "reproduce": ("reproduce", "Run the article's experiments for real."),
    "learn": ("learn", "Fit laws to measured learning curves, and check them."),
    "calibrate": ("calibrate", "Measure this machine and write a profile for the time model."),
}

_USER, _DISAGREEMENT, _OURS, _INTERRUPTED = 2, 3, 1, 130


class _Main(LazyGroup):
    """Turns our errors into exit codes."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program; standard output may be full, closed or of a narrow encoding."""
        with standard_streams():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what the user can mend ends in a message and never in a traceback."""
        try:
            with ends_as_interrupted():
                return super().invoke(ctx)
        except FedsimError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(_exit_code(error))
        except Terminated as ended:
            click.echo(f"Ended by {signal.Signals(ended.number).name}.", err=True)
            ctx.exit(ended.exit_code)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(_INTERRUPTED)


def _exit_code(error: FedsimError) -> int:
    if isinstance(error, (ScenarioError, CalibrationError, TrainingError)):
        return _USER
    return _DISAGREEMENT if isinstance(error, AgreementError) else _OURS


@click.group(
    cls=_Main,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 2 your input; 3 prediction and run disagree; 1 our fault; "
    "130, 143, 129 ended by Ctrl-C, SIGTERM, SIGHUP.",
)
@click.version_option(__version__, prog_name="fedsim")
def main() -> None:
    """Federated fine-tuning of LLMs: run it, count it, simulate it."""
