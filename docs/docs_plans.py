"""The small plans that the pages' tables and drawings are made from.

All sizes differ, so that a shape's numbers can be read back as letters.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fedsim.spec.batch import TextLengths
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, TrainingSpec
from fedsim.spec.tuning import LoraTuning

__all__ = ["LETTERS", "TRAINING", "kd_plan", "language_model_plan", "plan", "split_plan"]

TRAINING: Final = TrainingSpec(
    model=model("gpt2"), head=HeadSpec("classification", 77), tuning=LoraTuning(r=8)
)

#: Sizes of these plans, by the letter that the pages use.
LETTERS: Final = {
    50257: "V",
    1024: "P",
    768: "d",
    2304: "3d",
    3072: "4d",
    80: "T",
    77: "C",
    48: "PD",
    16: "B",
    8: "r",
}


def plan() -> ClientPlan:
    """GPT-2 with LoRA of rank 8: two batches of 16 samples, 80 tokens each."""
    return ClientPlan(TRAINING, (TextLengths(32, 80),), batch_size=16)


def kd_plan() -> ClientPlan:
    """The same with a public set of three batches."""
    return replace(plan(), public_text=TextLengths(48, 80))


def language_model_plan() -> ClientPlan:
    """The same with a language-model head."""
    training = replace(TRAINING, head=HeadSpec("language_model"))
    return replace(kd_plan(), training=training)


def split_plan(
    cut_layer: int = 4, *, half_block: bool = False, top: int | None = None
) -> ClientPlan:
    """Cut after ``cut_layer`` blocks; with ``top``, adapters in the last so many blocks only."""
    tuning = LoraTuning(r=8, num_top_layers=top)
    training = replace(TRAINING, tuning=tuning)
    return replace(plan(), training=training, cut=Cut(cut_layer, half_block))
