"""What codecs cost and from which link rate on they are not worth their time, as Markdown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from fedsim.calibration.profile import find_profile, load_profile
from fedsim.codec import CODECS
from fedsim.cost.duration import (
    decoding_seconds,
    encoding_seconds,
    pack_seconds,
    transfer_seconds,
    unpack_seconds,
)
from fedsim.protocol.encoding import encoded_payload
from fedsim.protocol.payload import Payload
from fedsim.scenario.build.codec import find_codec
from fedsim.spec.codec import Encoding
from fedsim.spec.device import DeviceSpec
from fedsim.spec.device_catalogue import device
from fedsim.spec.link import LinkSpec
from fedsim.spec.message import Content, Direction, TensorSpec
from fedsim.units import format_bytes, format_bytes_per_s, format_seconds

__all__ = ["codec_table"]

#: Activations of a batch of the case study, in 32 bits.
_TENSOR: Final = TensorSpec("activations", (16, 80, 768), "float32")
_PLAIN: Final = Payload(Content.ACTIVATIONS, (_TENSOR,))
_RATE: Final = 100e6 / 8
_PROFILE: Final = "cpu-2-threads"
_CATALOGUE: Final = ("rpi5-8g", "a100-80g-sxm")
_OWN: Final = "eight_bits:EightBits"


def codec_table() -> str:
    """One message of the example on some devices, at both ends the same."""
    devices = [load_profile(find_profile(_PROFILE)).device, *map(device, _CATALOGUE)]
    lines = [
        "| codec | device, at both ends | on the wire | encoding | decoding | message in all | "
        "without | not worth its time above |",
        "|---|---|---|---|---|---|---|---|",
    ]
    folder = Path(__file__).parent / "examples"
    for name in ("float16", "bfloat16", _OWN):
        codec = CODECS[name] if name in CODECS else find_codec(name, folder)
        payload = encoded_payload(_PLAIN, Encoding(_PLAIN.content, Direction.UP, name, codec))
        lines += [_row(name, payload, each) for each in devices]
    return "\n".join(lines) + "\n"


def _row(name: str, payload: Payload, spec: DeviceSpec) -> str:
    cells = (
        f"`{name}`",
        f"`{spec.name}`" + (" (estimate)" if spec.is_encoding_estimated else ""),
        format_bytes(payload.payload_bytes),
        format_seconds(encoding_seconds(payload, spec)),
        format_seconds(decoding_seconds(payload, spec)),
        format_seconds(_seconds(payload, spec)),
        format_seconds(_seconds(_PLAIN, spec)),
        _break_even(payload, spec),
    )
    return "| " + " | ".join(cells) + " |"


def _seconds(payload: Payload, spec: DeviceSpec) -> float:
    """From the first byte read to the last one decoded, on the example's link [s]."""
    return _at_ends(payload, spec) + transfer_seconds(payload.message_bytes, Direction.UP, _link())


def _at_ends(payload: Payload, spec: DeviceSpec) -> float:
    return pack_seconds(payload, spec) + unpack_seconds(payload, spec)


def _break_even(payload: Payload, spec: DeviceSpec) -> str:
    lost = _at_ends(payload, spec) - _at_ends(_PLAIN, spec)
    if lost <= 0:
        return "no rate: fewer bytes are written and read"
    saved = _PLAIN.message_bytes - payload.message_bytes
    return format_bytes_per_s(saved / lost / _link().payload_fraction)


def _link() -> LinkSpec:
    return LinkSpec(
        "100 Mbit/s",
        _RATE,
        _RATE,
        0.0,
        handshake_round_trips=0,
        initial_window_bytes=0,
    )


if __name__ == "__main__":
    sys.stdout.write(codec_table())
