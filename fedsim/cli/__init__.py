"""The command line: parse, call, show.

Commands are imported when they are called, so that ``fedsim --help`` needs none of what they need.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

import click

from fedsim import __version__
from fedsim.errors import AgreementError, CalibrationError, FedsimError, ScenarioError

__all__ = ["main"]

#: Each command is ``command`` in ``fedsim.cli.<name>``; its help stands here because reading it
#: from there would import it.
_COMMANDS: Final = {
    "scenario": "Answer scenario files: what each framework costs, and which one wins.",
    "protocol": "Show a framework's steps, with what each sends and computes.",
    "verify": "Run frameworks for real and compare every count with the prediction.",
    "calibrate": "Measure this machine and write a profile for the time model.",
}

_USER, _DISAGREEMENT, _OURS, _INTERRUPTED = 2, 3, 1, 130


class LazyGroup(click.Group):
    """A group that knows its commands by name, and turns our errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names, in the order in which a user meets them."""
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import a command."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"fedsim.cli.{cmd_name}").command
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what the user can mend ends in a message and never in a traceback."""
        try:
            return super().invoke(ctx)
        except FedsimError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(_exit_code(error))
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(_INTERRUPTED)


def _exit_code(error: FedsimError) -> int:
    if isinstance(error, (ScenarioError, CalibrationError)):
        return _USER
    return _DISAGREEMENT if isinstance(error, AgreementError) else _OURS


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 2 your input; 3 prediction and run disagree; 1 our fault.",
)
@click.version_option(__version__, prog_name="fedsim")
def main() -> None:
    """Federated fine-tuning of LLMs: run it, count it, simulate it."""
