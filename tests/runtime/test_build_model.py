"""Real models: weights by explicit choice, and a clear word where they do not fit."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file

from fedsim.errors import ScenarioError
from fedsim.protocol.operation import Part
from fedsim.protocol.parameters import parameters
from fedsim.runtime.build_model import build_model
from fedsim.runtime.staged_model import StagedModel
from fedsim.spec.model import HeadSpec
from fedsim.spec.plan import Numerics, TrainingSpec
from fedsim.spec.tuning import FullTuning, LoraTuning
from shapes import NUM_LAYERS, VOCAB_SIZE, tiny_shape
from tiny import CPU, LANGUAGE_MODEL, PAD, tiny_training

FAMILIES = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma")
WHOLE = Part.whole(NUM_LAYERS)


def built(training: TrainingSpec, seed: int = 0, **changes: Any) -> StagedModel:
    """A model; random weights unless said otherwise."""
    options: dict[str, Any] = {"weights": "random", "pad_token_id": PAD, "device": CPU}
    return build_model(training, seed=seed, **(options | changes))


def bare(family: str = "gpt2", head: HeadSpec | None = None) -> TrainingSpec:
    """A model without adapters, as a checkpoint has it."""
    return tiny_training(family, head=head or LANGUAGE_MODEL, tuning=FullTuning())


def saved(folder: Path, training: TrainingSpec, seed: int = 3) -> StagedModel:
    """A model whose checkpoint is in ``folder``."""
    model = built(training, seed)
    model.module.save_pretrained(folder)
    return model


def loaded(training: TrainingSpec, folder: Path) -> StagedModel:
    return built(training, weights="pretrained", source=folder)


def logits(model: StagedModel) -> torch.Tensor:
    ids = torch.randint(1, VOCAB_SIZE, (2, 7), generator=torch.Generator().manual_seed(1))
    model.train(False)
    with torch.no_grad():
        return model.logits(model.run(model.embed(ids), WHOLE))


def values(model: StagedModel) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in model.module.parameters()]


# --- random weights ------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_decides_all_random_weights(family: str) -> None:
    """Base, head and adapters: the same with the same seed, whatever was drawn before."""
    training = tiny_training(family)
    one = built(training, seed=5)
    torch.rand(17)
    same, other = built(training, seed=5), built(training, seed=6)

    assert all(torch.equal(a, b) for a, b in zip(values(one), values(same), strict=True))
    for name, parameter in one.trained(WHOLE).items():
        # B begins at zero with every seed, so that a fresh adapter changes nothing.
        assert torch.equal(parameter, other.trained(WHOLE)[name]) == ("lora_B" in name), name


@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_adapters_change_no_logit(family: str) -> None:
    """B is zero, so the adapted model begins as the base."""
    tuning = LoraTuning(r=2, target_modules=("all-linear",))
    adapted = built(tiny_training(family, head=LANGUAGE_MODEL, tuning=tuning))

    assert torch.equal(logits(adapted), logits(built(bare(family))))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rank_above_every_layers_width_trains_what_is_counted(family: str) -> None:
    """peft takes any rank; every tensor's shape is the predicted one."""
    tuning = LoraTuning(r=70, target_modules=("all-linear",))
    training = tiny_training(family, tuning=tuning)

    trained = built(training).trained(WHOLE)
    expected = {p.name: p.shape for p in parameters(training) if p.is_trained}
    assert {name: tuple(tensor.shape) for name, tensor in trained.items()} == expected


@pytest.mark.parametrize(("init", "deviation"), [("default", 1 / 3**0.5 / 4), ("gaussian", 1 / 4)])
def test_the_first_factor_begins_as_peft_says(init: Any, deviation: float) -> None:
    """U(-1/sqrt(d), 1/sqrt(d)) by default, N(0, 1/r) with "gaussian": d = 16, r = 4.

    192 values a block: a sample deviation within a fifth is 3.9 standard errors.
    """
    tuning = LoraTuning(r=4, target_modules=("all-linear",), init_lora_weights=init)
    model = built(tiny_training(tuning=tuning))
    name = "base_model.model.transformer.h.{}.{}.lora_A.weight"
    drawn = torch.cat(
        [
            model.trained(WHOLE)[name.format(i, path)].detach().flatten()
            for i in range(NUM_LAYERS)
            for path in ("attn.c_attn", "attn.c_proj", "mlp.c_fc")
        ]
    )

    assert float(drawn.std()) == pytest.approx(deviation, rel=0.2)
    assert (float(drawn.abs().max()) > 0.25) == (init == "gaussian")


@pytest.mark.parametrize("use_rslora", [False, True])
def test_adapters_are_scaled_as_the_plan_says(use_rslora: bool) -> None:
    """alpha / r, or alpha / sqrt(r)."""
    tuning = LoraTuning(r=4, alpha=6.0, use_rslora=use_rslora)
    model = built(tiny_training(tuning=tuning))

    scaling = model.blocks[0].attn.c_attn.scaling["default"]
    assert scaling == tuning.scaling == (3.0 if use_rslora else 1.5)


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_eager(family: str) -> None:
    """A fused kernel's products are counted otherwise, or not at all."""
    assert built(tiny_training(family)).network.config._attn_implementation == "eager"


