"""SIGTERM and SIGHUP end a command as Ctrl-C does: what it does on its way out is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

__all__ = ["Terminated", "ends_as_interrupted"]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)


class Terminated(KeyboardInterrupt):
    """A signal asked for the end; whatever tidies up behind Ctrl-C does so behind it.

    Parameters
    ----------
    number : int
        The signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """By convention 128 and the signal's number."""
        return 128 + self.number


@contextmanager
def ends_as_interrupted() -> Iterator[None]:
    """Raise :class:`Terminated` at SIGTERM and SIGHUP for the length of a block.

    A signal that somebody ignores (nohup) or handles is left to them, and threads have no say.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, _raise)
        for number in _SIGNALS
        if signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise(number: int, _frame: FrameType | None) -> None:
    raise Terminated(number)
