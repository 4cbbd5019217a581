"""What is tuned: which layers carry adapters, and which settings are refused."""

import math
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.protocol.parameters import parameters
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import TrainingSpec
from fedsim.spec.tuning import FullTuning, LoraTuning
from shapes import tiny_shape


def adapted(family: str, *targets: str) -> list[str]:
    """Paths of the adapted layers of a block."""
    lora = LoraTuning(r=2, target_modules=targets)
    return [linear.path for linear in lora.adapted(tiny_shape(family))]


def test_a_target_matches_by_its_last_names_as_in_peft() -> None:
    """'c_proj' names two layers of GPT-2, 'attn.c_proj' one."""
    assert adapted("gpt2", "c_proj") == ["attn.c_proj", "mlp.c_proj"]
    assert adapted("gpt2", "attn.c_proj") == ["attn.c_proj"]
    assert adapted("llama", "q_proj", "v_proj") == ["self_attn.q_proj", "self_attn.v_proj"]


def test_a_target_never_matches_a_part_of_a_name() -> None:
    """'proj' is no layer of GPT-2 although two names end in it."""
    with pytest.raises(ScenarioError, match="'proj' is no linear layer"):
        adapted("gpt2", "proj")


def test_layers_stand_in_the_order_in_which_they_run() -> None:
    """However targets are listed, the adapters are the same."""
    assert adapted("llama", "v_proj", "q_proj") == adapted("llama", "q_proj", "v_proj")


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma"])
def test_all_linear_adapts_every_linear_layer(family: str) -> None:
    """Four layers of a GPT-2 block and seven of the others', and never the head."""
    assert adapted(family, "all-linear") == [linear.path for linear in tiny_shape(family).linears]


def test_top_blocks_are_counted_from_the_head() -> None:
    """The top two of three blocks are those with index 1 and 2; without a number all are."""
    top = LoraTuning(num_top_layers=2)

    assert [top.is_adapted_layer(tiny_shape(), i) for i in range(3)] == [False, True, True]
    assert all(LoraTuning().is_adapted_layer(tiny_shape(), i) for i in range(3))


def test_scaling_is_alpha_over_r_or_over_its_root() -> None:
    """alpha = 32, r = 16: 2; rank-stabilized: 32 / 4 = 8."""
    assert LoraTuning(r=16, alpha=32).scaling == 2
    assert LoraTuning(r=16, alpha=32, use_rslora=True).scaling == pytest.approx(32 / math.sqrt(16))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"r": 0}, "lora.r = 0"),
        ({"dropout": 1.0}, "lora.dropout = 1.0"),
        ({"dropout": -0.1}, "lora.dropout = -0.1"),
        ({"target_modules": ()}, "target_modules is empty"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], words: str) -> None:
    """The message names the setting and its value."""
    with pytest.raises(ScenarioError, match=words):
        LoraTuning(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target_modules": ("c_atn",)}, "Did you mean 'attn.c_attn'"),
        ({"target_modules": ("score",)}, "allowed: all-linear, attn.c_attn"),
        ({"num_top_layers": 0}, "allowed: 1 to 3"),
        ({"num_top_layers": 4}, "allowed: 1 to 3"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused(
    settings: dict[str, Any], words: str
) -> None:
    """The message says what the model allows."""
    with pytest.raises(ScenarioError, match=words):
        LoraTuning(**settings).check(tiny_shape("gpt2"))


def test_full_tuning_fits_every_model() -> None:
    """There is nothing to choose and so nothing to refuse."""
    shapes = [tiny_shape(family) for family in ("gpt2", "llama", "qwen3")]
    for shape in shapes:
        FullTuning().check(shape)
    assert len({shape.family for shape in shapes}) == 3


def test_a_rank_above_a_layers_width_is_counted_as_peft_trains_it() -> None:
    """Qwen2.5-0.5B, r = 256 beside q, k, v and o: k and v give 128 values.

    24 blocks x 256 x ((896 + 896) + (896 + 128) + (896 + 128) + (896 + 896)) = 34,603,008.
    """
    targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    training = TrainingSpec(
        model("qwen2.5-0.5b"), HeadSpec(), tuning=LoraTuning(r=256, target_modules=targets)
    )

    values = sum(p.num_values for p in parameters(training) if ".lora_" in p.name)
    assert values == 34_603_008


def test_the_narrowest_layer_below_the_rank_is_found() -> None:
    """Where no layer is narrower than the rank there is nothing to say."""
    shape = model("qwen2.5-0.5b")
    linear = LoraTuning(r=256, target_modules=("all-linear",)).narrowest(shape)

    assert linear is not None
    assert linear.path == "self_attn.k_proj"
    assert LoraTuning(r=128, target_modules=("all-linear",)).narrowest(shape) is None