def test_base_weights_take_the_format_that_was_asked_for() -> None:
    """Frozen weights in bfloat16; adapters stay in float32, in which they are trained."""
    numerics = Numerics(weights_dtype="bfloat16", compute_dtype="bfloat16")
    model = built(tiny_training(numerics=numerics))

    assert {p.dtype for p in model.frozen(WHOLE).values()} == {torch.bfloat16}
    assert {p.dtype for n, p in model.trained(WHOLE).items() if "lora" in n} == {torch.float32}


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_the_model_s_dropout_is_the_plan_s(dropout: float) -> None:
    """GPT-2's own 0.1 applies only where it was asked for."""
    model = built(tiny_training(model_dropout=dropout))
    rates = {module.p for module in model.module.modules() if isinstance(module, torch.nn.Dropout)}

    assert rates <= {dropout}


# --- pre-trained weights -------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_gives_the_function_that_was_saved(family: str, tmp_path: Path) -> None:
    """Loaded from its folder, the model has the saved one's logits, adapters beside it or not."""
    original = saved(tmp_path, bare(family))

    assert torch.equal(logits(loaded(bare(family), tmp_path)), logits(original))
    adapted = loaded(tiny_training(family, head=LANGUAGE_MODEL), tmp_path)
    assert torch.equal(logits(adapted), logits(original))


def test_a_language_model_s_checkpoint_takes_a_new_classification_head(tmp_path: Path) -> None:
    """The base is the saved one; the head is drawn from the seed, the same for all clients."""
    original = saved(tmp_path, bare())
    one, same = (loaded(tiny_training(), tmp_path) for _ in range(2))

    assert torch.equal(one.head.weight, same.head.weight)
    for name, parameter in one.frozen(WHOLE).items():
        assert torch.equal(parameter, original.trained(WHOLE)[name]), name


def test_a_checkpoint_s_dropout_gives_way_to_the_plan_s(tmp_path: Path) -> None:
    """Whatever rate GPT-2's ``config.json`` has."""
    saved(tmp_path, tiny_training(head=LANGUAGE_MODEL, tuning=FullTuning(), model_dropout=0.3))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["resid_pdrop"] == 0.3

    model = loaded(tiny_training(), tmp_path)

    assert model.network.config.resid_pdrop == 0.0
    assert model.blocks[0].attn.resid_dropout.p == 0.0


def remove(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def remove_everything(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def garble(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def narrow(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = "transformer.h.1.mlp.c_fc.weight"
    tensors[name] = tensors[name][:, :5].contiguous()
    save_file(tensors, file, {"format": "pt"})


@pytest.mark.parametrize("damage", [remove, truncate, empty, remove_everything, garble, narrow])
def test_a_damaged_checkpoint_is_refused_with_what_to_type(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    """The message names the folder and the two ways out."""
    saved(tmp_path, bare())
    damage(tmp_path)

    with pytest.raises(ScenarioError) as caught:
        loaded(tiny_training(), tmp_path)

    for words in (str(tmp_path), "cannot be loaded", "--weights-from FOLDER", "--weights random"):
        assert words in str(caught.value)


def test_a_checkpoint_that_lacks_a_block_is_never_filled_with_random_weights(
    tmp_path: Path,
) -> None:
    """What is missing is counted and named."""
    saved(tmp_path, bare())
    file = tmp_path / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(file).items() if ".h.2." not in name}
    save_file(kept, file, {"format": "pt"})

    with pytest.raises(ScenarioError, match=r"lacks 12 .* transformer\.h\.2\.attn\.c_attn\.bias"):
        loaded(tiny_training(), tmp_path)


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("gpt2", {"num_layers": 2}, "num_layers = 3 where 2 is expected"),
        ("gpt2", {"intermediate_size": 32}, "intermediate_size = 28 where 32 is expected"),
        ("gpt2", {"vocab_size": 29}, "vocab_size = 23 where 29 is expected"),
        ("gpt2", {"is_tied": False}, "is_tied = True where False is expected"),
        ("llama", {"num_kv_heads": 4}, "num_kv_heads = 2 where 4 is expected"),
        ("llama", {"head_size": 8}, "head_size = 6 where 8 is expected"),
        ("llama", {"family": "mistral"}, "family = llama where mistral is expected"),
        (
            "llama",
            {"hidden_size": 24, "num_heads": 8},
            "hidden_size = 16 where 24 is expected; num_heads = 4 where 8 is expected",
        ),
    ],
)
def test_weights_of_another_shape_are_refused(
    family: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """Every size that differs is named, and what to type."""
    saved(tmp_path, bare(family))
    shape = replace(tiny_shape(family), **changes)
    training = tiny_training(model=shape, head=LANGUAGE_MODEL)

    with pytest.raises(ScenarioError) as caught:
        loaded(training, tmp_path)

    assert words in str(caught.value)
    assert "--model" in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """It is taken for a name on the hub, and the message says so."""
    with pytest.raises(ScenarioError, match="name on the model hub"):
        loaded(tiny_training(), tmp_path / "nowhere")
