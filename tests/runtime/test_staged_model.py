"""Stages run the libraries' own computation: same logits, gradients, FLOPs, parameters."""

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from peft import get_peft_model_state_dict
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fedsim.protocol.operation import Part
from fedsim.protocol.parameters import num_trainable, part_parameters
from fedsim.protocol.payload import adapter_payload
from fedsim.runtime.build_model import build_model
from fedsim.runtime.staged_model import StagedModel
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model as catalogue_model
from fedsim.spec.plan import Numerics, TrainingSpec
from fedsim.spec.tuning import FullTuning, LoraTuning, Tuning
from shapes import NUM_LAYERS, VOCAB_SIZE, attention_input, tiny_shape
from strategies import covering_design
from tiny import CPU, LANGUAGE_MODEL, PAD, tiny_model, tiny_training

FAMILIES = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma")
HEADS = {"classification": HeadSpec("classification", 5), "language_model": LANGUAGE_MODEL}
WHOLE = Part.whole(NUM_LAYERS)
CHECKPOINTED = Numerics(is_checkpointed=True)
# Rows of every family with every head, tuning and bias; see tests/property/test_covering_design.py.
DESIGN = covering_design("fedllm", num_rows=60, seed=1)

Tunings = dict[str, Tuning]


def tunings(family: str) -> Tunings:
    """Kinds of tuning that go different ways through the model."""
    entry = attention_input(tiny_shape(family))
    return {
        "input": LoraTuning(r=2, target_modules=entry),
        "all_linear": LoraTuning(r=2, target_modules=("all-linear",), bias="all"),
        "top": LoraTuning(r=2, target_modules=entry, num_top_layers=1),
        "full": FullTuning(),
    }


def token_ids(*, num_padded: int = 0) -> Tensor:
    """Two texts of seven tokens; the first ends in padding."""
    ids = torch.randint(1, VOCAB_SIZE, (2, 7), generator=torch.Generator().manual_seed(3))
    if num_padded:
        ids[0, -num_padded:] = PAD
    return ids


def staged_logits(model: StagedModel, ids: Tensor) -> Tensor:
    """Logits at every position, stage by stage."""
    return model.logits(model.run(model.embed(ids), WHOLE))


def library_logits(model: StagedModel, ids: Tensor, **inputs: Any) -> Tensor:
    """What the library's own ``forward`` returns."""
    logits: Tensor = model.module(input_ids=ids, **inputs).logits
    return logits


def at_last_token(logits: Tensor, ids: Tensor, head: HeadSpec) -> Tensor:
    """Classification: logits of each text's last token; a language model's are kept all."""
    if head.kind == "language_model":
        return logits
    last = (ids != PAD).int().cumsum(1).argmax(1)
    return logits[torch.arange(len(ids)), last]


def gradients(model: StagedModel, logits: Tensor) -> dict[str, Tensor | None]:
    """Gradients of every trained parameter of a loss that weighs all logits differently."""
    weights = torch.linspace(0.5, 1.5, logits.numel()).reshape(logits.shape)
    model.module.zero_grad(set_to_none=True)
    torch.autograd.backward((logits * weights).pow(2).sum())
    return {name: p.grad for name, p in model.trained(WHOLE).items()}


