"""A model's shape is refused where the real model could not have it."""

from dataclasses import replace

import pytest

from fedsim.errors import ScenarioError
from fedsim.spec.model_catalogue import model

GPT2, LLAMA = model("gpt2-tiny"), model("llama-tiny")


@pytest.mark.parametrize("change", [{"num_kv_heads": 2}, {"head_size": 16}])
def test_gpt2_splits_its_width_evenly_over_its_heads(change: dict[str, int]) -> None:
    """GPT-2 has no grouped queries and no head size of its own: transformers ignores both."""
    with pytest.raises(ScenarioError, match="evenly over its heads"):
        replace(GPT2, **change)


def test_llama_like_models_have_a_head_size_of_their_own() -> None:
    """There, heads times their size need not be the hidden size."""
    assert replace(LLAMA, head_size=LLAMA.head_size * 2).hidden_size == LLAMA.hidden_size


@pytest.mark.parametrize(("field", "value"), [("num_layers", 0), ("num_layers", 10**7)])
def test_absurd_sizes_are_refused(field: str, value: int) -> None:
    """No layers, or so many that a command would not end, are a mistake."""
    with pytest.raises(ScenarioError, match=field):
        replace(LLAMA, **{field: value})


def test_query_heads_share_key_value_heads_evenly() -> None:
    """Three query heads cannot share two key-value heads."""
    with pytest.raises(ScenarioError, match="must divide"):
        replace(LLAMA, num_heads=3, num_kv_heads=2)
