"""Matrix FLOPs of Llama-like models against closed forms that were derived by hand.

T tokens, d hidden, h query heads of a values, g key-value heads, f intermediate, r rank; S sums
(in + out) over the adapted layers; a block::

    forward  = 4 T d a (h + g) + 6 T d f + 4 T^2 h a + 2 T r S
    backward = 4 T d a (h + g) + 6 T d f + 8 T^2 h a + 4 T r S

Rotary embeddings, RMS norms and repeated keys are elementwise; sliding windows count in full.
"""

from dataclasses import replace

import pytest

from fedsim.spec.model import HeadSpec
from fedsim.spec.plan import Numerics, TrainingSpec
from fedsim.spec.tuning import LoraTuning
from sample_flop import split_flop, whole_flop
from shapes import tiny_shape

D, C, HEADS, KV_HEADS, HEAD_SIZE, INNER = 16, 7, 4, 2, 6, 28
Q, KV = HEADS * HEAD_SIZE, KV_HEADS * HEAD_SIZE
WIDTHS = {
    "q_proj": D + Q,
    "k_proj": D + KV,
    "v_proj": D + KV,
    "o_proj": Q + D,
    "gate_proj": D + INNER,
    "up_proj": D + INNER,
    "down_proj": INNER + D,
}


def llama_low_save(t: int, r: int, targets: tuple[str, ...]) -> int:
    """What lies upstream of the lowest adapters of a block, for any choice of them."""
    d, h, g, a, f = D, HEADS, KV_HEADS, HEAD_SIZE, INNER
    has = {name: name in targets for name in WIDTHS}
    num_qkv = has["q_proj"] + has["k_proj"] + has["v_proj"]
    neither_q_nor_k = not has["q_proj"] and not has["k_proj"]
    missing = (not has["q_proj"]) + (not has["k_proj"]) + (not has["v_proj"]) + neither_q_nor_k
    saved = 2 * t * d * a * (h + 2 * g) + 2 * t * d * r * num_qkv + 2 * t**2 * h * a * missing
    if num_qkv:
        return saved
    saved += 2 * t * d * h * a
    if has["o_proj"]:
        return saved + 2 * t * h * a * r
    saved += 4 * t * d * f + 2 * t * d * r * (has["gate_proj"] + has["up_proj"])
    if has["gate_proj"] or has["up_proj"]:
        return saved
    return saved + 2 * t * d * f + 2 * t * f * r


TARGET_SETS = [
    ("q_proj", "v_proj"),
    ("q_proj",),
    ("k_proj",),
    ("v_proj",),
    ("q_proj", "k_proj"),
    ("q_proj", "k_proj", "v_proj", "o_proj"),
    ("o_proj",),
    ("o_proj", "down_proj"),
    ("gate_proj",),
    ("up_proj",),
    ("gate_proj", "up_proj"),
    ("down_proj",),
    tuple(WIDTHS),
]


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3", "gemma"])
@pytest.mark.parametrize("targets", TARGET_SETS, ids=" ".join)
@pytest.mark.parametrize("kind", ["classification", "language_model"])
def test_llama_like_training_follows_its_closed_form(
    family: str, targets: tuple[str, ...], kind: str
) -> None:
    """L (forward + backward) - low_save + 3 heads, 2 where the head is frozen."""
    t, r, blocks = 9, 3, 3
    d, h, g, a, f = D, HEADS, KV_HEADS, HEAD_SIZE, INNER
    head_spec = HeadSpec(kind, C)  # type: ignore[arg-type]
    spec = TrainingSpec(tiny_shape(family), head_spec, LoraTuning(r=r, target_modules=targets))
    lora = 2 * t * r * sum(WIDTHS[name] for name in targets)
    base = 4 * t * d * a * (h + g) + 6 * t * d * f
    one_forward = base + 4 * t**2 * h * a + lora
    one_backward = base + 8 * t**2 * h * a + 2 * lora
    columns, num_heads = (C, 3) if kind == "classification" else (spec.model.vocab_size, 2)
    low = llama_low_save(t, r, targets)

    assert whole_flop(spec, t, trains=False) == blocks * one_forward + 2 * t * d * columns
    assert whole_flop(spec, t) == (
        blocks * (one_forward + one_backward) - low + num_heads * 2 * t * d * columns
    )
    for s in range(1, blocks):
        client, server = split_flop(spec, t, 2 * s)
        assert client == s * (one_forward + one_backward) - low
        assert server == (
            (blocks - s) * (one_forward + one_backward) + num_heads * 2 * t * d * columns
        )


@pytest.mark.parametrize("targets", TARGET_SETS, ids=" ".join)
def test_asking_for_the_embeddings_gradient_wastes_what_was_saved(targets: tuple[str, ...]) -> None:
    """With checkpointing the whole first block goes backward: + low_save besides recomputation."""
    t, r, blocks = 9, 3, 3
    lora = LoraTuning(r=r, target_modules=targets)
    plain = TrainingSpec(tiny_shape("llama"), HeadSpec(num_classes=C), lora)
    spec = replace(plain, numerics=Numerics(is_checkpointed=True))

    # A block is computed again up to the last product that keeps a factor: down_proj, or the last
    # adapter's second factor.
    forward_flop = whole_flop(plain, t, trains=False) - 2 * t * D * C
    last = 2 * t * INNER * D if "down_proj" not in targets else 2 * t * r * D
    again = forward_flop - blocks * last + llama_low_save(t, r, targets)

    assert whole_flop(spec, t) == whole_flop(plain, t) + again
