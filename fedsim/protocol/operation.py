"""The operations that a step may ask for, and the parts of the model that they touch.

An operation is a value. From it and a plan ``flop``, ``work`` and ``memory`` derive what it costs;
the runtime executes it and never sees the cost. What kind of thing it is, it says itself
(:class:`Facts`), so that whoever asks lists no classes and knows a new operation by what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from fedsim.spec.batch import BatchShape
from fedsim.spec.message import Content

__all__ = [
    "AddNoise",
    "Aggregate",
    "AgreeKeys",
    "BackwardFromCut",
    "Clip",
    "Content",
    "Distill",
    "Facts",
    "ForwardToCut",
    "InferLogits",
    "Loss",
    "MaskVector",
    "ModelOperation",
    "OpenShares",
    "Operation",
    "Part",
    "PrivacyOperation",
    "ProcessKnowledge",
    "RecoverSecrets",
    "Replace",
    "ShareSecrets",
    "Train",
    "TrainAboveCut",
]


class Loss(StrEnum):
    """What a training pass follows."""

    TRAINING = "training"
    DISTILLATION = "distillation"


@dataclass(frozen=True, slots=True)
class Facts:
    """What kind of operation it is; one value for all operations of a class.

    Attributes
    ----------
    forward, backward : bool
        Which passes over its part of the model it makes; an operation that makes any has a
        ``part`` and a ``batch``.
    loss : Loss or None
        Of which a value is left behind.
    gathers : bool
        Whether it reads what each client contributed, so that its amount grows with them.
    is_executable : bool
        Whether a real run does it; otherwise it is counted and modeled only.
    """

    forward: bool = False
    backward: bool = False
    loss: Loss | None = None
    gathers: bool = False
    is_executable: bool = True

    @property
    def is_model_pass(self) -> bool:
        """Whether texts go through the model, and not only parameters through an average."""
        return self.forward or self.backward


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the model in half-blocks: ``start`` inclusive, ``stop`` exclusive.

    The part that starts at 0 holds the embeddings, the one that stops at ``2 L`` holds the last
    norm and the head.
    """

    start: int
    stop: int
    has_head: bool

    @property
    def has_embedding(self) -> bool:
        """Whether the part begins with the token embedding."""
        return self.start == 0

    @classmethod
    def whole(cls, num_layers: int) -> Part:
        """The whole model."""
        return cls(0, 2 * num_layers, has_head=True)

    @classmethod
    def below(cls, position: int) -> Part:
        """The client's side of a cut."""
        return cls(0, position, has_head=False)

    @classmethod
    def above(cls, position: int, num_layers: int) -> Part:
        """The server's side of a cut."""
        return cls(position, 2 * num_layers, has_head=True)


@dataclass(frozen=True, slots=True)
class Train:
    """Forward, loss and backward on private samples; an optimizer step where ``is_update``."""

    facts: ClassVar[Facts] = Facts(forward=True, backward=True, loss=Loss.TRAINING)
    part: Part
    batch: BatchShape
    is_update: bool = True


@dataclass(frozen=True, slots=True)
class InferLogits:
    """Forward in evaluation mode without gradients; logits of public samples."""

    facts: ClassVar[Facts] = Facts(forward=True)
    part: Part
    batch: BatchShape


@dataclass(frozen=True, slots=True)
class Distill:
    """Training on public samples towards received logits."""

    facts: ClassVar[Facts] = Facts(forward=True, backward=True, loss=Loss.DISTILLATION)
    part: Part
    batch: BatchShape
    is_update: bool = True


@dataclass(frozen=True, slots=True)
class ForwardToCut:
    """The client's forward pass up to the cut, kept for the backward pass."""

    facts: ClassVar[Facts] = Facts(forward=True)
    part: Part
    batch: BatchShape


@dataclass(frozen=True, slots=True)
class TrainAboveCut:
    """The server's forward, loss and backward on received activations."""

    facts: ClassVar[Facts] = Facts(forward=True, backward=True, loss=Loss.TRAINING)
    part: Part
    batch: BatchShape
    is_update: bool = True


@dataclass(frozen=True, slots=True)
class BackwardFromCut:
    """The client's backward pass from received activation gradients."""

    facts: ClassVar[Facts] = Facts(backward=True)
    part: Part
    batch: BatchShape
    is_update: bool = True


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Weighted average of what the clients sent (and of server-side copies, if there are any)."""

    facts: ClassVar[Facts] = Facts(gathers=True)
    content: Content
    part: Part


@dataclass(frozen=True, slots=True)
class ProcessKnowledge:
    """Turn the clients' logits into one set to distil from."""

    facts: ClassVar[Facts] = Facts(gathers=True)
    num_rows: int
    num_columns: int


@dataclass(frozen=True, slots=True)
class Replace:
    """Put received parameters in the place of one's own."""

    facts: ClassVar[Facts] = Facts()
    content: Content
    part: Part


@dataclass(frozen=True, slots=True)
class AgreeKeys:
    """Multiply a point of the key agreement's curve, to make a key pair or to agree on a secret."""

    facts: ClassVar[Facts] = Facts(is_executable=False)
    num_products: int


@dataclass(frozen=True, slots=True)
class ShareSecrets:
    """Split secrets by Shamir's scheme and encrypt each holder's shares.

    Attributes
    ----------
    num_secrets : int
    num_shares : int
        Of each secret.
    threshold : int
        Shares that recover one.
    num_ciphertexts : int
        Holders to whom shares are sent.
    """

    facts: ClassVar[Facts] = Facts(is_executable=False)
    num_secrets: int
    num_shares: int
    threshold: int
    num_ciphertexts: int


@dataclass(frozen=True, slots=True)
class OpenShares:
    """Decrypt the shares that others sent."""

    facts: ClassVar[Facts] = Facts(is_executable=False)
    num_ciphertexts: int


@dataclass(frozen=True, slots=True)
class MaskVector:
    """Quantize a vector and add masks to it, each expanded from a seed; or take both away again."""

    facts: ClassVar[Facts] = Facts(is_executable=False)
    num_values: int
    num_masks: int


@dataclass(frozen=True, slots=True)
class RecoverSecrets:
    """Recover secrets from their shares.

    Attributes
    ----------
    num_secrets : int
    num_holder_sets : int
        Different sets of holders, each with Lagrange coefficients of its own.
    threshold : int
        Shares that recover one.
    """

    facts: ClassVar[Facts] = Facts(is_executable=False)
    num_secrets: int
    num_holder_sets: int
    threshold: int


@dataclass(frozen=True, slots=True)
class Clip:
    """Scale a vector down to a norm; where ``is_difference``, subtract what was received first."""

    facts: ClassVar[Facts] = Facts(is_executable=False)
    num_values: int
    is_difference: bool


@dataclass(frozen=True, slots=True)
class AddNoise:
    """Add Gaussian noise to every value of a vector."""

    facts: ClassVar[Facts] = Facts(is_executable=False)
    num_values: int


#: Steps that :func:`fedsim.protocol.privacy.with_privacy` adds: integers alone say what they cost.
PrivacyOperation = (
    AgreeKeys | ShareSecrets | OpenShares | MaskVector | RecoverSecrets | Clip | AddNoise
)

#: Those that pass texts through a part of the model.
ModelOperation = Train | InferLogits | Distill | ForwardToCut | TrainAboveCut | BackwardFromCut

Operation = ModelOperation | Aggregate | ProcessKnowledge | Replace | PrivacyOperation
