"""What can go wrong, sorted by who must act.

This file decides the classes that callers may catch, and how a near miss is suggested. It does not
know how an error is shown: the command line turns these classes into messages and exit codes.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

__all__ = [
    "AgreementError",
    "CalibrationError",
    "FedsimError",
    "ProtocolError",
    "ScenarioError",
    "TrainingError",
    "UnitError",
    "nearest",
]


class FedsimError(Exception):
    """Any error that fedsim raises on purpose; its text is complete without a traceback."""


class ScenarioError(FedsimError):
    """The user's file or option is wrong: the user can mend it."""


class CalibrationError(FedsimError):
    """A measurement, a fit or a profile is missing, damaged or does not apply."""


class ProtocolError(FedsimError):
    """A framework's table says something that no interpreter can carry out."""


class TrainingError(FedsimError):
    """A real run diverged: its loss or its parameters are no finite numbers any more."""


class AgreementError(FedsimError):
    """Two interpreters disagree about a quantity that is counted: the mistake is ours."""


class UnitError(ScenarioError):
    """A quantity is not written as a number with a known unit.

    Parameters
    ----------
    found
        The text as the user wrote it.
    reason
        What is wrong with it, what is allowed and what to type instead.

    Notes
    -----
    The two parts stay apart because a file's reader names the value itself (``uplink = '10 mbps'``)
    and wants the reason alone; ``str(error)`` joins them for everybody else.
    """

    def __init__(self, found: str, reason: str) -> None:
        # Both go to `args`, or the error could not be pickled on its way out of a worker process.
        super().__init__(found, reason)
        self.found = found
        self.reason = reason

    def __str__(self) -> str:
        """Return ``'10 mbps': unit case is ambiguous; ...``."""
        return f"{self.found!r}: {self.reason}"


def nearest(word: str, allowed: Iterable[str], *, by_part: bool = False) -> str:
    """Suggest the allowed name that is spelled most like `word`.

    Parameters
    ----------
    word
        What the user wrote.
    allowed
        The names that would have been accepted.
    by_part
        Whether a name that shares most of the word somewhere is near too: 'a100' and
        'a100-80g-sxm'. Only where names of one kind differ in what they have besides.

    Returns
    -------
    str
        A sentence with a leading space, to be appended to a message; ``""`` if nothing is near.

    Examples
    --------
    >>> nearest("gpt-2", ["gpt2", "llama"])
    " Did you mean 'gpt2'?"
    >>> nearest("resnet", ["gpt2", "llama"])
    ''
    """
    # Compared without case: 'GPT2' for 'gpt2' is the commonest slip, and difflib sees no likeness.
    by_folded_name = {name.casefold(): name for name in allowed}
    matches = get_close_matches(word.casefold(), by_folded_name, n=1)
    if not matches and by_part:
        shared = {name: _shared(word.casefold(), name) for name in by_folded_name}
        best = max(shared, key=lambda name: shared[name], default="")
        if best and shared[best] >= max(4, len(word) / 2):
            matches = [best]
    return f" Did you mean {by_folded_name[matches[0]]!r}?" if matches else ""


def _shared(word: str, name: str) -> int:
    """Length of the longest text that is part of both."""
    return SequenceMatcher(None, word, name, autojunk=False).find_longest_match().size
