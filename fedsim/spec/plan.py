"""One client's plan: the values from which its round is built.

Plans may differ by client and by round; interpreters never change for that. The server's own work
(distilling the global model, say) is built from a plan as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedsim.errors import ScenarioError
from fedsim.spec.batch import TextLengths
from fedsim.spec.codec import UNNAMED, Codecs
from fedsim.spec.dtype import FloatDtype
from fedsim.spec.model import HeadSpec, ModelSpec
from fedsim.spec.tuning import LoraTuning, Tuning

__all__ = ["ClientPlan", "Cut", "Numerics", "Optimizer", "ServerVariant", "TrainingSpec"]

Optimizer = Literal["adam", "sgd"]
ServerVariant = Literal["v1", "v2"]


@dataclass(frozen=True, slots=True)
class Numerics:
    """Formats and memory-saving choices of training.

    Attributes
    ----------
    weights_dtype : str
        Of the frozen base weights, in memory and in the one-off set-up.
    compute_dtype : str
        Of activations; differs from ``weights_dtype`` under autocast.
    payload_dtype : str
        Of everything that is sent in a round and that no codec is named for: adapters,
        activations, gradients, logits.
    is_checkpointed : bool
        Gradient checkpointing of every block: activations are recomputed in the backward pass.
    """

    weights_dtype: FloatDtype = "float32"
    compute_dtype: FloatDtype = "float32"
    payload_dtype: FloatDtype = "float32"
    is_checkpointed: bool = False

    def __post_init__(self) -> None:
        if self.weights_dtype not in ("float32", self.compute_dtype):
            raise ScenarioError(
                f"compute_dtype = '{self.compute_dtype}' with weights_dtype = "
                f"'{self.weights_dtype}': 16-bit weights compute in their own format; set "
                f"compute_dtype = '{self.weights_dtype}' or weights_dtype = 'float32'."
            )


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """Which function is trained how: all that the work per batch depends on.

    Attributes
    ----------
    model, head, tuning, numerics
        See there.
    model_dropout : float
        The model's own dropout rate (GPT-2: embedding, attention and residual; 0.1 in its
        ``config.json``). It changes memory and time, never FLOPs but for recomputation.
    optimizer : {"adam", "sgd"}
        Adam keeps two values a trained parameter.
    """

    model: ModelSpec
    head: HeadSpec
    tuning: Tuning
    numerics: Numerics = Numerics()
    model_dropout: float = 0.0
    optimizer: Optimizer = "adam"

    def __post_init__(self) -> None:
        self.tuning.check(self.model)
        if not 0 <= self.model_dropout < 1:
            raise ScenarioError(f"model dropout = {self.model_dropout}; allowed: 0 <= p < 1.")

    @property
    def trained_dtype(self) -> FloatDtype:
        """Format of the trained parameters: adapters are kept in 32 bits beside 16-bit weights."""
        return self.numerics.weights_dtype if self.lora is None else "float32"

    @property
    def lora(self) -> LoraTuning | None:
        """The LoRA settings, or None for full fine-tuning."""
        return self.tuning if isinstance(self.tuning, LoraTuning) else None


@dataclass(frozen=True, slots=True)
class Cut:
    """Where Split-FedLLM cuts the model.

    Attributes
    ----------
    layer : int
        s, whole blocks on the client.
    is_half_block : bool
        Cut within block ``s + 1``: its attention on the client, its feed-forward on the server.
    """

    layer: int
    is_half_block: bool = False

    @property
    def position(self) -> int:
        """Half-blocks on the client: ``2 s``, or ``2 s + 1``."""
        return 2 * self.layer + int(self.is_half_block)

    def check(self, model: ModelSpec) -> None:
        """Raise ``ScenarioError`` unless both sides get a part of the model."""
        lowest = 0 if self.is_half_block else 1
        highest = model.num_layers - 1
        if not lowest <= self.layer <= highest:
            kind = "half-block cut" if self.is_half_block else "cut"
            raise ScenarioError(
                f"split.cut_layer = {self.layer}: {model.name} has {model.num_layers} blocks; "
                f"allowed for a {kind}: {lowest} to {highest}."
            )


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """Everything that one client's round is built from.

    Attributes
    ----------
    training : TrainingSpec
        Model, head, tuning and numerics.
    train_epochs : tuple of TextLengths
        Private samples of each local epoch of the round, in visiting order.
    public_text : TextLengths or None
        Public data set (KD-FedLLM), visited in the same order every time.
    batch_size : int
        Samples that go through the model at once.
    accumulation_steps : int
        Batches whose gradients are summed before one optimizer step.
    distillation_epochs : int
        Passes over the public set when distilling, at the server and at the client.
    cut : Cut or None
        Where the model is cut (Split-FedLLM).
    server_variant : {"v1", "v2"}
        One server-side copy a client, averaged; or one shared server-side model.
    shares_head : bool
        Whether a trained classification head is exchanged with the adapters.
    codecs : Codecs
        What messages go through; where none is named, a cast to ``numerics.payload_dtype``.
    """

    training: TrainingSpec
    train_epochs: tuple[TextLengths, ...]
    public_text: TextLengths | None = None
    batch_size: int = 16
    accumulation_steps: int = 1
    distillation_epochs: int = 1
    cut: Cut | None = None
    server_variant: ServerVariant = "v1"
    shares_head: bool = True
    codecs: Codecs = UNNAMED

    def __post_init__(self) -> None:
        for field, lowest in (
            ("batch_size", 1),
            ("accumulation_steps", 1),
            ("distillation_epochs", 1),
        ):
            if getattr(self, field) < lowest:
                raise ScenarioError(
                    f"{field} = {getattr(self, field)}; at least {lowest} is needed."
                )
        if self.cut is not None:
            self.cut.check(self.training.model)
        if not self.train_epochs:
            raise ScenarioError("local_epochs = 0; at least 1 is needed.")
        longest = self.train_epochs[0].max_tokens
        if longest > self.training.model.max_positions:
            raise ScenarioError(
                f"max_tokens = {longest}: {self.training.model.name} has "
                f"{self.training.model.max_positions} positions; allowed: 1 to that."
            )
