"""What torch really keeps for the backward pass is what the memory table says, to the value."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from fedsim.cost.model_graph import part_work
from fedsim.protocol.operation import Part
from fedsim.runtime.staged_model import StagedModel
from fedsim.spec.batch import BatchShape
from fedsim.spec.plan import TrainingSpec
from fedsim.spec.tuning import FullTuning, LoraTuning, Tuning
from shapes import NUM_LAYERS, VOCAB_SIZE, attention_input, tiny_shape
from tiny import LANGUAGE_MODEL, tiny_model, tiny_training

FAMILIES = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma")
WHOLE = Part.whole(NUM_LAYERS)
SIZES = [(1, 9), (2, 5), (3, 1)]  # samples, tokens


class KeptValues:
    """Values of the storages that autograd keeps, each storage once.

    Parameters and buffers are there anyway and are not counted; nor are integers (token ids,
    labels, positions), of which there is one or two a token.
    """

    def __init__(self, model: StagedModel, *inputs: Tensor) -> None:
        tensors = [*model.module.parameters(), *model.module.buffers(), *inputs]
        self._known = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        # The tensors are held, or a freed address could be given to another one.
        self._kept: dict[int, Tensor] = {}

    def hooks(self) -> saved_tensors_hooks:
        return saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        pointer = tensor.untyped_storage().data_ptr()
        if tensor.is_floating_point() and pointer not in self._known:
            self._kept.setdefault(pointer, tensor)
        return tensor

    @property
    def num_values(self) -> int:
        return sum(tensor.untyped_storage().nbytes() // 4 for tensor in self._kept.values())


def predicted(spec: TrainingSpec, part: Part, batch: BatchShape) -> int:
    """Values by the table."""
    return sum(extent.of(batch) for extent in part_work(spec, part).saved.values())


def rotary(spec: TrainingSpec, num_tokens: int) -> int:
    """Cosines and sines, which all samples and blocks share and the table leaves out."""
    if spec.model.traits.has_positions:
        return 0
    return 2 * num_tokens * spec.model.head_size


def tunings(family: str) -> dict[str, tuple[Tuning, float]]:
    """Kinds of tuning, each with the model's own dropout rate."""
    entry = attention_input(tiny_shape(family))
    middle = ("c_fc",) if family == "gpt2" else ("up_proj",)
    return {
        "input": (LoraTuning(r=2, target_modules=entry), 0.0),
        "all_linear": (LoraTuning(r=3, target_modules=("all-linear",)), 0.0),
        "middle": (LoraTuning(r=2, target_modules=middle), 0.0),
        "top": (LoraTuning(r=2, target_modules=entry, num_top_layers=1), 0.0),
        "dropout": (LoraTuning(r=2, target_modules=("all-linear",), dropout=0.1), 0.1),
        "biases": (LoraTuning(r=2, target_modules=entry, bias="all"), 0.0),
        "full": (FullTuning(), 0.0),
    }


def random_ids(num_samples: int, num_tokens: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, VOCAB_SIZE, (num_samples, num_tokens), generator=generator)


@pytest.mark.parametrize("name", tunings("gpt2"))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_classification_keeps_what_the_table_says(family: str, name: str) -> None:
    """Every storage that a training step keeps, and one value more: the loss's total weight."""
    tuning, dropout = tunings(family)[name]
    spec = tiny_training(family, tuning=tuning, model_dropout=dropout)
    model = tiny_model(spec)
    model.train()
    for num_samples, num_tokens in SIZES:
        ids = random_ids(num_samples, num_tokens)
        kept = KeptValues(model)
        with kept.hooks():
            logits = model.logits(model.run(model.embed(ids), WHOLE))[:, -1]
            loss = functional.cross_entropy(logits, torch.zeros(num_samples, dtype=torch.int64))

        table = predicted(spec, WHOLE, BatchShape.padded(num_samples, num_tokens))
        assert kept.num_values == table + rotary(spec, num_tokens) + 1
        assert loss.requires_grad


@pytest.mark.parametrize("family", FAMILIES)
def test_a_language_model_keeps_what_the_table_says(family: str) -> None:
    """The table counts V values for every position; the last one of a text has no next token."""
    num_samples, num_tokens = 2, 9
    spec = tiny_training(family, head=LANGUAGE_MODEL)
    model = tiny_model(spec)
    model.train()
    ids = random_ids(num_samples, num_tokens)
    kept = KeptValues(model)
    with kept.hooks():
        logits = model.logits(model.run(model.embed(ids), WHOLE))
        loss = functional.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:])

    table = predicted(spec, WHOLE, BatchShape.padded(num_samples, num_tokens))
    assert kept.num_values == table + rotary(spec, num_tokens) + 1 - num_samples * VOCAB_SIZE
    assert loss.requires_grad


@pytest.mark.parametrize("activation", ["gelu_new", "gelu_pytorch_tanh"])
def test_a_plain_gelu_keeps_three_tensors_more(activation: str) -> None:
    """``gelu_new`` in Python keeps four tensors of the feed-forward width, a fused GELU one."""
    spec = tiny_training(model=replace(tiny_shape(), activation=activation))
    model = tiny_model(spec)
    hidden = torch.randn(2, 9, 16, requires_grad=True)
    kept = KeptValues(model)
    half = Part(3, 4, has_head=False)
    with kept.hooks():
        model.run(hidden, half)

    assert kept.num_values == predicted(spec, half, BatchShape.padded(2, 9))
    assert kept.num_values == 2 * 9 * (16 + 2 + (4 if activation == "gelu_new" else 1) * 28)


@pytest.mark.parametrize("position", range(1, 2 * NUM_LAYERS))
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_each_side_of_a_cut_keeps_its_part(family: str, position: int) -> None:
    """The client's stretch from the text, the server's from activations that need a gradient."""
    num_samples, num_tokens = 2, 9
    spec = tiny_training(family)
    model = tiny_model(spec)
    model.train()
    batch = BatchShape.padded(num_samples, num_tokens)
    ids = random_ids(num_samples, num_tokens)

    below = Part.below(position)
    kept = KeptValues(model)
    with kept.hooks():
        output = model.run(model.embed(ids), below)
    assert kept.num_values == predicted(spec, below, batch) + rotary(spec, num_tokens)

    above = Part.above(position, NUM_LAYERS)
    kept = KeptValues(model)
    received = output.detach().requires_grad_(True)
    with kept.hooks():
        logits = model.logits(model.run(received, above))[:, -1]
        functional.cross_entropy(logits, torch.zeros(num_samples, dtype=torch.int64))
    has_attention = position < 2 * NUM_LAYERS - 1
    shared = rotary(spec, num_tokens) if has_attention else 0
    assert kept.num_values == predicted(spec, above, batch) + shared + 1


def test_nothing_is_kept_below_the_lowest_adapter() -> None:
    """A client whose blocks are all frozen keeps no value at all."""
    tuning = LoraTuning(r=2, target_modules=("attn.c_attn",), num_top_layers=1)
    spec = tiny_training(tuning=tuning)
    model = tiny_model(spec)
    kept = KeptValues(model)
    with kept.hooks():
        model.run(model.embed(random_ids(2, 9)), Part.below(4))

    assert kept.num_values == predicted(spec, Part.below(4), BatchShape.padded(2, 9)) == 0
