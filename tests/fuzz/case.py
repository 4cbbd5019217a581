"""One case: a seed and a number say which file is damaged how; bounds on time and memory."""

from __future__ import annotations

import resource
import signal
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Final

from fedsim.errors import FedsimError
from fuzz.targets import TARGETS, Target

__all__ = ["BUDGET_CPU_S", "Failure", "TooLongError", "bounded", "run_case", "target_of"]

#: Processor time, which other programs' load does not lengthen.
BUDGET_CPU_S: Final = 20.0
_MAX_BYTES: Final = 2_000_000_000
#: Longer messages are floods, whatever they say.
_MAX_MESSAGE: Final = 20_000


@dataclass(frozen=True)
class Failure:
    """What a case came to.

    Attributes
    ----------
    target : str
    number : int
    kind : {"crash", "hang", "number", "message"}
    text : str
    """

    target: str
    number: int
    kind: str
    text: str


class TooLongError(BaseException):
    """A case kept the processor busy for longer than is allowed; nothing may catch it."""


@contextmanager
def bounded(cpu_s: float) -> Iterator[None]:
    """Limits on processor time and memory."""

    def stop(_: int, frame: FrameType | None) -> None:
        place = "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
        raise TooLongError(place)

    before = signal.signal(signal.SIGVTALRM, stop)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _MAX_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGVTALRM, before)


def target_of(number: int) -> str:
    """The target of a case: one after the other."""
    return list(TARGETS)[number % len(TARGETS)]


def run_case(
    seed: int, number: int, keep: Path | None = None, targets: dict[str, Target] = TARGETS
) -> Failure | None:
    """Run one case; the same seed and number give the same file.

    Parameters
    ----------
    seed, number : int
    keep : Path, optional
        Where the files of a case that fails are left.
    targets : dict, optional
        By name.
    """
    name = list(targets)[number % len(targets)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if keep is None else keep
        return _judged(name, targets[name], folder, seed, number)


def _judged(name: str, target: Target, folder: Path, seed: int, number: int) -> Failure | None:
    draw = Random(f"{seed}/{number}")
    try:
        with bounded(BUDGET_CPU_S):
            wrong = list(target(folder, draw))
    except FedsimError as error:
        text = str(error)
        if not text.strip() or len(text) > _MAX_MESSAGE:
            return Failure(name, number, "message", f"{len(text)} characters: {text[:200]}")
        return None
    except TooLongError as error:
        return Failure(name, number, "hang", f"more than {BUDGET_CPU_S:g} s at {error}")
    except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
        return Failure(name, number, "crash", traceback.format_exc())
    if wrong:
        return Failure(name, number, "number", "\n".join(wrong[:10]))
    return None
