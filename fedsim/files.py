"""Write files whole or not at all, under temporary names that no other program uses.

Decides how a file is put in the place of another. What a failure means to a user is the caller's to
say: everything here raises ``OSError``.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["is_same_file", "overwritten", "replaced", "temporary_name", "write_file"]


def temporary_name(path: Path) -> Path:
    """A new name beside ``path``: two programs that write one file do not meet in it."""
    # Not a part of the file's own name, which may be as long as a name can be.
    return path.with_name(f".{secrets.token_hex(8)}.part")


@contextmanager
def replaced(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Temporary files to write, which take their places in order when the block ends well.

    A symbolic link stays: the file that it names is replaced. If the block or a renaming fails, the
    temporary files are removed, and what is not yet replaced stays.

    Raises
    ------
    OSError
    """
    targets = [path.resolve() for path in paths]
    temporaries = tuple(temporary_name(target) for target in targets)
    try:
        yield temporaries
        for temporary, target in zip(temporaries, targets, strict=True):
            temporary.replace(target)
    finally:
        for temporary in temporaries:
            # What went wrong before is what there is to say.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes, *, is_synced: bool = False) -> None:
    """Write a file whole or not at all.

    Parameters
    ----------
    path : Path
    content : str or bytes
        Text is written as UTF-8.
    is_synced : bool
        Whether the bytes are on disk, and not only on their way, ahead of the renaming.

    Raises
    ------
    OSError
        What was there stays.
    """
    body = content.encode("utf-8") if isinstance(content, str) else content
    with replaced(path) as (temporary,), temporary.open("wb") as stream:
        stream.write(body)
        if is_synced:
            stream.flush()
            os.fsync(stream.fileno())


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths name one file, by whatever spelling, symbolic link or hard link."""
    try:
        if one.exists() and other.exists():
            return one.samefile(other)
        return one.resolve() == other.resolve()
    except (OSError, ValueError, RuntimeError):
        # A name that no system takes, or links in a circle: no file that could be lost.
        return False


def overwritten(outputs: Iterable[Path], inputs: Iterable[Path]) -> tuple[Path, Path] | None:
    """The first output that is also an input, and that input; None if there is none."""
    known = list(inputs)
    for output in outputs:
        for path in known:
            if is_same_file(output, path):
                return output, path
    return None
