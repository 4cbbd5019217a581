"""A client's plan: what is refused before anything runs."""

from typing import Any

import pytest

from fedsim.errors import ProtocolError, ScenarioError
from fedsim.protocol import kd_fedllm, split_fedllm
from fedsim.spec.batch import TextLengths
from fedsim.spec.model import HeadSpec
from fedsim.spec.plan import ClientPlan, Cut, Numerics, TrainingSpec
from fedsim.spec.tuning import FullTuning, LoraTuning
from shapes import tiny_shape


def training(**changes: Any) -> TrainingSpec:
    """LoRA of rank 2 on the small GPT-2."""
    defaults: dict[str, Any] = {"head": HeadSpec(), "tuning": LoraTuning(r=2)}
    return TrainingSpec(tiny_shape(), **(defaults | changes))


def plan(**changes: Any) -> ClientPlan:
    """Two texts of nine tokens."""
    defaults: dict[str, Any] = {"training": training(), "train_epochs": (TextLengths(2, 9),)}
    return ClientPlan(**(defaults | changes))


def test_a_cut_is_a_number_of_half_blocks() -> None:
    """After s blocks 2 s half-blocks are the client's, within the next one 2 s + 1."""
    assert Cut(2).position == 4
    assert Cut(2, is_half_block=True).position == 5
    assert Cut(0, is_half_block=True).position == 1


@pytest.mark.parametrize("cut", [Cut(1), Cut(2), *(Cut(s, is_half_block=True) for s in range(3))])
def test_a_cut_that_leaves_both_sides_something_is_allowed(cut: Cut) -> None:
    """Of three blocks: after 1 or 2, or within any of them."""
    assert plan(cut=cut).cut == cut


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (Cut(0), "allowed for a cut: 1 to 2"),
        (Cut(3), "allowed for a cut: 1 to 2"),
        (Cut(-1), "allowed for a cut: 1 to 2"),
        (Cut(3, is_half_block=True), "allowed for a half-block cut: 0 to 2"),
        (Cut(-1, is_half_block=True), "allowed for a half-block cut: 0 to 2"),
    ],
)
def test_a_cut_that_leaves_a_side_empty_is_refused(cut: Cut, words: str) -> None:
    """The message says how many blocks there are and where they may be cut."""
    with pytest.raises(ScenarioError, match=words):
        plan(cut=cut)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "batch_size = 0"),
        ({"accumulation_steps": 0}, "accumulation_steps = 0"),
        ({"distillation_epochs": 0}, "distillation_epochs = 0"),
        ({"train_epochs": ()}, "local_epochs = 0"),
        ({"train_epochs": (TextLengths(2, 13),)}, "max_tokens = 13"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused(changes: dict[str, Any], words: str) -> None:
    """The message names the setting and its value."""
    with pytest.raises(ScenarioError, match=words):
        plan(**changes)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_dropout_rate_is_below_one(dropout: float) -> None:
    """At 1 nothing would be left to compute with."""
    with pytest.raises(ScenarioError, match="model dropout"):
        training(model_dropout=dropout)


def test_a_tuning_that_does_not_fit_the_model_is_refused_with_it() -> None:
    """The mistake shows when the two are put together, not when a round is run."""
    with pytest.raises(ScenarioError, match=r"lora\.num_top_layers = 99"):
        training(tuning=LoraTuning(num_top_layers=99))


def test_weights_in_half_precision_compute_in_it() -> None:
    """16-bit weights are never widened batch by batch."""
    with pytest.raises(ScenarioError, match="weights_dtype"):
        Numerics(weights_dtype="bfloat16", compute_dtype="float32")
    with pytest.raises(ScenarioError, match="weights_dtype"):
        Numerics(weights_dtype="float16", compute_dtype="bfloat16")


def test_full_tuning_has_no_adapter_settings() -> None:
    """``lora`` is None where every parameter is trained."""
    assert training(tuning=FullTuning()).lora is None
    assert training().lora == LoraTuning(r=2)


def test_a_framework_names_what_its_plan_lacks() -> None:
    """KD-FedLLM needs a public data set and Split-FedLLM a cut."""
    with pytest.raises(ProtocolError, match="public_text"):
        kd_fedllm(plan())
    with pytest.raises(ProtocolError, match="cut"):
        split_fedllm(plan())


def test_a_plan_is_a_value() -> None:
    """Equal settings make equal plans with equal hashes, so costs are computed once."""
    assert plan(cut=Cut(1)) == plan(cut=Cut(1))
    assert hash(plan(cut=Cut(1))) == hash(plan(cut=Cut(1)))
