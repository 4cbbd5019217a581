"""What a reader must know of the codecs of a result."""

from __future__ import annotations

from fedsim.protocol.step import Each, Protocol, Transfer, leaf_steps
from fedsim.scenario.answer.outcome import Outcome
from fedsim.spec.device import DeviceSpec

__all__ = ["encoding_notes"]


def encoding_notes(found: Outcome, server: DeviceSpec) -> list[str]:
    """Codecs that work on devices where nobody measured what that takes."""
    estimated: dict[str, None] = {}
    for cost in found.answer.classes:
        if not _encodes(found.framework(cost.client_class.plan)):
            continue
        for device in (cost.client_class.device, server):
            if device.is_encoding_estimated:
                estimated[device.name] = None
    if not estimated:
        return []
    return [
        "encoding and decoding of messages are priced by an estimate on "
        f"{', '.join(estimated)}, where nobody measured them: their bytes as elementwise work's, "
        "their operators as small ones over parameters"
    ]


def _encodes(protocol: Protocol) -> bool:
    """Whether a codec does anything to what is sent in a round."""
    return any(
        isinstance(step, Transfer) and bool(step.payload.encoded)
        for segment in protocol.round
        if isinstance(segment, Each)
        for _, step in leaf_steps(segment.steps)
    )
