"""Every parameter of a model by name, shape and place: what is frozen, trained, sent and stored.

Names are those of the real checkpoints (frozen weights) and of peft's adapter files (trained ones),
because they stand in the message headers and so count in message bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from fedsim.protocol.operation import Part
from fedsim.spec.model import LinearSpec, ModelSpec
from fedsim.spec.plan import TrainingSpec
from fedsim.spec.tuning import LoraTuning

__all__ = ["EMBEDDING", "Parameter", "num_trainable", "parameters", "part_parameters"]

#: Place of the embeddings; half-blocks are 0 .. 2L-1 and the last norm and head stand at 2L.
EMBEDDING = -1
_PEFT = "base_model.model."


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter tensor.

    Attributes
    ----------
    name : str
        As it is sent: peft's name for a trained parameter, the checkpoint's for a frozen one.
    shape : tuple of int
    place : int
        -1 embeddings, ``2 i`` and ``2 i + 1`` the halves of block i, ``2 L`` last norm and head.
    is_trained : bool
    is_head : bool
        The classification head, which a plan may keep private.
    """

    name: str
    shape: tuple[int, ...]
    place: int
    is_trained: bool
    is_head: bool = False

    @property
    def num_values(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@lru_cache(maxsize=256)
def parameters(training: TrainingSpec) -> tuple[Parameter, ...]:
    """All parameters of the model under this tuning, adapters included.

    A tied language-model head appears once, as the embedding. peft's frozen copy of a
    classification head that it trains is not a parameter of the function and is left out.
    """
    return tuple(_parameters(training))


def part_parameters(training: TrainingSpec, part: Part) -> tuple[Parameter, ...]:
    """The parameters of one side of a cut, or of the whole model.

    Above a cut a tied language-model head is a matrix of its own: the client holds the embedding.
    """
    top = 2 * training.model.num_layers
    chosen = [
        parameter
        for parameter in parameters(training)
        if (parameter.place == EMBEDDING and part.has_embedding)
        or part.start <= parameter.place < part.stop
        or (parameter.place == top and part.has_head)
    ]
    if part.has_head and not part.has_embedding and _is_tied_head(training):
        chosen.append(_lm_head(training))
    return tuple(chosen)


def num_trainable(training: TrainingSpec, part: Part) -> int:
    """Number of trained values in a part."""
    return sum(p.num_values for p in part_parameters(training, part) if p.is_trained)


def _parameters(training: TrainingSpec) -> Iterator[Parameter]:
    model, lora = training.model, training.lora
    traits, top = model.traits, 2 * model.num_layers
    root = traits.backbone
    yield _base(
        training,
        f"{root}.{traits.embedding}.weight",
        (model.vocab_size, model.hidden_size),
        EMBEDDING,
    )
    if traits.has_positions:
        shape = (model.max_positions, model.hidden_size)
        yield _base(training, f"{root}.wpe.weight", shape, EMBEDDING)
    for layer in range(model.num_layers):
        yield from _block(training, f"{root}.{traits.blocks}.{layer}", layer)
    yield from _norm(training, f"{root}.{traits.final_norm}", model.hidden_size, top)
    if training.head.kind == "classification":
        shape = (training.head.num_classes, model.hidden_size)
        prefix = _PEFT if lora else ""
        yield Parameter(f"{prefix}score.weight", shape, top, is_trained=True, is_head=True)
    elif not model.is_tied:
        yield _lm_head(training)


def _block(training: TrainingSpec, root: str, layer: int) -> Iterator[Parameter]:
    model, lora = training.model, training.lora
    is_adapted = lora is not None and lora.is_adapted_layer(model, layer)
    adapted = lora.adapted(model) if lora is not None and is_adapted else ()
    for half, norm in enumerate(model.traits.norms):
        place = 2 * layer + half
        yield from _norm(training, f"{root}.{norm}", model.hidden_size, place)
        if half == 0 and model.traits.has_qk_norm:
            for name in ("q_norm", "k_norm"):
                path = f"{root}.{model.traits.attention}.{name}"
                yield _base(training, f"{path}.weight", (model.head_size,), place)
        for linear in model.linears:
            if linear.half == ("attention", "mlp")[half]:
                yield from _linear(training, root, linear, place, linear in adapted)


def _linear(
    training: TrainingSpec, root: str, linear: LinearSpec, place: int, is_adapted: bool
) -> Iterator[Parameter]:
    path = f"{root}.{linear.path}"
    yield _base(training, f"{path}.weight", linear.weight_shape, place)
    if linear.has_bias:
        lora = training.lora
        trains_bias = lora is not None and (
            lora.bias == "all" or (lora.bias == "lora_only" and is_adapted)
        )
        if trains_bias:
            infix = ".base_layer" if is_adapted else ""
            name = f"{_PEFT}{path}{infix}.bias"
            yield Parameter(name, (linear.num_outputs,), place, is_trained=True)
        else:
            yield _base(training, f"{path}.bias", (linear.num_outputs,), place)
    if is_adapted and isinstance(training.tuning, LoraTuning):
        r = training.tuning.r
        shape_a, shape_b = (r, linear.num_inputs), (linear.num_outputs, r)
        yield Parameter(f"{_PEFT}{path}.lora_A.weight", shape_a, place, is_trained=True)
        yield Parameter(f"{_PEFT}{path}.lora_B.weight", shape_b, place, is_trained=True)


def _norm(training: TrainingSpec, path: str, width: int, place: int) -> Iterator[Parameter]:
    yield _base(training, f"{path}.weight", (width,), place)
    if training.model.traits.norm_kind == "layer":
        lora = training.lora
        if lora is not None and lora.bias == "all":
            yield Parameter(f"{_PEFT}{path}.bias", (width,), place, is_trained=True)
        else:
            yield _base(training, f"{path}.bias", (width,), place)


def _base(training: TrainingSpec, name: str, shape: tuple[int, ...], place: int) -> Parameter:
    return Parameter(name, shape, place, is_trained=training.lora is None)


def _is_tied_head(training: TrainingSpec) -> bool:
    return training.head.kind == "language_model" and training.model.is_tied


def _lm_head(training: TrainingSpec) -> Parameter:
    model: ModelSpec = training.model
    shape = (model.vocab_size, model.hidden_size)
    return _base(training, "lm_head.weight", shape, 2 * model.num_layers)
