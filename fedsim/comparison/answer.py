"""What a question gets for an answer: sentences for people, numbers for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answer"]


@dataclass(frozen=True)
class Answer:
    """What a question gets for an answer.

    Attributes
    ----------
    kind : str
        ``least``, ``within``, ``first`` or ``instead_of``.
    sentences : tuple of str
        The answer and the reason; then further metrics, one each.
    is_decided : bool
        Whether the 95 % interval leaves no other answer.
    values : tuple of dict
        The numbers in it, for programs.
    """

    kind: str
    sentences: tuple[str, ...]
    is_decided: bool
    values: tuple[dict[str, Any], ...] = field(default=())

    def table(self) -> dict[str, Any]:
        """As in the JSON."""
        return {
            "kind": self.kind,
            "sentences": list(self.sentences),
            "is_decided": self.is_decided,
            "values": list(self.values),
        }
