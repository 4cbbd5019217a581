"""Standard output that is full, closed, or of an encoding that lacks our characters.

Decides what becomes of an answer that cannot be shown as it is. One place for all commands: they
print by whatever means they like, and the stream remembers what went wrong.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

__all__ = ["READER_GONE", "UNWRITABLE", "standard_streams"]

_T = TypeVar("_T")
#: As a shell says of a program that SIGPIPE ended: whoever read our output has seen enough.
READER_GONE: Final = 141
UNWRITABLE: Final = 2


class _Watched:
    """A text stream that remembers the first error of writing to it.

    Libraries swallow some of them and end the program with a code of their own.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """As the stream's own."""
        count: int = self._tried(lambda: self._stream.write(text))
        return count

    def flush(self) -> None:
        """As the stream's own."""
        self._tried(self._stream.flush)

    def _tried(self, act: Callable[[], _T]) -> _T:
        try:
            return act()
        except OSError as error:
            self.error = self.error or error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Print what can be printed, and end with a message and a code where nothing can be.

    Raises
    ------
    SystemExit
        If standard output could not be written: :data:`READER_GONE` where a pipe's reader went
        away, which needs no words, and :data:`UNWRITABLE` with a line on standard error elsewhere.
    """
    for stream in (sys.stdout, sys.stderr):
        _replace_unknown_characters(stream)
    if sys.stdout is None:
        _say("Error: standard output is closed; give the command one, such as a file.")
        raise SystemExit(UNWRITABLE)
    before = sys.stdout
    watched = _Watched(before)
    sys.stdout = watched
    try:
        yield
    except OSError:
        if watched.error is None:
            raise
    finally:
        # Libraries may have put a stream of their own in its place; what is left goes out now.
        with suppress(OSError):
            watched.flush()
        sys.stdout = before
        if watched.error is not None:
            _end(watched.error, before)


def _replace_unknown_characters(stream: Any) -> None:
    """Print '?' for a character that the terminal's encoding has not, instead of nothing at all."""
    if getattr(stream, "errors", "") in ("strict", "surrogateescape"):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")


def _end(error: OSError, stream: Any) -> None:
    # What cannot be written is not tried again when the interpreter ends.
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    if error.errno == errno.EPIPE:
        raise SystemExit(READER_GONE)
    _say(f"Error: standard output cannot be written ({error.strerror or error}).")
    raise SystemExit(UNWRITABLE)


def _say(text: str) -> None:
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
