"""Payloads: named tensors, so that sizes are arithmetic and names match the real messages.

Three sizes, three words: *payload bytes* are the tensors' data, *message bytes* the serialized
safetensors buffer (header included), wire bytes belong to the link model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fedsim.protocol.operation import Content, Part
from fedsim.protocol.parameters import Parameter, part_parameters
from fedsim.spec.batch import BatchShape
from fedsim.spec.codec import Codec
from fedsim.spec.dtype import SAFETENSORS_CODE, index_dtype, is_float
from fedsim.spec.message import TensorSpec
from fedsim.spec.plan import ClientPlan, TrainingSpec

__all__ = [
    "Payload",
    "TensorSpec",
    "activation_gradient_payload",
    "activation_payload",
    "adapter_payload",
    "base_weights_payload",
    "encrypted_shares_payload",
    "logits_payload",
    "masked_payload",
    "public_key_payload",
    "public_text_payload",
    "safetensors_header_bytes",
    "shares_payload",
    "survivors_payload",
]

#: The order in which safetensors 0.8 lays out tensors: by dtype, then by name.
_DTYPE_ORDER = ("I64", "F64", "F32", "I32", "BF16", "F16", "U16", "U8")
_ALIGNMENT_BYTES = 8
_LENGTH_PREFIX_BYTES = 8

#: a_K and a_S of Bonawitz et al. (CCS 2017), section 7: 256 bits each.
_PUBLIC_KEY_BYTES: Final = 32
_SHARE_BYTES: Final = 32
#: Secrets of a client that are shared, and keys that it advertises: one for masks, one for shares.
_NUM_SECRETS: Final = 2
#: Initialization vector of 96 bits and tag of 128 bits of AES-GCM (NIST SP 800-38D), which the
#: paper's own count leaves out.
_CIPHER_FRAME_BYTES: Final = 12 + 16


@dataclass(frozen=True, slots=True)
class Payload:
    """What one message carries.

    Attributes
    ----------
    content : Content
        What it is about; the runtime fills the message by it.
    tensors : tuple of TensorSpec
        On the wire.
    codec : Codec or None
        What made them, where anything did.
    plain : tuple of TensorSpec
        What it made them of; empty without a codec.
    """

    content: Content
    tensors: tuple[TensorSpec, ...]
    codec: Codec | None = None
    plain: tuple[TensorSpec, ...] = ()

    @property
    def plain_tensors(self) -> tuple[TensorSpec, ...]:
        """The tensors as sender and receiver have them."""
        return self.tensors if self.codec is None else self.plain

    @property
    def plain_bytes(self) -> int:
        """Data of the tensors as sender and receiver have them [B]."""
        return sum(tensor.num_bytes for tensor in self.plain_tensors)

    @property
    def encoded(self) -> tuple[TensorSpec, ...]:
        """The plain tensors that the codec is given: whole numbers arrive as they are."""
        return () if self.codec is None else tuple(t for t in self.plain if is_float(t.dtype))

    @property
    def payload_bytes(self) -> int:
        """Data of all tensors [B]."""
        return sum(tensor.num_bytes for tensor in self.tensors)

    @property
    def message_bytes(self) -> int:
        """Length of the serialized safetensors buffer [B]."""
        return self.payload_bytes + safetensors_header_bytes(self.tensors)


@lru_cache(maxsize=4096)
def safetensors_header_bytes(tensors: tuple[TensorSpec, ...]) -> int:
    """Framing of a safetensors buffer: length prefix and padded JSON header [B].

    Notes
    -----
    The header is written out as the format does it (no metadata): tensors by dtype and then name,
    compact JSON, offsets from 0, padded with spaces to a multiple of 8. The order of insertion
    plays no part.

    References
    ----------
    safetensors 0.8, file format; reproduced byte for byte in the tests.
    """
    ordered = sorted(
        tensors,
        key=lambda t: (_DTYPE_ORDER.index(SAFETENSORS_CODE[t.dtype]), t.name.encode()),
    )
    header: dict[str, object] = {}
    offset = 0
    for tensor in ordered:
        end = offset + tensor.num_bytes
        header[tensor.name] = {
            "dtype": SAFETENSORS_CODE[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    padded = -(-len(text) // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    return _LENGTH_PREFIX_BYTES + padded


def _payload_of(content: Content, chosen: tuple[Parameter, ...], dtype: str) -> Payload:
    return Payload(content, tuple(TensorSpec(p.name, p.shape, dtype) for p in chosen))


@lru_cache(maxsize=1024)
def adapter_payload(training: TrainingSpec, part: Part, shares_head: bool = True) -> Payload:
    """Trained parameters of a part: LoRA factors, trained biases and the head; or all of them."""
    chosen = tuple(
        p
        for p in part_parameters(training, part)
        if p.is_trained and (shares_head or not p.is_head)
    )
    return _payload_of(Content.ADAPTERS, chosen, training.trained_dtype)


@lru_cache(maxsize=1024)
def base_weights_payload(training: TrainingSpec, part: Part) -> Payload:
    """Frozen weights of a part, which a client must receive once."""
    chosen = tuple(p for p in part_parameters(training, part) if not p.is_trained)
    return _payload_of(Content.BASE_WEIGHTS, chosen, training.numerics.weights_dtype)


def public_text_payload(plan: ClientPlan) -> Payload:
    """Token ids of the public data set with each sample's last token index."""
    text = plan.public_text
    if text is None or text.num_samples == 0:
        return Payload(Content.PUBLIC_TEXT, ())
    if text.padding == "max_tokens" or text.lengths is None:
        shape: tuple[int, ...] = (text.num_samples, text.max_tokens)
    else:
        # Dynamic padding is the receiver's own affair: texts travel without it.
        shape = (sum(min(n, text.max_tokens) for n in text.lengths),)
    return Payload(
        Content.PUBLIC_TEXT,
        (
            TensorSpec("token_ids", shape, index_dtype(plan.training.model.vocab_size)),
            TensorSpec("last_index", (text.num_samples,), index_dtype(text.max_tokens)),
        ),
    )