def assert_equal_gradients(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Bit by bit, and present in both or in neither."""
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        if gradient is None:
            assert other[name] is None, name
        else:
            assert torch.equal(gradient, other[name]), name


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_stages_give_the_library_s_logits_and_gradients(family: str, kind: str) -> None:
    """Bit by bit, for every kind of tuning, in training and in evaluation."""
    for name, tuning in tunings(family).items():
        model = tiny_model(tiny_training(family, head=HEADS[kind], tuning=tuning))
        ids = token_ids()
        for is_training in (True, False):
            model.train(is_training)
            ours = at_last_token(staged_logits(model, ids), ids, HEADS[kind])
            theirs = library_logits(model, ids)
            assert torch.equal(ours, theirs), name
            assert_equal_gradients(gradients(model, ours), gradients(model, theirs))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_text_is_pooled_where_the_library_pools_it(family: str) -> None:
    """With the padding mask that we leave out, and without: its last real token, bit by bit."""
    model = tiny_model(tiny_training(family))
    model.train(False)
    ids = token_ids(num_padded=3)

    ours = at_last_token(staged_logits(model, ids), ids, HEADS["classification"])

    assert torch.equal(ours, library_logits(model, ids))
    assert torch.equal(ours, library_logits(model, ids, attention_mask=(ids != PAD).long()))


@pytest.mark.parametrize("is_checkpointed", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_draws_what_the_library_draws(family: str, is_checkpointed: bool) -> None:
    """From the same generator state: the same noise in the same order, recomputed the same."""
    tuning = LoraTuning(r=2, target_modules=("all-linear",), dropout=0.3)
    numerics = Numerics(is_checkpointed=is_checkpointed)
    spec = tiny_training(family, tuning=tuning, numerics=numerics, model_dropout=0.2)
    model = tiny_model(spec)
    model.train()
    ids = token_ids()

    torch.manual_seed(5)
    ours = gradients(model, at_last_token(staged_logits(model, ids), ids, spec.head))
    torch.manual_seed(5)
    theirs = gradients(model, library_logits(model, ids))

    assert_equal_gradients(ours, theirs)
    torch.manual_seed(6)
    other = gradients(model, library_logits(model, ids))
    assert not all(torch.equal(a, b) for a, b in zip(ours.values(), other.values(), strict=True))


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_checkpointing_is_the_library_s(family: str, kind: str, dropout: float) -> None:
    """Same gradients and FLOPs as its ``gradient_checkpointing_enable``, adapters and full."""
    # Dropout changes how much is computed again, and that in the same way for every tuning.
    for name in ("all_linear",) if dropout else tunings(family):
        tuning = tunings(family)[name]
        plain = tiny_training(family, head=HEADS[kind], tuning=tuning, model_dropout=dropout)
        ours = tiny_model(replace(plain, numerics=CHECKPOINTED))
        theirs = tiny_model(plain)
        checkpoint(theirs.module)
        ids = token_ids()
        found = []
        for model, run in ((ours, staged_logits), (theirs, library_logits)):
            model.train()
            torch.manual_seed(5)
            with FlopCounterMode(display=False) as counter:
                result = gradients(model, at_last_token_of(run(model, ids), ids, HEADS[kind]))
            found.append((result, counter.get_total_flops()))

        assert_equal_gradients(found[0][0], found[1][0])
        assert found[0][1] == found[1][1], name


def checkpoint(module: Any) -> None:
    """Turn the library's own checkpointing on, by the name that this version gives it."""
    enable = getattr(module, "activation_checkpointing_enable", None)
    (enable or module.gradient_checkpointing_enable)()


def at_last_token_of(logits: Tensor, ids: Tensor, head: HeadSpec) -> Tensor:
    """As :func:`at_last_token`, for logits that may be pooled already."""
    return logits if logits.dim() == 2 else at_last_token(logits, ids, head)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_stages_cost_the_library_s_flops(family: str, kind: str) -> None:
    """Forward and backward, for every kind of tuning: no product more and none less."""
    for name, tuning in tunings(family).items():
        model = tiny_model(tiny_training(family, head=HEADS[kind], tuning=tuning))
        model.train()
        ids = token_ids()
        counts = []
        for run in (staged_logits, library_logits):
            with FlopCounterMode(display=False) as counter:
                gradients(model, at_last_token_of(run(model, ids), ids, HEADS[kind]))
            counts.append(counter.get_total_flops())
        assert counts[0] == counts[1], name


@pytest.mark.parametrize("position", range(1, 2 * NUM_LAYERS))
@pytest.mark.parametrize("family", FAMILIES)
def test_stages_may_stop_anywhere(family: str, position: int) -> None:
    """Run below and above a cut is run at once, bit by bit, for every cut and half cut."""
    model = tiny_model(tiny_training(family))
    model.train(False)
    hidden = model.embed(token_ids())

    below = model.run(hidden, Part.below(position))
    above = model.run(below, Part.above(position, NUM_LAYERS))

    assert torch.equal(above, model.run(hidden, WHOLE))


# --- parameters ----------------------------------------------------------------------------------


def shapes(parameters: dict[str, nn.Parameter]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in parameters.items()}


@pytest.mark.parametrize("row", range(len(DESIGN)))
def test_real_parameters_are_those_of_the_protocol(row: int) -> None:
    """Names and shapes, trained and frozen, of the whole and of each side of every cut."""
    spec = DESIGN[row].training
    model = tiny_model(spec, is_perturbed=False)
    parts = [WHOLE]
    for position in range(1, 2 * NUM_LAYERS):
        parts.extend([Part.below(position), Part.above(position, NUM_LAYERS)])

    for part in parts:
        has_shared_head = (
            spec.head.kind == "language_model" and spec.model.is_tied and not part.has_embedding
        )
        if part.has_head and has_shared_head:
            continue  # the head is a name of its own in the message and the embedding's in torch
        expected = part_parameters(spec, part)
        assert shapes(model.trained(part)) == {p.name: p.shape for p in expected if p.is_trained}
        assert shapes(model.frozen(part)) == {p.name: p.shape for p in expected if not p.is_trained}


@pytest.mark.parametrize("row", range(len(DESIGN)))
def test_peft_counts_the_same_trained_values(row: int) -> None:
    """``get_nb_trainable_parameters``, for every family, tuning and bias."""
    spec = DESIGN[row].training
    model = tiny_model(spec, is_perturbed=False)
    if spec.lora is None:
        counted = sum(p.numel() for p in model.module.parameters())
    else:
        counted, _ = model.module.get_nb_trainable_parameters()

    assert num_trainable(spec, WHOLE) == counted


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_are_sent_under_the_names_that_peft_saves(family: str, kind: str) -> None:
    """``get_peft_model_state_dict``: the same keys and shapes, so an adapter file can be made."""
    tuning = LoraTuning(r=2, target_modules=("all-linear",), num_top_layers=2)
    spec = tiny_training(family, head=HEADS[kind], tuning=tuning)
    saved = get_peft_model_state_dict(tiny_model(spec).module)

    sent = {tensor.name: tensor.shape for tensor in adapter_payload(spec, WHOLE).tensors}
    assert sent == {name: tuple(tensor.shape) for name, tensor in saved.items()}


def test_gpt2_trains_36864_values_a_rank_and_its_head() -> None:
    """r = 8, 77 classes: 354,048 of 124,852,992, as peft counts them; it keeps the head twice."""
    spec = TrainingSpec(catalogue_model("gpt2"), HeadSpec(), LoraTuning(r=8))
    model = build_model(spec, weights="random", pad_token_id=50_256, seed=0, device=CPU)

    assert model.module.get_nb_trainable_parameters() == (354_048, 124_852_992)
    assert num_trainable(spec, Part.whole(12)) == 36_864 * 8 + 59_136 == 354_048


def test_a_classification_head_is_trained_once() -> None:
    """peft's frozen copy of the head it replaces is neither sent nor counted."""
    model = tiny_model(tiny_training())
    names = [*model.trained(WHOLE), *model.frozen(WHOLE)]

    assert [name for name in names if "score" in name] == ["base_model.model.score.weight"]
    assert model.head_names() == {"base_model.model.score.weight"}


def test_a_language_model_s_head_is_no_head_to_keep_private() -> None:
    """It may be the embedding itself."""
    assert tiny_model(tiny_training(head=LANGUAGE_MODEL)).head_names() == frozenset()


# --- copies --------------------------------------------------------------------------------------


def test_a_clone_trains_on_its_own() -> None:
    """Its trained parameters are copies; its frozen weights are the same memory."""
    model = tiny_model(tiny_training())
    clone = model.clone()

    for name, parameter in clone.trained(WHOLE).items():
        original = model.trained(WHOLE)[name]
        assert torch.equal(parameter, original)
        assert parameter.data_ptr() != original.data_ptr(), name
    for name, parameter in clone.frozen(WHOLE).items():
        assert parameter.data_ptr() == model.frozen(WHOLE)[name].data_ptr(), name


def test_a_clone_of_a_fully_tuned_model_shares_nothing() -> None:
    """Every parameter is trained, the tied head stays tied."""
    model = tiny_model(tiny_training(head=LANGUAGE_MODEL, tuning=FullTuning()))
    clone = model.clone()

    for name, parameter in clone.trained(WHOLE).items():
        assert parameter.data_ptr() != model.trained(WHOLE)[name].data_ptr(), name
    assert clone.head.weight is clone.backbone.wte.weight


def test_training_and_evaluation_reach_every_module() -> None:
    """peft leaves a mixture behind; after ``train`` there is none."""
    spec = tiny_training(tuning=LoraTuning(r=2, dropout=0.1), model_dropout=0.1)
    model = tiny_model(spec)
    for is_training in (False, True):
        model.train(is_training)
        assert {module.training for module in model.module.modules()} == {is_training}


def test_loaded_base_weights_replace_frozen_ones_alone() -> None:
    """A client that received other base weights computes with them."""
    spec = tiny_training()
    receiver, sender = tiny_model(spec, seed=1), tiny_model(spec, seed=2)
    trained = {name: p.clone() for name, p in receiver.trained(WHOLE).items()}

    receiver.load_frozen({n: p.detach() for n, p in sender.frozen(WHOLE).items()}, WHOLE)

    for name, parameter in receiver.frozen(WHOLE).items():
        assert torch.equal(parameter, sender.frozen(WHOLE)[name]), name
    for name, parameter in receiver.trained(WHOLE).items():
        assert torch.equal(parameter, trained[name]), name
