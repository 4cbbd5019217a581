"""The terminal: one place that prints."""

from __future__ import annotations

from rich.console import Console, RenderableType

__all__ = ["show"]

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