def logits_payload(plan: ClientPlan) -> Payload:
    """Logits of the whole public set in one message.

    Classification: ``(PD, C)``. Language model: V values at every position, ``(PD, T, V)`` padded
    and ``(tokens, V)`` otherwise.
    """
    text, training = plan.public_text, plan.training
    width = training.head.width(training.model.vocab_size)
    if text is None or text.num_samples == 0:
        return Payload(Content.LOGITS, ())
    if training.head.kind == "classification":
        shape: tuple[int, ...] = (text.num_samples, width)
    elif text.padding == "max_tokens" or text.lengths is None:
        shape = (text.num_samples, text.max_tokens, width)
    else:
        shape = (sum(min(n, text.max_tokens) for n in text.lengths), width)
    tensor = TensorSpec("logits", shape, training.numerics.compute_dtype)
    return Payload(Content.LOGITS, (tensor,))


def activation_payload(plan: ClientPlan, batch: BatchShape) -> Payload:
    """Activations at the cut with labels and each sample's last token index (step c2)."""
    training = plan.training
    hidden = TensorSpec(
        "activations",
        (*batch.token_shape, training.model.hidden_size),
        training.numerics.compute_dtype,
    )
    if training.head.kind == "classification":
        labels = TensorSpec("labels", (batch.num_samples,), index_dtype(training.head.num_classes))
    else:
        labels = TensorSpec("labels", batch.token_shape, index_dtype(training.model.vocab_size))
    last = TensorSpec(
        "last_index", (batch.num_samples,), index_dtype(plan.train_epochs[0].max_tokens)
    )
    return Payload(Content.ACTIVATIONS, (hidden, labels, last))


def activation_gradient_payload(plan: ClientPlan, batch: BatchShape) -> Payload:
    """Gradients of the activations at the cut (step c4)."""
    training = plan.training
    shape = (*batch.token_shape, training.model.hidden_size)
    tensor = TensorSpec("activation_gradients", shape, training.numerics.compute_dtype)
    return Payload(Content.ACTIVATION_GRADIENTS, (tensor,))


def public_key_payload(num_clients: int) -> Payload:
    """Both public keys of some clients."""
    tensor = TensorSpec("public_keys", (num_clients, _NUM_SECRETS, _PUBLIC_KEY_BYTES), "uint8")
    return Payload(Content.PUBLIC_KEYS, (tensor,))


def encrypted_shares_payload(num_clients: int) -> Payload:
    """One ciphertext to or from each of some clients: a share of each secret."""
    width = _NUM_SECRETS * _SHARE_BYTES + _CIPHER_FRAME_BYTES
    tensor = TensorSpec("encrypted_shares", (num_clients, width), "uint8")
    return Payload(Content.ENCRYPTED_SHARES, (tensor,))


def masked_payload(content: Content, num_values: int, num_bits: int) -> Payload:
    """A masked vector of ``num_bits`` a value, packed without gaps; nothing if it has no values."""
    if num_values == 0:
        return Payload(content, ())
    tensor = TensorSpec("masked_vector", (-(-num_values * num_bits // 8),), "uint8")
    return Payload(content, (tensor,))


def survivors_payload(num_clients: int) -> Payload:
    """Whether the vector of each of some clients has come: a byte each."""
    tensor = TensorSpec("survivors", (num_clients,), "uint8")
    return Payload(Content.SURVIVORS, (tensor,))


def shares_payload(num_clients: int) -> Payload:
    """One share of a secret of each of some clients."""
    tensor = TensorSpec("shares", (num_clients, _SHARE_BYTES), "uint8")
    return Payload(Content.SHARES, (tensor,))
