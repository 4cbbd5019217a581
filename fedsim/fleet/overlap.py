"""Which uploads begin while the client still computes what they carry (``policy.overlap``).

Logits and activations come sample by sample, so a client can send the first while it computes the
last; adapters are there when training ends. Decides which steps go together, and nothing about how
an engine has them go.
"""

from __future__ import annotations

from typing import Final

from fedsim.protocol.operation import Content
from fedsim.protocol.payload import Payload
from fedsim.protocol.step import Compute, Direction, Repeat, Site, Step, Transfer

__all__ = ["STREAMED", "can_stream", "streamed_uploads"]

#: What comes sample by sample.
STREAMED: Final = frozenset({Content.LOGITS, Content.ACTIVATIONS})


def streamed_uploads(steps: tuple[Step, ...]) -> dict[int, int]:
    """Steps that overlap, of one level of a protocol.

    Returns
    -------
    dict of int to int
        Place of the first of the client's computations that make a message, to the place of that
        message; all of one label, and right ahead of it.
    """
    found = {}
    for place, step in enumerate(steps):
        if not _is_streamed(step):
            continue
        first, label = place, None
        while first > 0:
            own = _client_label(steps[first - 1])
            if own is None or label not in (None, own):
                break
            first, label = first - 1, own
        if first < place:
            found[first] = place
    return found


def can_stream(payload: Payload) -> bool:
    """Whether its first bytes can be sent ahead of its last ones, whatever computes them."""
    facts = None if payload.codec is None else payload.codec.facts
    return facts is None or not (facts.needs_whole or facts.is_stateful)


def _is_streamed(step: Step) -> bool:
    return (
        isinstance(step, Transfer)
        and step.direction is Direction.UP
        and step.payload.content in STREAMED
        and step.payload.message_bytes > 0
        and can_stream(step.payload)
    )


def _client_label(step: Step) -> str | None:
    """Label of a computation of the client's, repeated or not."""
    if isinstance(step, Repeat) and len(step.steps) == 1:
        (step,) = step.steps
    if isinstance(step, Compute) and step.site is Site.CLIENT:
        return step.label
    return None
