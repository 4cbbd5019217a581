"""Commands by name, imported only when called: ``--help`` needs none of what they need."""

from __future__ import annotations

import importlib
from typing import Any

import click

from fedsim.errors import nearest

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group that knows its commands by module and help text.

    Parameters
    ----------
    lazy : dict of str to (str, str)
        By name: the module in ``fedsim.cli`` whose ``command`` it is, and its help, which stands
        with the group because reading it from there would import it.
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names, in the order in which a user meets them."""
        return list(self._lazy)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self._lazy:
            return None
        module = importlib.import_module(f"fedsim.cli.{self._lazy[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; a mistyped one is answered with the nearest."""
        if args and args[0] not in self._lazy and not args[0].startswith("-"):
            raise click.UsageError(
                f"No such command {args[0]!r}; allowed: {', '.join(self._lazy)}."
                f"{nearest(args[0], self._lazy)}",
                ctx,
            )
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])
