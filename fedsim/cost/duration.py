"""Seconds of computing and of sending, where nobody else queues.

The only place where a device's coefficients meet work and a link's rate meets bytes; every
simulating interpreter calls these two functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from fedsim.cost.work import (
    Work,
    decoding_work,
    encoding_work,
    operation_work,
    pack_work,
    sum_of_work,
    unpack_work,
)
from fedsim.protocol.operation import Operation
from fedsim.protocol.payload import Payload
from fedsim.protocol.step import Direction
from fedsim.spec.device import FEATURES, DeviceSpec, Form, Regime
from fedsim.spec.link import LinkSpec, loss_limited_bytes_per_s
from fedsim.spec.plan import TrainingSpec

__all__ = [
    "PARTS",
    "combine",
    "compute_seconds",
    "decoding_seconds",
    "encoding_seconds",
    "gathered_seconds",
    "operation_regime",
    "operation_seconds",
    "pack_seconds",
    "request_seconds",
    "startup_seconds",
    "transfer_seconds",
    "unpack_seconds",
]

#: Which part of a step's time each feature belongs to.
PARTS: Final[dict[str, str]] = {
    "linear_flop": "arithmetic",
    "attention_flop": "arithmetic",
    "head_flop": "arithmetic",
    "lora_bytes": "traffic",
    "moved_bytes": "traffic",
    "weight_bytes": "traffic",
    "parameter_bytes": "traffic",
    "num_kernels": "launches",
    "num_parameter_kernels": "launches",
    "num_replaced_tensors": "launches",
    "num_calls": "rest",
    "packed_bytes": "rest",
    "unpacked_bytes": "rest",
    "num_packed_tensors": "rest",
    "num_unpacked_tensors": "rest",
    "num_messages": "rest",
    "copied_bytes": "rest",
    "encoded_bytes": "rest",
    "decoded_bytes": "rest",
    "num_codec_kernels": "rest",
}

#: What requests in one batch launch or read together.
_PAID_ONCE: Final = ("num_kernels", "num_parameter_kernels", "num_calls", "weight_bytes")


def combine(form: Form, arithmetic: float, traffic: float, launches: float, rest: float) -> float:
    """Seconds of a step from the seconds of its parts [s].

    Parameters
    ----------
    form : {"additive", "roofline", "dispatch"}
        ``additive``: one after the other. ``roofline``: arithmetic and memory traffic overlap
        (Williams et al. 2009). ``dispatch``: the host launches operators while the device still
        works on earlier ones, as an accelerator's stream does.
    arithmetic, traffic, launches, rest : float
        See :data:`PARTS` [s].
    """
    if form == "additive":
        return arithmetic + traffic + launches + rest
    if form == "roofline":
        return max(arithmetic, traffic) + launches + rest
    return max(launches, arithmetic + traffic) + rest


def compute_seconds(work: Work, device: DeviceSpec) -> float:
    """Seconds that a device takes for some work [s]."""
    rates = device.seconds_per_unit
    parts = {"arithmetic": 0.0, "traffic": 0.0, "launches": 0.0, "rest": 0.0}
    for feature, amount in zip(FEATURES, work.features(), strict=True):
        parts[PARTS[feature]] += amount * rates.get(feature, 0.0)
    return combine(device.form, **parts)


def operation_regime(operation: Operation) -> Regime:
    """Which of the time model's regimes an operation belongs to."""
    return "model" if operation.facts.is_model_pass else "parameters"


def pack_seconds(payload: Payload, device: DeviceSpec) -> float:
    """Seconds that the sender takes to encode a message and write it into a buffer [s]."""
    return compute_seconds(pack_work(payload), device)


def encoding_seconds(payload: Payload, device: DeviceSpec) -> float:
    """Of :func:`pack_seconds`, what the codec takes [s]."""
    return 0.0 if payload.codec is None else compute_seconds(encoding_work(payload), device)


def decoding_seconds(payload: Payload, device: DeviceSpec) -> float:
    """Of :func:`unpack_seconds`, what the codec takes [s]."""
    return 0.0 if payload.codec is None else compute_seconds(decoding_work(payload), device)


