"""Codecs: what a message makes of its tensors on the way, counted and done.

A codec of one's own is a frozen dataclass in a file of its own. It has two halves that do not know
each other: the counting one says what a tensor becomes on the wire and needs no torch; the tensor
one makes it so, and imports torch inside of its functions.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from fedsim.errors import ScenarioError
from fedsim.spec.message import Content, Direction, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ENCODABLE",
    "SEPARATOR",
    "UNNAMED",
    "Codec",
    "CodecFacts",
    "CodecWork",
    "Codecs",
    "Encoding",
]

#: What may be encoded. Labels, positions, token ids and keys must arrive as they are; so must base
#: weights, which a client receives once.
ENCODABLE: Final = (
    Content.ADAPTERS,
    Content.LOGITS,
    Content.ACTIVATIONS,
    Content.ACTIVATION_GRADIENTS,
)
#: Stands between a tensor's name and what a codec adds to it, so that a receiver knows which
#: tensors of a message belong together.
SEPARATOR: Final = ":"


@dataclass(frozen=True, slots=True)
class CodecFacts:
    """What kind of codec it is.

    Attributes
    ----------
    is_stateful : bool
        Whether it keeps something of a message for the next one.
    needs_whole : bool
        Whether it must see a whole tensor ahead of its first byte on the wire; otherwise a message
        can be sent while it is still being computed.
    is_summable : bool
        Whether sums of encoded values are encoded sums, value by value: what secure aggregation
        adds up.
    """

    is_stateful: bool = False
    needs_whole: bool = True
    is_summable: bool = False


@dataclass(frozen=True, slots=True)
class CodecWork:
    """What encoding or decoding takes.

    Attributes
    ----------
    moved_bytes : int
        Read and written [B]; a codec that passes over a tensor five times moves it five times.
    num_operators : int
        Tensor operations, each of which a device launches.
    """

    moved_bytes: int = 0
    num_operators: int = 0


class Codec(Protocol):
    """What becomes of the tensors of a message.

    A codec that derives from this class needs no more than ``on_wire``, ``encode`` and ``decode``.
    It must be frozen, for plans are compared and kept by it.
    """

    @property
    def facts(self) -> CodecFacts:
        """What kind of codec it is; without a word, the one that is refused most."""
        return CodecFacts()

    # --- counted: no torch -------------------------------------------------------------------

    def on_wire(self, tensor: TensorSpec) -> tuple[TensorSpec, ...]:
        """The tensors of a message that stand for one plain tensor.

        The name of each is the plain one's, alone or with ``:`` and a word of the codec's own.
        """
        ...

    def encoding_work(self, tensor: TensorSpec) -> CodecWork:
        """What the sender does: read the tensor once and write the message, without more words."""
        return _one_pass(tensor, self.on_wire(tensor))

    def decoding_work(self, tensor: TensorSpec) -> CodecWork:
        """What the receiver does: read the message once and write the tensor."""
        return _one_pass(tensor, self.on_wire(tensor))

    # --- done: torch, imported inside --------------------------------------------------------

    def encode(
        self, name: str, tensor: Tensor, memory: MutableMapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The tensors of a message.

        Parameters
        ----------
        name : str
            The plain tensor's.
        tensor : Tensor
            Must not be changed.
        memory : mapping of str to Tensor
            This end's own, for messages of this content, client and direction; empty at first.
        """
        ...

    def decode(
        self,
        name: str,
        wire: Mapping[str, Tensor],
        like: Tensor,
        memory: MutableMapping[str, Tensor],
    ) -> Tensor:
        """The plain tensor again.

        Parameters
        ----------
        name : str
            The plain tensor's.
        wire : mapping of str to Tensor
            What :meth:`encode` made of it at the other end.
        like : Tensor
            Without data (on the device "meta"), of the shape and format that are wanted.
        memory : mapping of str to Tensor
            This end's own; see :meth:`encode`.
        """
        ...


def _one_pass(tensor: TensorSpec, wire: tuple[TensorSpec, ...]) -> CodecWork:
    return CodecWork(tensor.num_bytes + sum(t.num_bytes for t in wire), len(wire))


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec in its place.

    Attributes
    ----------
    content : Content
    direction : Direction
    name : str
        What its user calls the codec.
    codec : Codec
    """

    content: Content
    direction: Direction
    name: str
    codec: Codec

    def __post_init__(self) -> None:
        if self.content not in ENCODABLE:
            raise ScenarioError(
                f"codec '{self.name}' on {self.content.value}: it must arrive as it is; allowed: "
                f"{', '.join(c.value for c in ENCODABLE)}."
            )


@dataclass(frozen=True, slots=True)
class Codecs:
    """Which codec a plan's messages go through; those that are not named, the plan's format says.

    Attributes
    ----------
    encodings : tuple of Encoding
        One a content and direction.
    """

    encodings: tuple[Encoding, ...] = ()

    def __post_init__(self) -> None:
        places = [(e.content, e.direction) for e in self.encodings]
        for place in places:
            if places.count(place) > 1:
                raise ScenarioError(f"two codecs on {place[0].value} {place[1].value}; name one.")

    def of(self, content: Content, direction: Direction) -> Encoding | None:
        """The codec that is named for a message."""
        for encoding in self.encodings:
            if encoding.content is content and encoding.direction is direction:
                return encoding
        return None


#: Every message as the plan's format says.
UNNAMED: Final = Codecs()
