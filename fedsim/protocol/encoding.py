"""Codecs as a rewrite of any framework's protocol: what its messages become on the wire.

Frameworks say what is sent, in the format in which it is there; which codec it goes through, the
plan says. So no framework knows of codecs, a user's own neither.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from fedsim.codec import CODECS
from fedsim.errors import FedsimError, ProtocolError
from fedsim.protocol.payload import Payload
from fedsim.protocol.step import Compute, Gather, Protocol, Repeat, Segment, Step, Transfer
from fedsim.spec.codec import ENCODABLE, SEPARATOR, CodecWork, Encoding
from fedsim.spec.dtype import DTYPE_BYTES, is_float
from fedsim.spec.message import Content, Direction, TensorSpec
from fedsim.spec.plan import ClientPlan

__all__ = ["encoded_payload", "encoding_of", "with_codecs"]

_FAILURE_WORDS: Final = 300


def encoding_of(plan: ClientPlan, content: Content, direction: Direction) -> Encoding | None:
    """The codec of a message; None where it is sent as it is."""
    if content not in ENCODABLE:
        return None
    named = plan.codecs.of(content, direction)
    if named is not None:
        return named
    dtype = plan.training.numerics.payload_dtype
    return Encoding(content, direction, dtype, CODECS[dtype])


def with_codecs(protocol: Protocol, plan: ClientPlan) -> Protocol:
    """The protocol with every message as it is on the wire.

    A message that is encoded already stays as it is.

    Raises
    ------
    ProtocolError
        If a codec fails, or gives what no message can hold.
    """
    return replace(
        protocol,
        setup=_segments(protocol.setup, plan),
        round=_segments(protocol.round, plan),
        finish=_segments(protocol.finish, plan),
    )


@lru_cache(maxsize=1024)
def encoded_payload(payload: Payload, encoding: Encoding) -> Payload:
    """A payload on the wire.

    It stays the same where the codec would send every tensor as it is, for no work and without a
    memory.

    Raises
    ------
    ProtocolError
        If the codec fails, or gives what no message can hold.
    """
    tensors: list[TensorSpec] = []
    acts = encoding.codec.facts.is_stateful
    for tensor in payload.tensors:
        if not is_float(tensor.dtype):
            tensors.append(tensor)
            continue
        sent, works = _asked(encoding, tensor)
        acts = acts or sent != (tensor,) or any(work != CodecWork() for work in works)
        tensors.extend(sent)
    if not acts or not payload.tensors:
        return payload
    return Payload(payload.content, tuple(tensors), encoding.codec, payload.tensors)


def _segments(segments: tuple[Segment, ...], plan: ClientPlan) -> tuple[Segment, ...]:
    return tuple(
        segment
        if isinstance(segment, Gather)
        else replace(segment, steps=_steps(segment.steps, plan))
        for segment in segments
    )


def _steps(steps: tuple[Step, ...], plan: ClientPlan) -> tuple[Step, ...]:
    return tuple(_step(step, plan) for step in steps)


def _step(step: Step, plan: ClientPlan) -> Step:
    if isinstance(step, Compute):
        return step
    if isinstance(step, Repeat):
        return replace(step, steps=_steps(step.steps, plan))
    return _transfer(step, plan)


def _transfer(step: Transfer, plan: ClientPlan) -> Transfer:
    encoding = encoding_of(plan, step.payload.content, step.direction)
    if encoding is None or step.payload.codec is not None:
        return step
    payload = encoded_payload(step.payload, encoding)
    return step if payload is step.payload else replace(step, payload=payload)


def _asked(
    encoding: Encoding, tensor: TensorSpec
) -> tuple[tuple[TensorSpec, ...], tuple[CodecWork, CodecWork]]:
    """What a codec says of a tensor, checked: it may be a user's own code."""
    codec: Any = encoding.codec
    try:
        sent = tuple(codec.on_wire(tensor))
        works = (codec.encoding_work(tensor), codec.decoding_work(tensor))
    except FedsimError:
        raise
    # A user's codec may raise anything.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")[:_FAILURE_WORDS]
        raise ProtocolError(f"codec '{encoding.name}' fails on {_shown(tensor)}: {reason}.") from (
            error
        )
    for one in sent:
        if not isinstance(one, TensorSpec) or one.dtype not in DTYPE_BYTES:
            raise ProtocolError(
                f"codec '{encoding.name}' makes {one!r} of {_shown(tensor)}; allowed: a TensorSpec "
                f"in one of {', '.join(DTYPE_BYTES)}."
            )
        if one.name != tensor.name and not one.name.startswith(f"{tensor.name}{SEPARATOR}"):
            raise ProtocolError(
                f"codec '{encoding.name}' sends '{one.name}' for {_shown(tensor)}: the receiver "
                f"would not know what it belongs to; call it '{tensor.name}{SEPARATOR}WORD'."
            )
    if len({one.name for one in sent}) != len(sent) or not sent:
        raise ProtocolError(
            f"codec '{encoding.name}' makes {len(sent)} tensors of {_shown(tensor)}, and each must "
            "have a name of its own; at least one is needed."
        )
    for work in works:
        if not isinstance(work, CodecWork) or min(work.moved_bytes, work.num_operators) < 0:
            raise ProtocolError(
                f"codec '{encoding.name}' gives {work!r} as work on {_shown(tensor)}; a CodecWork "
                "of 0 or more is needed."
            )
    return sent, works


def _shown(tensor: TensorSpec) -> str:
    return f"'{tensor.name}' {tensor.shape} {tensor.dtype}"
