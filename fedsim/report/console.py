"""The terminal: one place that prints."""

from __future__ import annotations

from io import StringIO

from rich.console import Console, RenderableType

__all__ = ["as_text", "show"]

#: Wider lines are harder to read, and a file or pipe has no width of its own.
_MAX_WIDTH = 160
_FILE_WIDTH = 100


def show(renderable: RenderableType) -> None:
    """Print to standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_FILE_WIDTH)
    elif console.width > _MAX_WIDTH:
        console = Console(width=_MAX_WIDTH)
    console.print(renderable)


def as_text(renderable: RenderableType) -> str:
    """What :func:`show` writes into a file: no colors."""
    console = Console(file=StringIO(), width=_FILE_WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()