def unpack_seconds(payload: Payload, device: DeviceSpec) -> float:
    """Seconds that the receiver takes to read a message out of a buffer and decode it [s]."""
    return compute_seconds(unpack_work(payload), device)


@lru_cache(maxsize=65536)
def operation_seconds(
    operation: Operation, training: TrainingSpec, device: DeviceSpec, num_contributions: int = 1
) -> float:
    """Seconds that a device takes for one operation [s]; see :func:`operation_work`."""
    return compute_seconds(operation_work(operation, training, num_contributions), device)


def gathered_seconds(
    parts: Sequence[tuple[Operation, TrainingSpec, int]], device: DeviceSpec
) -> float:
    """Seconds of one operation on what unequal clients contributed [s].

    Parameters
    ----------
    parts : sequence of (Operation, TrainingSpec, int)
        The operation as each kind of contribution has it, that kind's training, and how many there
        are of it.
    device : DeviceSpec
    """
    works = [operation_work(operation, training, count) for operation, training, count in parts]
    return compute_seconds(sum_of_work(works), device)


def request_seconds(
    operation: Operation, training: TrainingSpec, device: DeviceSpec
) -> tuple[float, float]:
    """Seconds of one request to an accelerator: what is its own, and what a batch pays once [s].

    Requests that are taken up together launch the same operators and read the same weights, so
    those parts count once; everything else adds up. Alone, a request takes the sum of the two.
    """
    work = operation_work(operation, training)
    together = compute_seconds(work, device)
    own = compute_seconds(replace(work, **dict.fromkeys(_PAID_ONCE, 0.0)), device)
    return own, together - own


@lru_cache(maxsize=65536)
def transfer_seconds(message_bytes: int, direction: Direction, link: LinkSpec) -> float:
    """Seconds from the start of a message to the arrival of its last byte [s].

    Handshake, then slow start without loss: in round k the sender has ``window * 2^k`` bytes to
    send and idles for the rest of a round trip until the window covers the path.

    Parameters
    ----------
    message_bytes : int
        Serialized buffer; the link's framing is added here.
    direction : Direction
    link : LinkSpec

    Notes
    -----
    ``handshake + n / R' + RTT / 2 + sum over k of max(0, RTT - W 2^k / R')``, over all k >= 0 with
    ``W (2^(k+1) - 1) < n``, ``R' = rate * payload_fraction`` and W the initial window. Left
    out: competing traffic, delayed acknowledgements. A message of zero bytes is not sent and takes
    no time.
    """
    if message_bytes == 0:
        return 0.0
    rate = link.uplink_bytes_per_s if direction is Direction.UP else link.downlink_bytes_per_s
    if link.loss_probability > 0:
        limit = loss_limited_bytes_per_s(link.loss_probability, link.round_trip_s)
        rate = min(rate, limit / link.payload_fraction)
    goodput = rate * link.payload_fraction
    startup = startup_seconds(message_bytes, goodput, link.round_trip_s, link)
    return startup + message_bytes / goodput + link.round_trip_s / 2


def startup_seconds(
    message_bytes: int, goodput_bytes_per_s: float, round_trip_s: float, link: LinkSpec
) -> float:
    """Delay ahead of a message's flow: endpoints, handshake and the stalls of slow start [s].

    Parameters
    ----------
    message_bytes : int
    goodput_bytes_per_s : float
        Of the path with nobody else on it; 0 in an outage [B/s].
    round_trip_s : float
        Of this client [s].
    link : LinkSpec
        Its class's: handshake, initial window and constant cost.
    """
    seconds = link.message_s + link.handshake_round_trips * round_trip_s
    window = float(link.initial_window_bytes)
    sent = window
    # In an outage the window is not what it waits for.
    while 0 < sent < message_bytes and goodput_bytes_per_s > 0:
        stall = round_trip_s - window / goodput_bytes_per_s
        if stall <= 0:
            break
        seconds += stall
        window *= 2
        sent += window
    return seconds
