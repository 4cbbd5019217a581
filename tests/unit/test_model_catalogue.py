"""The catalogue's shapes are those of the public models."""

import pytest

from fedsim.errors import ScenarioError
from fedsim.protocol.parameters import parameters
from fedsim.spec.family import FAMILIES
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model, model_names
from fedsim.spec.plan import TrainingSpec
from fedsim.spec.tuning import FullTuning

# Of the checkpoints, a tied head counted once.
PUBLISHED_PARAMETERS = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.1-8b": 8_030_261_248,
    "llama-2-7b": 6_738_415_616,
    "mistral-7b-v0.1": 7_241_732_096,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-8b": 8_190_735_360,
    "gemma-2b": 2_506_172_416,
    "gemma-7b": 8_537_680_896,
}


def _num_parameters(name: str) -> int:
    training = TrainingSpec(model(name), HeadSpec("language_model"), FullTuning())
    return sum(parameter.num_values for parameter in parameters(training))


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_a_public_model_has_its_published_number_of_parameters(name: str) -> None:
    """The shape and the parameter table together give the checkpoint's size to the last value."""
    assert _num_parameters(name) == PUBLISHED_PARAMETERS[name]


def test_the_catalogue_holds_the_public_models_and_a_tiny_one_of_each_family() -> None:
    """Nothing is in the catalogue that is neither held against a checkpoint nor made up."""
    tiny = [f"{family}-tiny" for family in FAMILIES]

    assert sorted(model_names()) == sorted([*PUBLISHED_PARAMETERS, *tiny, "gpt2-mini"])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_model_belongs_to_the_family_in_its_name(family: str) -> None:
    """``llama-tiny`` is a Llama, small enough for any test."""
    assert model(f"{family}-tiny").family == family
    assert _num_parameters(f"{family}-tiny") < 100_000


@pytest.mark.parametrize("name", model_names())
def test_a_model_carries_its_catalogue_name(name: str) -> None:
    """Reports call a model what the scenario calls it."""
    assert model(name).name == name


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("gpt-2", "gpt2"),
        ("Llama-3.2-1B", "llama-3.2-1b"),
        ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"),
        ("Qwen/Qwen2.5-0.5B-Instruct", "qwen2.5-0.5b"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_one(wrong: str, meant: str) -> None:
    """A hub's name, owner and capitals included, leads to the catalogue's."""
    with pytest.raises(ScenarioError, match=f"model '{wrong}'.* Did you mean '{meant}'\\?$"):
        model(wrong)


def test_an_unknown_name_is_answered_with_all_that_is_allowed() -> None:
    """The message lists every name, and the way to bring a model of one's own."""
    with pytest.raises(ScenarioError) as caught:
        model("resnet")

    message = str(caught.value)
    assert all(name in message for name in model_names())
    assert "or a folder / path of a config.json" in message
    assert "Did you mean" not in message
